"""Two legs of one request: the answer that was used, and what the shadow made of the same question.

In: calls that name a pair, with what they cost, and grades. Out: what each leg took, however many calls that were. Legs
come in any order and in batches of their own; added up in any order they give the same pair.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from apps.telemetry.domain.batch import Call

GRADE = "grade"  # the outcome that says how well the shadow answered; its `request_id` is the pair's id


@dataclass(slots=True)
class Leg:
    """Moments in seconds. Variant, error and output are those of the call that ended last."""

    began_at: float
    ended_at: float
    variant: str
    error: str
    output_tokens: int | None
    nano: int
    calls: int = 1

    def add(self, other: Leg) -> None:
        if (other.ended_at, other.began_at) > (self.ended_at, self.began_at):
            self.variant, self.error, self.output_tokens = other.variant, other.error, other.output_tokens
        self.began_at = min(self.began_at, other.began_at)
        self.ended_at = max(self.ended_at, other.ended_at)
        self.nano += other.nano
        self.calls += other.calls


@dataclass(slots=True)
class PairSum:
    route: str
    legs: dict[str, Leg] = field(default_factory=dict)  # live, shadow
    grade: float | None = None

    def add(self, arm: str, leg: Leg) -> None:
        if arm in self.legs:
            self.legs[arm].add(leg)
        else:
            self.legs[arm] = leg


def leg_of(call: Call, nano: int, variant: str) -> Leg:
    began_at = call.at.timestamp()
    return Leg(began_at, began_at + call.latency_ms / 1000, variant, call.error or "", call.output_tokens, nano)
