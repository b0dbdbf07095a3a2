"""How long a budget's money lasts at the rate at which it goes now, whatever a forecast says.

In: what is left, what the last 15 minutes and the last hour cost, what this hour of the day usually costs. Out: the
highest of these rates, and when the limit is reached at it. A forecast expects what is usual, so a sudden leak is news
to it only after hours, and in the first three days there is none. This is arithmetic: before the period's end is amber,
within two hours is red.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from apps.budgets.domain.season import HOUR, Season, summed

QUARTER = timedelta(minutes=15)
WINDOWS = {QUARTER: "the last 15 minutes", HOUR: "the last hour"}
USUAL = "what is usual at this time"
SEASONAL_FROM = 3.0  # days: before, an hour of the day was seen too seldom to be usual

AMBER, RED = "amber", "red"
SOON = timedelta(hours=2)
CLEARS = timedelta(hours=2, minutes=15)


@dataclass(frozen=True, slots=True)
class Lasting:
    """At which rate money goes, of which time that is, and when the limit is reached: None if not in this period."""

    nano_per_hour: float
    of: str
    runs_out_at: datetime | None = None
    level: str = ""  # amber, red or neither

    def as_dict(self) -> dict[str, Any]:
        return {
            "nano_per_hour": round(self.nano_per_hour),
            "of": self.of,
            "runs_out_at": self.runs_out_at.isoformat() if self.runs_out_at else None,
            "level": self.level,
        }


def lasting(
    left_nano: int,
    spent_in: Callable[[timedelta], int],
    season: Season,
    *,
    until: datetime,
    now: datetime,
    zone: ZoneInfo,
    was_red: bool = False,
) -> Lasting:
    """`spent_in`: nano-USD of a window up to now. `until`: the period's end."""
    rates = [(spent_in(window) / (summed(window, now) / HOUR), words) for window, words in WINDOWS.items()]
    if season.days >= SEASONAL_FROM:
        rates.append((season.usual[now.astimezone(zone).hour], USUAL))
    rate, of = max(rates, key=lambda one: one[0])
    if rate <= 0:
        return Lasting(0.0, of)
    hours = max(left_nano, 0) / rate
    if hours >= (until - now) / HOUR:
        return Lasting(rate, of)
    red = hours < (CLEARS if was_red else SOON) / HOUR and (left_nano > 0 or was_red)
    return Lasting(rate, of, now + hours * HOUR, RED if red else AMBER)
