"""A call with all that is found out about it: its route, its price, its split. In: calls. Out: what the fold counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from apps.catalog.domain.names import maker_of, normalised
from apps.telemetry.domain.batch import Call
from apps.telemetry.domain.pricing import Priced
from apps.telemetry.domain.routes import RouteFacts


def variant_of(call: Call) -> str:
    """Where the sender names none, the one that the flag chose."""
    return call.variant or call.assigned or ""


def named_model(call: Call, facts: RouteFacts) -> tuple[str, str]:
    """Provider and model in one spelling each, so that no money is split by how a sender writes them.

    A sender that names no provider means the one of the variant's own model, else whose model it is.
    """
    provider, model = normalised(call.provider, call.model or "")
    if provider and model:
        return provider, model
    planned, plan = normalised("", facts.model_of(variant_of(call)) or "")
    return provider or (planned if model in ("", plan) else maker_of(model)), model or plan


def alike(calls: Iterable[Call]) -> Iterable[list[Call]]:
    """Those of one route, variant and model together."""
    found: dict[tuple[object, ...], list[Call]] = {}
    for call in calls:
        found.setdefault((call.route, variant_of(call), call.provider, call.model), []).append(call)
    return found.values()


class Attempt:
    __slots__ = ("arm", "call", "ended_at", "facts", "is_new", "price", "seconds", "split", "variant")

    def __init__(self, call: Call, facts: RouteFacts, price: Priced, *, is_new: bool) -> None:
        self.call = call
        self.facts = facts
        self.price = price
        self.is_new = is_new
        self.variant = variant_of(call)
        self.arm = call.arm or "live"
        self.split = facts.split_of(call.snapshot, call.at)
        self.seconds = call.latency_ms / 1000
        self.ended_at = call.at.timestamp() + self.seconds


def first_of_each_id(attempts: Sequence[Attempt]) -> list[Attempt]:
    """A call that a sender put into one batch twice is one attempt."""
    seen: set[str] = set()
    kept = []
    for attempt in attempts:
        if attempt.call.id not in seen:
            seen.add(attempt.call.id)
            kept.append(attempt)
    return kept
