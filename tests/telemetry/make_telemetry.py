"""Builders for calls, batches and routes; what is not named is ordinary."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from apps.access import services as access_services
from apps.access import serving as access
from apps.access.models import Environment
from apps.core.actors import WORKER, person
from apps.flags import services as flags
from apps.telemetry import queries, services
from apps.telemetry.domain.batch import Batch, Call, Outcome
from apps.telemetry.memory import WriterMemory
from apps.telemetry.models import Heard
from apps.telemetry.services import Receipt, Sent

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
ALICE = person("alice")
ROUTE = "invoice-extraction"
VARIANTS = {
    "gpt-4.1": {"model": "openai/gpt-4.1", "timeout_ms": 8000, "max_attempts": 2, "max_cost_usd": "0.02"},
    "flash-lite": {"model": "google/gemini-2.5-flash-lite", "timeout_ms": 3000, "max_cost_usd": "0.004"},
}
numbers = itertools.count(1)


def call(**fields: Any) -> dict[str, Any]:
    """As a sender writes it."""
    ordinary = {
        "id": f"c-{next(numbers)}",
        "at": "2026-11-24T02:59:50.000Z",
        "route": ROUTE,
        "variant": "flash-lite",
        "provider": "google",
        "model": "gemini-2.5-flash-lite",
        "latency_ms": 400,
        "input_tokens": 1000,
        "output_tokens": 100,
    }
    return ordinary | fields


def outcome(**fields: Any) -> dict[str, Any]:
    ordinary = {
        "id": f"o-{next(numbers)}",
        "at": "2026-11-24T02:59:55.000Z",
        "route": ROUTE,
        "variant": "flash-lite",
        "name": "handoff",
        "value": 1,
    }
    return ordinary | fields


def batch(*calls: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return {"batch_id": f"b-{next(numbers)}", "calls": list(calls), **parts}


def plain_calls(*calls: dict[str, Any]) -> list[Call]:
    return [msgspec.convert(one, Call) for one in calls]


def sent(*calls: dict[str, Any], environment: str = "production", batch_id: str = "", **parts: Any) -> Sent:
    outcomes = [msgspec.convert(one, Outcome) for one in parts.get("outcomes", ())]
    told = Batch(batch_id or f"b-{next(numbers)}", plain_calls(*calls), outcomes, None, [])
    return Sent(environment, told)


def count(*batches: Sent, writer: WriterMemory | None = None, now: datetime = NOW) -> list[Receipt]:
    return services.count(sent=batches, writer=writer or WriterMemory(), now=now)


def make_environment(key: str = "production") -> Environment:
    return Environment.objects.get_or_create(key=key, defaults={"name": key.title()})[0]


def make_route(key: str = ROUTE, environment: str = "production", now: datetime = NOW, **fields: Any) -> None:
    make_environment(environment)
    ordinary = {"variants": VARIANTS, "default_variant": "gpt-4.1", "fallback_variant": "gpt-4.1", "owner": "payments"}
    flags.create_route(environment=environment, key=key, by=ALICE, because="", now=now, **(ordinary | fields))


def make_key(*scopes: str, environment: str = "production", now: datetime = NOW) -> str:
    """Known to the doors."""
    _, secret = access_services.create_key(
        environment=make_environment(environment), name="test", scopes=list(scopes), by=WORKER, now=now
    )
    access.refresh()
    return secret


def spent(**where: str) -> queries.SpendRow:
    """In all, of two days."""
    return queries.spend("production", NOW - timedelta(days=2), NOW + timedelta(hours=1), where=where)[0]


def heard(what: str) -> int:
    return sum(Heard.objects.filter(what=what).values_list("n", flat=True))
