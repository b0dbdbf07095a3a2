"""What a budget says: how much is spent of how much, which of its thresholds are crossed, and what they ask for.

There is no test and no alpha: money is counted. A verdict names the most harmful act of all thresholds that are
crossed, and behind it the others, for those who find that it cannot help here; acts are never taken here. Crossed is a
state: a burn rate clears when its short window falls, a forecast when it is 5 % below what it had reached.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from apps.budgets.domain import lasting, periods, scopes, thresholds
from apps.budgets.domain.forecast import Forecast, NotYet
from apps.budgets.domain.lasting import Lasting
from apps.budgets.domain.periods import Period
from apps.budgets.domain.scopes import SCOPES
from apps.budgets.domain.season import HOUR, Season
from apps.budgets.domain.thresholds import ACTS, AT, BURN, FORECAST, NO_PRICE, NOT_PRICED, RUNS_OUT, Threshold

__all__ = ["ACTS", "AT", "BURN", "FORECAST", "SCOPES", "Threshold"]

WITHIN = "within"
WARNING = "warning"
EXCEEDED = "exceeded"
INCONCLUSIVE = "inconclusive"  # calls are missing in what is spent: nobody can say what they cost

LEAST_BURN_CALLS = 20
LEAST_BURN_SHARE = 0.01
CLEARS = 0.95


@dataclass(frozen=True, slots=True)
class Spent:
    """From the ledger, for one period and scope."""

    confirmed_nano: int = 0
    estimated_nano: int = 0
    calls: int = 0
    unpriced: int = 0
    as_of: datetime | None = None
    assumed_nano: int = 0  # what calls without a price are taken for: their cap, else the dearest that is known
    unknown: int = 0  # calls without a price that nothing is known to take them for

    @property
    def nano(self) -> int:
        return self.confirmed_nano + self.unconfirmed_nano

    @property
    def unconfirmed_nano(self) -> int:
        return self.estimated_nano + self.assumed_nano


@dataclass(frozen=True, slots=True)
class Requests:
    """What single requests of the last hour cost, as far as cells tell: each at least at its cell's lower edge."""

    requests: int = 0
    over: int = 0  # surely above the limit
    highest_nano: int = 0


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
        return scopes.words(self.scope)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)


@dataclass(frozen=True, slots=True)
class Burn:
    """How fast money goes in the two windows of a rate, against what the limit allows: 1 is on pace."""

    level: float
    long: timedelta
    short: timedelta
    long_rate: float
    short_rate: float
    counts: bool  # there are calls and money enough in the long window

    @property
    def is_crossed(self) -> bool:
        return self.counts and self.long_rate >= self.level and self.short_rate >= self.level

    def as_dict(self) -> dict[str, Any]:
        return {
            "burn": self.level,
            "long_seconds": int(self.long.total_seconds()),
            "short_seconds": int(self.short.total_seconds()),
            "long_rate": round(self.long_rate, 3),
            "short_rate": round(self.short_rate, 3),
            "is_crossed": self.is_crossed,
        }


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
    fraction: float  # of the limit: spent, and of a hard cap reserved
    pace: float  # the share of the period that is over
    state: str
    threshold: Threshold | None  # the crossed one that asks for the most harmful act
    crossed: tuple[Threshold, ...]
    do: str  # its act, or ""
    sentence: str
    forecast: Forecast | None = None
    no_forecast: str = ""
    reserved_nano: int = 0  # by open holds, of a hard cap
    unpriced: int = 0
    assumed_nano: int = 0
    unknown: int = 0  # calls that are missing in what is spent
    as_of: datetime | None = None
    burns: tuple[Burn, ...] = ()
    lasting: Lasting | None = None  # at the present rate; of a calendar period of days
    requests: Requests | None = None  # of a budget per request
    is_new: bool = False  # it was not crossed before, in this period
    began: Mapping[str, datetime] = field(default_factory=dict)  # since when each threshold is crossed
    cleared: tuple[str, ...] = ()  # names of thresholds that were crossed until now
    by_route: Mapping[str, int] = field(default_factory=dict)  # nano-USD of the last hour, where an act is asked for

    @property
    def exceeded(self) -> bool:
        return self.state == EXCEEDED

    @property
    def asks(self) -> tuple[Threshold, ...]:
        """All crossed thresholds that want more than an alert, the most harmful first."""
        asking = [threshold for threshold in self.crossed if threshold.do != "alert"]
        return tuple(sorted(asking, key=lambda threshold: threshold.harm, reverse=True))

    def once_of(self, threshold: Threshold | None) -> str:
        """Names this crossing. The same threshold, crossed again after it had cleared, is another crossing."""
        name = threshold.name if threshold else ""
        began = self.began.get(name, self.period_from)
        return f"{self.budget}/{began:%Y%m%dT%H%M%SZ}/{name}"

    @property
    def once(self) -> str:
        return self.once_of(self.threshold)

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
            "reserved_nano": self.reserved_nano,
            "estimated_nano": self.estimated_nano,
            "assumed_nano": self.assumed_nano,
            "limit_nano": self.limit_nano,
            "fraction": self.fraction,
            "pace": self.pace,
            "state": self.state,
            "threshold": self.threshold.plain() if self.threshold else None,
            "do": self.do,
            "burns": [burn.as_dict() for burn in self.burns],
            "lasting": self.lasting.as_dict() if self.lasting else None,
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
    season: Season | None = None,
    requests: Requests | None = None,
    before: Collection[str] = (),
    reserved_nano: int | None = None,
) -> MoneyVerdict:
    """`burn_spend` is asked for the spend of the last minutes or hours, only where a threshold needs it.

    `reserved_nano`: by open holds of a hard cap, which count as spent. They come and go, so what they crossed clears
    when it is 5 % below. None: it is a soft one.

    `before`: names of the thresholds that were crossed in this period when last looked at.
    """
    burns = tuple(
        burn
        for threshold in rule.thresholds
        if threshold.kind == BURN and burn_spend is not None
        if (burn := burn_of(threshold.level, rule, period, burn_spend, season or Season(), now)) is not None
    )
    burning = {burn.level for burn in burns if burn.is_crossed}
    nano = spent.nano if requests is None else requests.highest_nano
    gone_nano = nano + (reserved_nano or 0)
    fraction = gone_nano / rule.limit_nano

    built_in = thresholds.built_in(rule.period, rule.thresholds)
    lasts = None
    if built_in and burn_spend is not None:
        lasts = lasting.lasting(
            rule.limit_nano - nano,
            lambda window: burn_spend(window).nano if burn_spend(HOUR).calls >= LEAST_BURN_CALLS else 0,
            season or Season(),
            until=period.until,
            now=now,
            zone=rule.zone,
            was_red=any(threshold.name in before for threshold in built_in),
        )

    def is_crossed(threshold: Threshold) -> bool:
        if threshold.kind == NO_PRICE:
            return spent.unknown > 0
        if threshold.kind == RUNS_OUT:
            return lasts is not None and lasts.level == lasting.RED
        was_crossed = threshold.name in before
        if threshold.kind == AT:
            clears = CLEARS if was_crossed and reserved_nano is not None else 1.0
            return gone_nano >= threshold.level * clears * rule.limit_nano
        if threshold.kind == BURN:
            return threshold.level in burning
        if not isinstance(outlook, Forecast):
            return was_crossed  # not to know is no reason to say that it is over
        return outlook.nano >= threshold.level * (CLEARS if was_crossed else 1.0) * rule.limit_nano

    crossed = [threshold for threshold in (*rule.thresholds, *built_in, NOT_PRICED) if is_crossed(threshold)]
    worst = max(crossed, key=lambda threshold: threshold.harm, default=None)
    state = WITHIN if worst is None else INCONCLUSIVE if worst is NOT_PRICED else WARNING
    verdict = MoneyVerdict(
        budget=rule.id,
        environment=rule.environment,
        name=rule.name,
        scope=rule.scope,
        period=rule.period,
        period_from=period.since,
        period_to=period.until,
        timezone=rule.timezone,
        spent_nano=nano,
        reserved_nano=reserved_nano or 0,
        estimated_nano=spent.estimated_nano,
        limit_nano=rule.limit_nano,
        fraction=fraction,
        pace=period.gone(now),
        state=EXCEEDED if fraction >= 1 else state,
        threshold=worst,
        crossed=tuple(crossed),
        do=worst.do if worst else "",
        sentence="",
        forecast=outlook if isinstance(outlook, Forecast) else None,
        no_forecast=outlook.sentence if isinstance(outlook, NotYet) else "",
        unpriced=spent.unpriced,
        assumed_nano=spent.assumed_nano,
        unknown=spent.unknown,
        as_of=spent.as_of,
        burns=burns,
        lasting=lasts,
        requests=requests,
    )
    return replace(verdict, sentence=sentence_of(rule, verdict, verdict.threshold))


def burn_of(
    level: float, rule: Rule, period: Period, burn_spend: BurnSpend, season: Season, now: datetime
) -> Burn | None:
    """Both windows of that rate: the long one says that it matters, the short one that it still goes on."""
    window = thresholds.windows_of(rule.period, level)
    if window is None:
        return None
    _, long, short, _ = window
    over_long = burn_spend(long)
    counts = over_long.calls >= LEAST_BURN_CALLS and over_long.nano >= LEAST_BURN_SHARE * rule.limit_nano

    def rate(one: timedelta) -> float:
        return burn_spend(one).nano / (rule.limit_nano * season.share(one, period.seconds, now, rule.zone))

    return Burn(level, long, short, rate(long), rate(short), counts)


def next_threshold(rule: Rule, fraction: float) -> Threshold | None:
    """The nearest threshold of actual spend that is not crossed yet."""
    ahead = [t for t in rule.thresholds if t.kind == AT and t.level > fraction]
    return min(ahead, key=lambda t: t.level, default=None)


def dollars(nano: int) -> str:
    """For people: cents, and more digits only below a dollar."""
    usd = nano / 1e9
    return f"${usd:,.2f}" if abs(usd) >= 1 or nano == 0 else f"${usd:.4f}"


def sentence_of(rule: Rule, verdict: MoneyVerdict, threshold: Threshold | None) -> str:
    """What is spent, and what one of the thresholds says about it."""
    spent, limit = dollars(verdict.spent_nano), dollars(verdict.limit_nano)
    scope = f"{rule.scope_words[0].upper()}{rule.scope_words[1:]}"
    if verdict.requests is not None:
        seen = verdict.requests
        over = f", {seen.over} of {seen.requests} above it" if seen.over else ""
        return f"{scope} spent up to {spent} on one request in the last hour; {limit} are allowed{over}."
    text = f"{scope} spent {spent} of {limit} {periods.words(rule.period)}"
    if verdict.reserved_nano:
        text += f", holds {dollars(verdict.reserved_nano)} for calls under way"
    if verdict.assumed_nano:
        assumed_for = verdict.unpriced - verdict.unknown
        text += f", {dollars(verdict.assumed_nano)} of it assumed for {assumed_for} calls without a price"
    if verdict.unknown:
        text += f", without {verdict.unknown} calls of which nobody knows what they cost"
    if threshold is None or threshold.kind == NO_PRICE:
        return f"{text}."
    if threshold.kind == RUNS_OUT and verdict.lasting is not None and verdict.lasting.runs_out_at is not None:
        rate = dollars(round(verdict.lasting.nano_per_hour))
        gone = verdict.lasting.runs_out_at.astimezone(rule.zone)
        return f"{text}, and at {rate} an hour, as in {verdict.lasting.of}, all is spent by {gone:%H:%M %Z}."
    if threshold.kind == FORECAST and verdict.forecast is not None:
        by = "within that time" if periods.is_rolling(rule.period) else "by its end"
        return f"{text}, and may reach {dollars(verdict.forecast.nano)} {by}."
    if threshold.kind == BURN:
        return f"{text}, and {threshold.words}."
    return f"{text} ({math.floor(verdict.fraction * 100)} %)."
