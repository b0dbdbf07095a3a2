"""Which calls a budget counts: `{"route": "invoice-extraction"}`, say. `{}` is the whole environment.

In: what people write. Out: the scope as it is stored, or what is wrong with it in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.budgets.domain import periods

SCOPES = ("environment", "owner", "route", "variant", "model", "provider", "tag", "rollout", "arm")
REQUEST_SCOPES = ("environment", "route", "variant", "rollout", "arm")  # that requests are kept by


def parse(scope: Any, *, environment: str, period: str) -> tuple[dict[str, str], str]:
    """-> (scope without the environment, fault)."""
    if not isinstance(scope, Mapping) or any(not isinstance(v, str) or not v for v in scope.values()):
        return {}, 'A scope names values: {"route": "invoice-extraction"}. {} is the whole environment.'
    if unknown := sorted(set(scope) - set(SCOPES)):
        return {}, f"{unknown[0]} is no scope. Use {', '.join(SCOPES)}."
    if scope.get("environment", environment) != environment:
        return {}, f"A budget of {environment} cannot count what {scope['environment']} spends."
    if scope.get("arm", "live") not in ("live", "shadow"):
        return {}, "An arm is live or shadow."
    if period == periods.REQUEST and (unkept := sorted(set(scope) - set(REQUEST_SCOPES))):
        return {}, f"Requests are not kept by {unkept[0]}. Use {', '.join(REQUEST_SCOPES)}."
    return {name: value for name, value in scope.items() if name != "environment"}, ""


def words(scope: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(scope.items())) or "the whole environment"
