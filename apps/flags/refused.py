"""Who asks for flags and is refused: flag clients go on from the default in their code and say so in no log that
anybody reads, so it is told here."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F

from apps.access.domain.roles import KeyScope
from apps.access.models import ApiKey
from apps.flags.models import RefusedClient
from apps.flags.seen import clean

STAY = timedelta(days=7)
MOST = 1_000  # rows kept, the latest: who sends random keys shall not fill the disk
Why = RefusedClient.Why


@dataclass(frozen=True, slots=True, order=True)
class Caller:
    """As a door saw it. `digest`: of the key that came, empty if none did; `begins`: what may be shown of it."""

    door: str
    digest: str
    begins: str
    address: str
    agent: str


@transaction.atomic
def note_refused(*, callers: Iterable[tuple[Caller, int]], now: datetime) -> None:
    """Adds these counts to what is known of each caller."""
    counts = sorted(callers)  # one order for all writers: no deadlock
    digests = {caller.digest for caller, _ in counts if caller.digest}
    keys = {key.digest: key for key in ApiKey.objects.filter(digest__in=digests).select_related("environment")}
    for caller, count in counts:
        key = keys.get(caller.digest)
        why = reason(caller, key, now)
        if why is None:
            continue
        row, _ = RefusedClient.objects.get_or_create(
            environment=key.environment.key if key else "",
            door=caller.door,
            why=why,
            key=key.name if key else clean(caller.begins, 128),
            address=clean(caller.address, 128),
            agent=clean(caller.agent, 128),
            defaults={"first_at": now, "last_at": now},
        )
        RefusedClient.objects.filter(pk=row.pk).update(count=F("count") + count, last_at=now)
    too_many = RefusedClient.objects.order_by("-last_at", "-id").values_list("pk", flat=True)[MOST:]
    RefusedClient.objects.filter(pk__in=list(too_many)).delete()


def reason(caller: Caller, key: ApiKey | None, now: datetime) -> Why | None:
    """None: it is let in by now, being so new that the door had not heard of it."""
    if not caller.digest:
        return Why.NO_KEY
    if key is None:
        return Why.UNKNOWN_KEY
    if key.revoked_at is not None and key.revoked_at <= now:
        return Why.REVOKED
    if key.expires_at is not None and key.expires_at <= now:
        return Why.EXPIRED
    return None if KeyScope.FLAGS_READ in key.scopes else Why.WRONG_SCOPE


def forget_old(*, now: datetime) -> None:
    RefusedClient.objects.filter(last_at__lt=now - STAY).delete()
