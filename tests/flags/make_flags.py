"""Builders for flags and routes; what is not named is ordinary."""

from datetime import UTC, datetime
from typing import Any

from apps.access.models import Environment
from apps.core.actors import Actor, person
from apps.flags import queries, services

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
ALICE = person("alice")
VARIANTS = {
    "gpt-4.1": {"model": "openai/gpt-4.1", "timeout_ms": 8000, "max_attempts": 2, "max_cost_usd": "0.02"},
    "flash-lite": {
        "model": "google/gemini-2.5-flash-lite",
        "timeout_ms": 3000,
        "max_attempts": 1,
        "max_cost_usd": "0.004",
    },
}


def make_environment(key: str = "production", **fields: Any) -> Environment:
    return Environment.objects.get_or_create(key=key, defaults={"name": key.title(), **fields})[0]


def make_flag(
    key: str = "new-parser", environment: str = "production", by: Actor = ALICE, **fields: Any
) -> queries.FlagView:
    make_environment(environment)
    fields = {"variants": {"on": True, "off": False}, "default_variant": "off", "because": "", "now": NOW} | fields
    services.create_flag(environment=environment, key=key, by=by, **fields)
    return queries.flag(environment, key)


def make_route(
    key: str = "invoice-extraction", environment: str = "production", by: Actor = ALICE, **fields: Any
) -> queries.RouteView:
    make_environment(environment)
    fields = {
        "variants": VARIANTS, "default_variant": "gpt-4.1", "fallback_variant": "gpt-4.1", "owner": "payments",
        "task_type": "extraction", "because": "", "now": NOW,
    } | fields  # fmt: skip
    services.create_route(environment=environment, key=key, by=by, **fields)
    return queries.route(environment, key)
