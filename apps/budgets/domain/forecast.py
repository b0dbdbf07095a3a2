"""What a budget's spend will be when its period ends, and when its limit will be reached.

In: the season of a scope's spend, what is spent, how long the period still lasts. Money is seasonal, so each hour still
to come is expected at what that hour of the day usually costs, times the level of the last 24 hours. That is the middle
line (p50). The range comes from a bootstrap: two hundred futures in which each day still to come is off by as much as
some whole day of the past was, drawn with a fixed seed so that the same history always gives the same range (p10 to
p90). Under three whole days, or 200 priced calls, there is no forecast: a guess would be believed.

A rolling period has no end. Its forecast is the highest that it will reach within one length from now, while what was
spent before falls out at its other end.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from apps.budgets.domain.season import HOUR, Season

WHOLE_DAYS = 3
LEAST_CALLS = 200
HISTORY_DAYS = 28
FUTURES = 200
SEED = 20_261_124
LOW, HIGH = 0.1, 0.9


@dataclass(frozen=True, slots=True)
class Forecast:
    """At the end of the period, nano-USD: p50, p10, p90. When the limit is crossed: the middle line, at the earliest
    (p90 of spend), at the latest (p10). None: not in this period."""

    nano: int
    low_nano: int
    high_nano: int
    exhausted_at: datetime | None
    exhausted_earliest: datetime | None = None
    exhausted_latest: datetime | None = None


@dataclass(frozen=True, slots=True)
class NotYet:
    """No forecast, and why."""

    days: float
    calls: int
    why: str = ""

    @property
    def sentence(self) -> str:
        if self.why:
            return self.why
        if self.days < WHOLE_DAYS:
            there = f"{self.days:.0f} days" if self.days >= 2 else f"{self.days * 24:.0f} h"
            return f"No forecast yet. It needs {WHOLE_DAYS} days of spend; there are {there}."
        return f"No forecast yet. It needs {LEAST_CALLS} priced calls; there are {self.calls}."


MOMENTS = ("exhausted_at", "exhausted_earliest", "exhausted_latest")


def to_plain(outlook: Forecast | NotYet) -> dict[str, Any]:
    if isinstance(outlook, NotYet):
        return {"days": outlook.days, "calls": outlook.calls, "why": outlook.why}
    moments = {name: at.isoformat() if (at := getattr(outlook, name)) else None for name in MOMENTS}
    return {"nano": [outlook.nano, outlook.low_nano, outlook.high_nano], **moments}


def from_plain(plain: Mapping[str, Any]) -> Forecast | NotYet:
    if "days" in plain:
        return NotYet(plain["days"], plain["calls"], plain.get("why", ""))
    moments = (datetime.fromisoformat(plain[name]) if plain.get(name) else None for name in MOMENTS)
    return Forecast(*plain["nano"], *moments)


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of an hour still to come: its end, what the middle line expects, what falls out of a rolling period."""

    ends: datetime
    lasts: timedelta
    nano: float
    leaves: float


def forecast(
    season: Season,
    *,
    spent_nano: int,
    limit_nano: int,
    until: datetime,
    now: datetime,
    zone: ZoneInfo,
    leaving: Mapping[datetime, int] | None = None,
) -> Forecast | NotYet:
    """`leaving`: of a rolling period, what was spent by the hour; those hours fall out one after the other."""
    if season.days < WHOLE_DAYS or season.calls < LEAST_CALLS:
        return NotYet(season.days, season.calls)
    steps = _steps(season, now, until, zone, leaving or {}, until - now)
    if not steps:
        return Forecast(spent_nano, spent_nano, spent_nano, now if spent_nano >= limit_nano else None)
    days = _day_of_each(steps, zone)
    middle = _path(steps, days, [1.0] * (days[-1] + 1), spent_nano)
    ends, crossings = [], []
    draw = random.Random(SEED)  # a forecast keeps no secret
    off = _off_by(season.ratios)
    for _ in range(FUTURES if len(set(off)) > 1 else 1):
        path = _path(steps, days, draw.choices(off, k=days[-1] + 1), spent_nano)
        ends.append(_end(path, leaving))
        crossings.append(_crossing(path, steps, spent_nano, limit_nano, now))
    ends.sort()
    nano = _end(middle, leaving)
    return Forecast(
        nano=round(nano),
        low_nano=round(min(_percentile(ends, LOW), nano)),
        high_nano=round(max(_percentile(ends, HIGH), nano)),
        exhausted_at=_crossing(middle, steps, spent_nano, limit_nano, now),
        exhausted_earliest=_moment(crossings, LOW),
        exhausted_latest=_moment(crossings, HIGH),
    )


def _off_by(ratios: Sequence[float]) -> list[float]:
    """How far days were off, around their own middle: the level has the middle already."""
    middle = median(ratios) if ratios else 0.0
    return [ratio / middle for ratio in ratios] if middle else [1.0]


def _steps(
    season: Season,
    now: datetime,
    until: datetime,
    zone: ZoneInfo,
    leaving: Mapping[datetime, int],
    length: timedelta,
) -> list[Step]:
    steps, at = [], now
    while at < until:
        ends = min(at.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + HOUR, until)
        nano = season.usual[at.astimezone(zone).hour] * season.level * ((ends - at) / HOUR)
        steps.append(Step(ends, ends - at, nano, float(leaving.get(at - length, 0))))
        at = ends
    return steps


def _day_of_each(steps: Sequence[Step], zone: ZoneInfo) -> list[int]:
    """To which of the days to come each step belongs, from 0."""
    first = (steps[0].ends - steps[0].lasts).astimezone(zone).date()
    return [((step.ends - step.lasts).astimezone(zone).date() - first).days for step in steps]


def _path(steps: Sequence[Step], days: Sequence[int], off: Sequence[float], spent_nano: int) -> list[float]:
    """What is spent after each step."""
    moves = (step.nano * off[day] - step.leaves for step, day in zip(steps, days, strict=True))
    return list(accumulate(moves, initial=float(spent_nano)))[1:]


def _end(path: Sequence[float], leaving: Mapping[datetime, int] | None) -> float:
    return path[-1] if leaving is None else max(path)


def _crossing(
    path: Sequence[float], steps: Sequence[Step], spent_nano: int, limit_nano: int, now: datetime
) -> datetime | None:
    if spent_nano >= limit_nano:
        return now
    # Spend of a calendar period only grows: the step can be looked for by halves.
    grows = all(step.leaves == 0 for step in steps)
    index = (
        bisect_left(path, limit_nano)
        if grows
        else next((i for i, nano in enumerate(path) if nano >= limit_nano), len(path))
    )
    if index == len(path):
        return None
    before = path[index - 1] if index else float(spent_nano)
    step, gain = steps[index], path[index] - before
    return step.ends - step.lasts * (1 - (limit_nano - before) / gain)


def _moment(crossings: Sequence[datetime | None], q: float) -> datetime | None:
    """The moment by which that part of all futures has crossed."""
    crossed = sorted(at for at in crossings if at is not None)
    position = int(q * (len(crossings) - 1))
    return crossed[position] if position < len(crossed) else None


def _percentile(ordered: Sequence[float], q: float) -> float:
    position = q * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)
