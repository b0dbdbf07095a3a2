"""The stages of a rollout: how much traffic, for how long, and what must be known before the next one.

Shares are ten-thousandths (10,000 = 100 %): exact, and what the flag's split uses. An approval is the gate *into* its
stage, always the last gate: the evidence that the approver sees is that of the stage before.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

WHOLE = 10_000
SHADOW_DAYS = 14  # two weeks of shadow traffic unless the plan says otherwise
MAX_STAGES = 50
LEAST_WAIT_FOR_DATA = timedelta(hours=24)  # a stage that still cannot be judged this long after its time is paused


class BadStages(ValueError):
    """The list of stages cannot be run; `place` says which one."""

    def __init__(self, place: str, why: str) -> None:
        self.place = place
        self.why = why
        super().__init__(f"{place}: {why}")


@dataclass(frozen=True, slots=True)
class Stage:
    share: int  # of live traffic that the candidate answers; 0 in a shadow stage
    shadow: int = 0  # of live requests that are also sent to the candidate, unseen by the user
    min_seconds: float = 0
    min_samples: int = 0
    approval: bool = False
    safe: tuple[str, ...] = ()  # metrics that must be proven safe before the next stage
    limit_nano: int | None = None  # what a shadow stage may cost

    @property
    def is_shadow(self) -> bool:
        return self.shadow > 0

    @property
    def least_time(self) -> timedelta:
        return timedelta(seconds=self.min_seconds)

    @property
    def asks_for_help_after(self) -> timedelta:
        """From here on a stage that cannot be judged is paused, and a person is told: never shipped, never reverted."""
        return self.least_time + LEAST_WAIT_FOR_DATA

    def as_dict(self) -> dict[str, Any]:
        """As in the request body: percent, USD as text, and only what was said."""
        out: dict[str, Any] = {"shadow": percent(self.shadow)} if self.is_shadow else {"share": percent(self.share)}
        out["min_seconds"] = self.min_seconds
        out["min_samples"] = self.min_samples
        if self.approval:
            out["approval"] = True
        if self.safe:
            out["safe"] = list(self.safe)
        if self.limit_nano is not None:
            out["limit_usd"] = f"{Decimal(self.limit_nano) / 10**9:f}"
        return out


def percent(share: int) -> int | float:
    """Ten-thousandths as the number that people write: 2500 is 25, 50 is 0.5."""
    whole, rest = divmod(share, 100)
    return whole if not rest else share / 100


def share_of(value: Any, place: str) -> int:
    """Percent, as number or text, to ten-thousandths. Refuses what is finer than a hundredth of a percent."""
    try:
        exact = Decimal(str(value)) * 100
        share = int(exact)
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise BadStages(place, "must be a number of percent") from error
    if exact != share:
        raise BadStages(place, "must be a whole number of hundredths of a percent")
    if not 0 < share <= WHOLE:
        raise BadStages(place, "must be above 0 and at most 100")
    return share


def read(raw: Any) -> tuple[Stage, ...]:
    """The stages of a request body. Raises BadStages with the place of the first fault."""
    if not isinstance(raw, Sequence) or isinstance(raw, str) or not raw:
        raise BadStages("stages", "a rollout needs at least one stage")
    if len(raw) > MAX_STAGES:
        raise BadStages("stages", f"at most {MAX_STAGES}")
    stages = tuple(read_one(one, f"stages.{index}") for index, one in enumerate(raw))
    for index, (before, after) in enumerate(itertools.pairwise(stages), start=1):
        if after.is_shadow and not before.is_shadow:
            raise BadStages(f"stages.{index}", "shadow stages come before live ones")
        if not after.is_shadow and after.share <= before.share:
            raise BadStages(f"stages.{index}.share", "each stage must take a larger share than the one before")
    return stages


def read_one(raw: Any, place: str) -> Stage:
    if not isinstance(raw, Mapping):
        raise BadStages(place, "must be an object with a share")
    if ("share" in raw) == ("shadow" in raw):
        raise BadStages(place, "needs either a share or a shadow percentage")
    is_shadow = "shadow" in raw
    seconds = number(raw.get("min_seconds", SHADOW_DAYS * 86_400 if is_shadow else 0), f"{place}.min_seconds")
    samples = number(raw.get("min_samples", 0), f"{place}.min_samples")
    approval = raw.get("approval", False)
    if not isinstance(approval, bool):
        raise BadStages(f"{place}.approval", "must be true or false")
    safe = raw.get("safe", [])
    if not isinstance(safe, list) or not all(isinstance(metric, str) for metric in safe):
        raise BadStages(f"{place}.safe", "must be a list of metrics")
    return Stage(
        share=0 if is_shadow else share_of(raw["share"], f"{place}.share"),
        shadow=share_of(raw["shadow"], f"{place}.shadow") if is_shadow else 0,
        min_seconds=float(seconds),
        min_samples=int(samples),
        approval=approval,
        safe=tuple(safe),
        limit_nano=money(raw.get("limit_usd"), f"{place}.limit_usd"),
    )


def number(value: Any, place: str) -> Decimal:
    try:
        exact = Decimal(str(value))
    except InvalidOperation as error:
        raise BadStages(place, "must be a number") from error
    if isinstance(value, bool) or not exact.is_finite() or not 0 <= exact <= 10**9:
        raise BadStages(place, "must be a number, 0 or more")
    return exact


def money(value: Any, place: str) -> int | None:
    return None if value is None else int(number(value, place) * 10**9)
