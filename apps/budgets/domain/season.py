"""How a scope's spend is spread over the day, from its hours of up to four whole weeks.

In: spend by the hour it began in, in nano-USD. Out: what each hour of the day usually costs (the median of that hour of
all days), the level of the last 24 hours against it, and how far each whole day was off. Forecasts, burn rates and
anomalies share it, so that a morning rush is no surprise to any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SEASONAL_DAYS = 14  # from so many days on a rate is compared with what that hour usually costs


@dataclass(frozen=True, slots=True)
class Season:
    """`usual`: nano-USD of each hour of the local day. `ratios`: of each whole day, actual over usual."""

    usual: tuple[float, ...] = (0.0,) * 24
    level: float = 1.0
    ratios: tuple[float, ...] = ()
    days: float = 0.0
    calls: int = 0

    def expected(self, since: datetime, until: datetime, zone: ZoneInfo) -> float:
        """What that time usually costs, at no particular level."""
        total, at = 0.0, since
        while at < until:
            ends = min(_hour_of(at) + HOUR, until)
            total += self.usual[at.astimezone(zone).hour] * ((ends - at) / HOUR)
            at = ends
        return total

    def share(self, window: timedelta, length: float, now: datetime, zone: ZoneInfo) -> float:
        """Which part of a limit the time up to `now` may use: even by the clock, seasonal once two weeks are known."""
        window = summed(window, now)
        even = window.total_seconds() / length
        of_a_day = sum(self.usual)
        if self.days < SEASONAL_DAYS or not of_a_day:
            return even
        usual = self.expected(now - window, now, zone) / (of_a_day * (length / DAY.total_seconds()))
        # An hour that usually costs nothing would make the first call in it burn infinitely fast.
        return max(usual, even / 4)

    def plain(self) -> dict[str, Any]:
        return {
            "usual": list(self.usual),
            "level": self.level,
            "ratios": list(self.ratios),
            "days": self.days,
            "calls": self.calls,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Season:
        return cls(tuple(plain["usual"]), plain["level"], tuple(plain["ratios"]), plain["days"], plain["calls"])


def season(hours: Mapping[datetime, int], calls: int, now: datetime, zone: ZoneInfo) -> Season:
    """`hours`: spend by the hour it began in, from the first hour with any spend on; `calls`: those with a price."""
    first = min(hours, default=now)
    days = (now - first) / DAY
    this_hour = _hour_of(now)
    past = {first + HOUR * i: 0 for i in range(int((this_hour - first) / HOUR))}
    past |= {hour: nano for hour, nano in hours.items() if hour < this_hour}
    by_hour: list[list[int]] = [[] for _ in range(24)]
    by_day: dict[int, dict[datetime, int]] = {}
    for hour, nano in past.items():
        by_hour[hour.astimezone(zone).hour].append(nano)
        by_day.setdefault(-int((hour - this_hour) // DAY) - 1, {})[hour] = nano
    everything = float(median(past.values())) if past else 0.0
    usual = tuple(float(median(values)) if values else everything for values in by_hour)

    def ratio(some: Mapping[datetime, int]) -> float:
        expected = sum(usual[hour.astimezone(zone).hour] for hour in some)
        return sum(some.values()) / expected if expected else 1.0

    whole_days = [by_day[day] for day in sorted(by_day) if len(by_day[day]) == 24]
    return Season(usual, ratio(by_day.get(0, {})), tuple(ratio(day) for day in whole_days), days, calls)


def summed(window: timedelta, now: datetime) -> timedelta:
    """How much time is summed for a window up to now. Spend is kept by the minute: all of the first one is in it."""
    return now - (now - window).replace(second=0, microsecond=0)


def _hour_of(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
