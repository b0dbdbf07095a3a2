"""What a budget's spend will be when its period ends.

In: spend by hour, in nano-USD, of up to four whole weeks. Money is seasonal, so each hour still to come is expected at
the median of the same hour of the days before, times the level of the last 24 hours. The range comes from how far
whole days were above or below what was expected of them (their 10th and 90th percentile). Under three whole days, or
200 priced calls, there is no forecast: a guess would be believed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

WHOLE_DAYS = 3
LEAST_CALLS = 200
HISTORY_DAYS = 28
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Forecast:
    """At the end of the period, nano-USD. `exhausted_at`: when the middle line crosses the limit."""

    nano: int
    low_nano: int
    high_nano: int
    exhausted_at: datetime | None


@dataclass(frozen=True, slots=True)
class NotYet:
    """No forecast, and why."""

    days: float
    calls: int

    @property
    def sentence(self) -> str:
        if self.days < WHOLE_DAYS:
            there = f"{self.days:.0f} days" if self.days >= 2 else f"{self.days * 24:.0f} h"
            return f"No forecast yet. It needs {WHOLE_DAYS} days of spend; there are {there}."
        return f"No forecast yet. It needs {LEAST_CALLS} priced calls; there are {self.calls}."


def to_plain(outlook: Forecast | NotYet) -> dict[str, Any]:
    if isinstance(outlook, NotYet):
        return {"days": outlook.days, "calls": outlook.calls}
    exhausted_at = outlook.exhausted_at.isoformat() if outlook.exhausted_at else None
    return {"nano": [outlook.nano, outlook.low_nano, outlook.high_nano], "exhausted_at": exhausted_at}


def from_plain(plain: Mapping[str, Any]) -> Forecast | NotYet:
    if "days" in plain:
        return NotYet(plain["days"], plain["calls"])
    exhausted_at = plain["exhausted_at"]
    nano, low_nano, high_nano = plain["nano"]
    return Forecast(nano, low_nano, high_nano, datetime.fromisoformat(exhausted_at) if exhausted_at else None)


def forecast(
    *,
    hours: Mapping[datetime, int],
    calls: int,
    spent_nano: int,
    limit_nano: int,
    until: datetime,
    now: datetime,
    zone: ZoneInfo,
) -> Forecast | NotYet:
    """`hours`: spend by the hour it began in, from the first hour with any spend on."""
    first = min(hours, default=now)
    days = (now - first) / timedelta(days=1)
    if days < WHOLE_DAYS or calls < LEAST_CALLS:
        return NotYet(days, calls)
    this_hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    past = {first + HOUR * i: 0 for i in range(int((this_hour - first) / HOUR))} | {
        hour: nano for hour, nano in hours.items() if hour < this_hour
    }
    seasonal = _seasonal(past, zone)
    last_day = {hour: nano for hour, nano in past.items() if hour >= this_hour - 24 * HOUR}
    level = _level(last_day, seasonal, zone)
    ratios = _daily_ratios(past, seasonal, this_hour, zone)

    total = float(spent_nano)
    exhausted_at = now if spent_nano >= limit_nano else None
    at = now
    while at < until:
        ends = min(at.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + HOUR, until)
        step = seasonal[at.astimezone(zone).hour] * level * ((ends - at) / HOUR)
        if exhausted_at is None and total + step >= limit_nano:
            exhausted_at = at + (ends - at) * ((limit_nano - total) / step)
        total += step
        at = ends
    to_come = total - spent_nano
    return Forecast(
        nano=round(total),
        low_nano=round(spent_nano + to_come * min(_percentile(ratios, 0.1), 1.0)),
        high_nano=round(spent_nano + to_come * max(_percentile(ratios, 0.9), 1.0)),
        exhausted_at=exhausted_at,
    )


def _seasonal(past: Mapping[datetime, int], zone: ZoneInfo) -> list[float]:
    """What each hour of the day usually costs."""
    by_hour: list[list[int]] = [[] for _ in range(24)]
    for hour, nano in past.items():
        by_hour[hour.astimezone(zone).hour].append(nano)
    everything = median(past.values()) if past else 0.0
    return [float(median(values)) if values else float(everything) for values in by_hour]


def _level(recent: Mapping[datetime, int], seasonal: Sequence[float], zone: ZoneInfo) -> float:
    expected = sum(seasonal[hour.astimezone(zone).hour] for hour in recent)
    return sum(recent.values()) / expected if expected else 1.0


def _daily_ratios(
    past: Mapping[datetime, int], seasonal: Sequence[float], this_hour: datetime, zone: ZoneInfo
) -> list[float]:
    days: dict[int, dict[datetime, int]] = {}
    for hour, nano in past.items():
        days.setdefault(int((this_hour - hour) / timedelta(days=1)), {})[hour] = nano
    return [_level(day, seasonal, zone) for day in days.values() if len(day) == 24] or [1.0]


def _percentile(values: Sequence[float], q: float) -> float:
    ordered = sorted(values)
    position = q * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)
