"""Who answers at which host: all OpenAI-compatible servers say `openai`, and only people know whose a gateway is."""

from datetime import datetime

from django.db import transaction

from apps.catalog.domain.names import named
from apps.core.actors import Actor
from apps.core.ids import new_id
from apps.core.refusals import Invalid, NotFound
from apps.journal import services as journal
from apps.telemetry.domain.providers import host_of
from apps.telemetry.models import Endpoint


@transaction.atomic
def settle_endpoint(*, environment: str, host: str, provider: str, by: Actor, because: str, now: datetime) -> Endpoint:
    """Calls that a host, or one below it, answers are that provider's from now on. `host` may be a whole address."""
    found = host_of(host.strip()).lower()
    if not found:
        raise Invalid("This names no host.", host="A host such as llm.example.com.")
    if not provider.strip():
        raise Invalid("Which provider?", provider="Name it as prices do: openai, azure, or one of your own.")
    endpoint, is_new = Endpoint.objects.get_or_create(
        environment=environment,
        host=found,
        defaults={"id": new_id(), "provider": "", "by": str(by), "at": now},
    )
    before = None if is_new else endpoint.provider
    endpoint.move_to(named(provider.strip())[:128], by=str(by), at=now)
    journal.record(
        "telemetry.endpoint_settled", environment=environment, by=by, because=because, about={"host": found}, now=now,
        before=before, after=endpoint.provider,
    )  # fmt: skip
    return endpoint


@transaction.atomic
def forget_endpoint(*, environment: str, id: str, by: Actor, because: str, now: datetime) -> None:
    endpoint = Endpoint.objects.filter(environment=environment, id=id).first()
    if endpoint is None:
        raise NotFound(what="endpoint", key=id)
    endpoint.delete()
    journal.record(
        "telemetry.endpoint_forgotten", environment=environment, by=by, because=because,
        about={"host": endpoint.host}, now=now, before=endpoint.provider,
    )  # fmt: skip
