"""What a budget says: how much is spent of how much, which of its thresholds are crossed, and what they ask for.

Thresholds look at actual spend (`at`, a fraction of the limit), at the forecast (`forecast`) or at the rate of burning
(`burn`). There is no test and no alpha: money is counted. A verdict asks for the most harmful act of all the thresholds
that are crossed; acts are never taken here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from apps.budgets.domain import periods
from apps.budgets.domain.forecast import Forecast, NotYet
from apps.budgets.domain.periods import Period

# In order of harm, least first.
ACTS = ("alert", "hold", "stop_shadow", "cap_share", "step_back", "pause", "roll_back", "fall_back", "block")

AT = "at"
FORECAST = "forecast"
BURN = "burn"
SCOPES = ("route", "variant", "model", "provider", "owner", "arm", "rollout", "tag")

WITHIN = "within"
WARNING = "warning"
EXCEEDED = "exceeded"

# Long window, short window, by the length of the period: both must burn that fast. (Site Reliability Workbook.)
_M, _H, _D = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
BURN_WINDOWS: dict[str, tuple[tuple[float, timedelta, timedelta], ...]] = {
    "month": ((14.4, _H, 5 * _M), (6, 6 * _H, 30 * _M), (3, _D, 2 * _H), (1, 3 * _D, 6 * _H)),
    "week": ((14.4, 15 * _M, 5 * _M), (6, 90 * _M, 15 * _M), (3, 6 * _H, 30 * _M), (1, 17 * _H, 2 * _H)),
    "day": ((6, _H, 5 * _M), (3, 3 * _H, 15 * _M)),
    "hour": (),
}
LEAST_BURN_CALLS = 20
LEAST_BURN_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Threshold:
    kind: str  # at, forecast or burn
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
        return f"{self.level:.0%} of the limit" if self.kind == AT else f"the forecast reaches {self.level:.0%}"


@dataclass(frozen=True, slots=True)
class Spent:
    """From the ledger, for one period and scope."""

    confirmed_nano: int = 0
    estimated_nano: int = 0
    calls: int = 0
    unpriced: int = 0
    as_of: datetime | None = None

    @property
    def nano(self) -> int:
        return self.confirmed_nano + self.estimated_nano


@dataclass(frozen=True, slots=True)
class Rule:
    """A budget as plain values."""

    id: str
    environment: str
    name: str
    scope: Mapping[str, str]
    period: periods.Length
    limit_nano: int
    thresholds: tuple[Threshold, ...]
    timezone: str

    @property
    def scope_words(self) -> str:
        return ", ".join(f"{key} {value}" for key, value in sorted(self.scope.items())) or "the whole environment"


@dataclass(frozen=True, slots=True)
class MoneyVerdict:
    budget: str
    environment: str
    name: str
    scope: Mapping[str, str]
    period: str
    period_from: datetime
    period_to: datetime
    timezone: str
    spent_nano: int
    estimated_nano: int
    limit_nano: int
    fraction: float
    pace: float  # the share of the period that is over
    state: str
    threshold: Threshold | None  # the crossed one that asks for the most harmful act
    crossed: tuple[Threshold, ...]
    do: str  # its act, or ""
    sentence: str
    forecast: Forecast | None = None
    no_forecast: str = ""
    unpriced: int = 0
    as_of: datetime | None = None
    is_new: bool = False  # it was not crossed before, in this period

    @property
    def exceeded(self) -> bool:
        return self.state == EXCEEDED

    @property
    def once(self) -> str:
        """Names this crossing: the same threshold in the same period is the same."""
        crossed = self.threshold.name if self.threshold else ""
        return f"{self.budget}/{self.period_from:%Y%m%dT%H%MZ}/{crossed}"

    @property
    def share(self) -> int | None:
        """`cap_share`: the cap, in ten-thousandths."""
        return None if self.threshold is None or self.threshold.share is None else self.threshold.share * 100

    def as_dict(self) -> dict[str, Any]:
        return {
            "budget": self.budget,
            "environment": self.environment,
            "name": self.name,
            "scope": dict(self.scope),
            "period": self.period,
            "period_from": self.period_from.isoformat(),
            "period_to": self.period_to.isoformat(),
            "timezone": self.timezone,
            "spent_nano": self.spent_nano,
            "estimated_nano": self.estimated_nano,
            "limit_nano": self.limit_nano,
            "fraction": self.fraction,
            "pace": self.pace,
            "state": self.state,
            "threshold": self.threshold.plain() if self.threshold else None,
            "do": self.do,
            "sentence": self.sentence,
        }


BurnSpend = Callable[[timedelta], Spent]


def judge(
    rule: Rule,
    *,
    period: Period,
    spent: Spent,
    outlook: Forecast | NotYet | None,
    burn_spend: BurnSpend | None,
    now: datetime,
) -> MoneyVerdict:
    """`burn_spend` is asked for the spend of the last minutes or hours, only where a threshold needs it."""
    fraction = spent.nano / rule.limit_nano
    crossed = [t for t in rule.thresholds if _is_crossed(t, rule, period, spent, outlook, burn_spend)]
    worst = max(crossed, key=lambda t: (ACTS.index(t.do), t.kind == AT, t.level), default=None)
    state = EXCEEDED if fraction >= 1 else WARNING if crossed else WITHIN
    verdict = MoneyVerdict(
        budget=rule.id,
        environment=rule.environment,
        name=rule.name,
        scope=rule.scope,
        period=rule.period,
        period_from=period.since,
        period_to=period.until,
        timezone=rule.timezone,
        spent_nano=spent.nano,
        estimated_nano=spent.estimated_nano,
        limit_nano=rule.limit_nano,
        fraction=fraction,
        pace=period.gone(now),
        state=state,
        threshold=worst,
        crossed=tuple(crossed),
        do=worst.do if worst else "",
        sentence="",
        forecast=outlook if isinstance(outlook, Forecast) else None,
        no_forecast=outlook.sentence if isinstance(outlook, NotYet) else "",
        unpriced=spent.unpriced,
        as_of=spent.as_of,
    )
    return replace(verdict, sentence=_sentence(rule, verdict))


def next_threshold(rule: Rule, fraction: float) -> Threshold | None:
    """The nearest threshold of actual spend that is not crossed yet."""
    ahead = [t for t in rule.thresholds if t.kind == AT and t.level > fraction]
    return min(ahead, key=lambda t: t.level, default=None)


def dollars(nano: int) -> str:
    """For people: cents, and more digits only below a dollar."""
    usd = nano / 1e9
    return f"${usd:,.2f}" if abs(usd) >= 1 or nano == 0 else f"${usd:.4f}"


def _is_crossed(
    threshold: Threshold,
    rule: Rule,
    period: Period,
    spent: Spent,
    outlook: Forecast | NotYet | None,
    burn_spend: BurnSpend | None,
) -> bool:
    if threshold.kind == AT:
        return spent.nano >= threshold.level * rule.limit_nano
    if threshold.kind == FORECAST:
        return isinstance(outlook, Forecast) and outlook.nano >= threshold.level * rule.limit_nano
    return burn_spend is not None and _burns(threshold.level, rule, period, burn_spend)


def _burns(level: float, rule: Rule, period: Period, burn_spend: BurnSpend) -> bool:
    """Both windows of that rate: the long one says it matters, the short one that it still goes on."""
    # A rate of one's own takes the windows of the nearest rate below it.
    rated = [window for window in BURN_WINDOWS[rule.period] if window[0] <= level] or BURN_WINDOWS[rule.period][-1:]
    if not rated:
        return False
    _, long, short = rated[0]
    over_long = burn_spend(long)
    if over_long.calls < LEAST_BURN_CALLS or over_long.nano < LEAST_BURN_SHARE * rule.limit_nano:
        return False
    return all(_rate(burn_spend(window).nano, window, rule, period) >= level for window in (long, short))


def _rate(nano: int, window: timedelta, rule: Rule, period: Period) -> float:
    return nano / (rule.limit_nano * window.total_seconds() / period.seconds)


def _sentence(rule: Rule, verdict: MoneyVerdict) -> str:
    spent, limit = dollars(verdict.spent_nano), dollars(verdict.limit_nano)
    text = f"{rule.scope_words[0].upper()}{rule.scope_words[1:]} spent {spent} of {limit} this {rule.period}"
    if verdict.threshold is None:
        return f"{text}."
    if verdict.threshold.kind == FORECAST and verdict.forecast is not None:
        return f"{text}, and may reach {dollars(verdict.forecast.nano)} by its end."
    if verdict.threshold.kind == BURN:
        return f"{text}, and {verdict.threshold.words}."
    return f"{text} ({math.floor(verdict.fraction * 100)} %)."


def parse_thresholds(raw: Any) -> tuple[tuple[Threshold, ...], str]:
    """Thresholds as people write them -> (thresholds, fault)."""
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        return (), "Thresholds are a list."
    found = []
    for place, item in enumerate(raw):
        kinds = [kind for kind in (AT, FORECAST, BURN) if isinstance(item, Mapping) and kind in item]
        if len(kinds) != 1:
            return (), f"{place}: name one of at, forecast or burn."
        level, do, share = item[kinds[0]], item.get("do", "alert"), item.get("share")
        if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level <= 1000:
            return (), f"{place}: {kinds[0]} is a number above 0: 0.8 stands for 80 %."
        if do not in ACTS:
            return (), f"{place}: do one of {', '.join(ACTS)}."
        if do == "cap_share" and (not isinstance(share, int) or not 0 <= share <= 100):
            return (), f"{place}: cap_share needs a share in percent."
        found.append(Threshold(kinds[0], float(level), do, share if do == "cap_share" else None))
    return tuple(found), ""
