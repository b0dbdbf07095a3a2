"""The ordered steps of a way back, each with what must be true for it, and what every target costs by the hour.

The first steps are the decision's own transaction: nothing may come between "decided" and "no traffic". The others are
rows that a worker claims, runs and checks until they are true or their time is up.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

FREEZE = "freeze_ramp"
SET = "set_candidate_to_0"
FALL_BACK = "switch_to_fallback"
TELL = "tell"
CONFIRM = "confirm_at_clients"
WATCH = "watch_baseline"
STOP_SHADOW = "stop_shadow"

AT_ONCE = timedelta(0)
RETRY = {TELL: timedelta(seconds=2), CONFIRM: timedelta(seconds=1), WATCH: timedelta(seconds=10)}


@dataclass(frozen=True, slots=True)
class Options:
    """What a route's rollback plan may say."""

    target: str = "baseline"
    confirm: timedelta = timedelta(seconds=60)
    watch: timedelta = timedelta(seconds=20)
    stops_shadow: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    kind: str
    title: str
    after: timedelta = AT_ONCE  # when it is due, from the decision on
    within: timedelta = timedelta(minutes=5)  # when it gives up, from the decision on
    is_inline: bool = False  # done in the decision's own transaction
    calls_out: bool = False  # waits for somebody else: not for the tick
    facts: Mapping[str, Any] = field(default_factory=dict)


def plan_rollback(*, candidate: str, target: str, to_fallback: bool, had_shadow: bool, options: Options) -> list[Step]:
    """`target` is who answers from now on, by the name that people use."""
    moved = Step(FALL_BACK, f"Switched to {target}", is_inline=True) if to_fallback else None
    steps = [
        Step(FREEZE, "Froze the ramp", is_inline=True),
        moved or Step(SET, f"Set {candidate} to 0 %", is_inline=True),
        Step(TELL, "Told the people on call", within=timedelta(seconds=60), calls_out=True),
        Step(CONFIRM, "Verified at the clients", within=options.confirm, calls_out=True),
        Step(
            WATCH,
            f"Verified {target}",
            after=options.watch,
            within=options.watch + timedelta(minutes=2),
            calls_out=True,
        ),
    ]
    if had_shadow and options.stops_shadow:
        steps.append(Step(STOP_SHADOW, f"Stopped the {candidate} shadow"))
    return steps


@dataclass(frozen=True, slots=True)
class Cost:
    """What all traffic of a route would cost in an hour on one target. None: nobody has measured it there."""

    target: str  # baseline, candidate, fallback, now
    variant: str
    requests_per_hour: float
    nano_per_hour: int | None
    is_listed: bool = False  # by the price list, at the tokens that the route has now: nobody has measured it
    parts: Mapping[str, float] = field(default_factory=dict)  # of "now": nano-USD an hour by variant

    def only(self, variants: Iterable[str]) -> "Cost":
        """What these variants take of it."""
        nano = round(sum(self.parts.get(variant, 0) for variant in variants))
        return replace(self, nano_per_hour=nano)

    def as_dict(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "variant": self.variant,
            "requests_per_hour": round(self.requests_per_hour, 1),
            "nano_per_hour": self.nano_per_hour,
            "is_listed": self.is_listed,
        }


def costs_per_hour(
    targets: Sequence[tuple[str, str]],
    measured: Mapping[str, tuple[int, int]],
    requests_per_hour: float,
    listed: Collection[str] = (),
) -> list[Cost]:
    """`measured`: variant -> (requests, nano-USD). Each target is priced as if it answered every request.

    `listed`: variants whose figures come from the price list.
    """
    rows = []
    for target, variant in targets:
        n, nano = measured.get(variant, (0, 0))
        whole = round(nano / n * requests_per_hour) if n else None
        rows.append(Cost(target, variant, requests_per_hour, whole, variant in listed))
    return rows


def cost_of_split(shares: Mapping[str, int], measured: Mapping[str, tuple[int, int]], requests_per_hour: float) -> Cost:
    """`shares`: variant -> ten-thousandths. Unknown as soon as one variant that gets traffic has not been measured."""
    means = {variant: measured.get(variant, (0, 0)) for variant in shares}
    if not shares or not requests_per_hour or any(n == 0 for n, _ in means.values()):
        return Cost("now", "", requests_per_hour, None)
    load = requests_per_hour / sum(shares.values())
    parts = {variant: part * means[variant][1] / means[variant][0] * load for variant, part in shares.items()}
    return Cost("now", "", requests_per_hour, round(sum(parts.values())), parts=parts)


# A model that nobody has tried here may write longer answers than the present one: it must be clearly cheaper.
LISTED_MARGIN = 1.25


def is_cheaper(costs: Sequence[Cost], target: str, than: str) -> bool | None:
    """Whether `target` costs less by the hour; None where that is not known of one of them."""
    by_target = {cost.target: cost for cost in costs}
    there, here = by_target.get(target), by_target.get(than)
    if there is None or here is None or there.nano_per_hour is None or here.nano_per_hour is None:
        return None
    return there.nano_per_hour * (LISTED_MARGIN if there.is_listed else 1) < here.nano_per_hour


def confirmed(seen: Sequence[tuple[str, int | None]], version: int) -> tuple[list[str], list[str]]:
    """(who is on that snapshot or a newer one, who is not) out of (client, snapshot)."""
    there = [name for name, snapshot in seen if snapshot is not None and snapshot >= version]
    behind = [name for name, snapshot in seen if snapshot is None or snapshot < version]
    return there, behind
