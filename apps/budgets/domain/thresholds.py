"""At how much, or how fast, a budget asks for what.

A threshold looks at actual spend (`at`, a fraction of the limit), at the forecast (`forecast`) or at the rate of
burning (`burn`). In: what people write. Out: plain thresholds, or what is wrong with them in words. Who asks for a
forecast is also alerted where, at the present rate, the money lasts less than two hours (`lasting`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from apps.budgets.domain import lasting, periods

# In order of harm, least first.
ACTS = ("alert", "hold", "stop_shadow", "cap_share", "step_back", "pause", "roll_back", "fall_back", "block")
QUIET_ACTS = ("alert", "hold")
SHADOW_ACTS = ("alert", "hold", "stop_shadow")

AT = "at"
FORECAST = "forecast"
BURN = "burn"
KINDS = (AT, FORECAST, BURN)  # that people set
RUNS_OUT = "runs_out"
NO_PRICE = "no_price"
PAGE = "page"
TICKET = "ticket"

# Long window, short window, by the length of the period: both must burn that fast. (Site Reliability Workbook.)
_M, _H, _D = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
Window = tuple[float, timedelta, timedelta, str]
BURN_WINDOWS: dict[str, tuple[Window, ...]] = {
    "month": (
        (14.4, _H, 5 * _M, PAGE),
        (6, 6 * _H, 30 * _M, PAGE),
        (3, _D, 2 * _H, TICKET),
        (1, 3 * _D, 6 * _H, TICKET),
    ),
    "week": (
        (14.4, 15 * _M, 5 * _M, PAGE),
        (6, 90 * _M, 15 * _M, PAGE),
        (3, 6 * _H, 30 * _M, TICKET),
        (1, 17 * _H, 2 * _H, TICKET),
    ),
    "day": ((6, _H, 5 * _M, PAGE), (3, 3 * _H, 15 * _M, TICKET)),
    "hour": (),
}


@dataclass(frozen=True, slots=True)
class Threshold:
    kind: str  # at, forecast, burn, runs_out or no_price
    level: float
    do: str
    share: int | None = None  # cap_share: in percent

    def plain(self) -> dict[str, Any]:
        row: dict[str, Any] = {self.kind: self.level, "do": self.do}
        return row if self.share is None else row | {"share": self.share}

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.level:g}"

    @property
    def words(self) -> str:
        if self.kind == BURN:
            return f"spend burns {self.level:g} times as fast as the limit allows"
        if self.kind == RUNS_OUT:
            return "at the present rate the money lasts less than 2 h"
        if self.kind == NO_PRICE:
            return "there are calls of which nobody knows what they cost"
        return f"{self.level:.0%} of the limit" if self.kind == AT else f"the forecast reaches {self.level:.0%}"

    @property
    def harm(self) -> tuple[int, bool, float]:
        return ACTS.index(self.do), self.kind == AT, self.level


SOON_GONE = Threshold(RUNS_OUT, lasting.SOON / _H, "alert")
NOT_PRICED = Threshold(NO_PRICE, 0.0, "alert")  # of every budget


def built_in(period: str, some: Iterable[Threshold]) -> tuple[Threshold, ...]:
    """Beside those that people set. A rolling period has no end before which its money could be gone."""
    is_forecast = any(threshold.kind == FORECAST for threshold in some)
    return (SOON_GONE,) if is_forecast and not periods.is_rolling(period) else ()


def windows_of(period: str, level: float) -> Window | None:
    """A rate of one's own takes the windows of the nearest rate below it, else those of the lowest."""
    table = BURN_WINDOWS[periods.kind_of(period)]
    return next((window for window in table if window[0] <= level), table[-1] if table else None)


def windows(period: str, some: Iterable[Threshold]) -> set[timedelta]:
    """All windows in which spend is looked at for these thresholds."""
    some = tuple(some)
    rates = (windows_of(period, threshold.level) for threshold in some if threshold.kind == BURN)
    burning = {window for rate in rates if rate is not None for window in rate[1:3]}
    return burning | set(lasting.WINDOWS if built_in(period, some) else ())


def parse(raw: Any, *, period: str, scope: Mapping[str, str]) -> tuple[tuple[Threshold, ...], str]:
    """Thresholds as people write them -> (thresholds, fault). `{"burn": "page"}` stands for the table's rates."""
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        return (), "Thresholds are a list."
    found: list[Threshold] = []
    for place, item in enumerate(raw):
        some, fault = _parse_one(item, period)
        fault = fault or _out_of_place(some, period, scope)
        if fault:
            return (), f"{place}: {fault}"
        found += [threshold for threshold in some if threshold not in found]
    return tuple(found), ""


def _parse_one(item: Any, period: str) -> tuple[list[Threshold], str]:
    kinds = [kind for kind in KINDS if isinstance(item, Mapping) and kind in item]
    if len(kinds) != 1:
        return [], "name one of at, forecast or burn."
    level, do, share = item[kinds[0]], item.get("do", "alert"), item.get("share")
    if do not in ACTS:
        return [], f"do one of {', '.join(ACTS)}."
    if do != "cap_share":
        share = None
    elif isinstance(share, bool) or not isinstance(share, int) or not 0 <= share <= 100:
        return [], "cap_share needs a share in percent."
    if kinds[0] == BURN and level in (PAGE, TICKET):
        rates = [rate for rate, _, _, says in BURN_WINDOWS.get(periods.kind_of(period), ()) if says == level]
        if not rates:
            return [], f"a budget of {periods.A.get(periods.kind_of(period), period)} has no rates of that kind."
        return [Threshold(BURN, float(rate), do, share) for rate in rates], ""
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level <= 1000:
        return [], f"{kinds[0]} is a number above 0: 0.8 stands for 80 %."
    return [Threshold(kinds[0], float(level), do, share)], ""


def _out_of_place(some: Sequence[Threshold], period: str, scope: Mapping[str, str]) -> str:
    for threshold in some:
        if periods.kind_of(period) in ("hour", periods.REQUEST) and threshold.kind != AT:
            return f"a budget of {periods.A[periods.kind_of(period)]} has thresholds of actual spend only."
        if period == periods.REQUEST and threshold.do not in QUIET_ACTS:
            return "a budget per request may alert or hold. What is spent on one is capped by max_cost_usd."
        if scope.get("arm") == "shadow" and threshold.do not in SHADOW_ACTS:
            return f"a budget of shadow traffic may {', '.join(SHADOW_ACTS)}: nothing else lowers it."
    return ""
