"""What the ledger says about a budget: spend, season, forecast, burning, single requests.

Everything is asked there and nothing is counted here, so a lost counter can block nobody and set nobody free. What
would cost too much to ask at every tick is kept on the budget's row for a while (`Reading`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from django.conf import settings

from apps.budgets import assuming
from apps.budgets.domain import forecast, money, periods, season, thresholds
from apps.budgets.domain.forecast import Forecast, NotYet
from apps.budgets.domain.money import MoneyVerdict, Requests, Spent
from apps.budgets.domain.periods import Period
from apps.budgets.domain.season import Season
from apps.budgets.models import Budget
from apps.catalog.domain.names import normalised
from apps.telemetry import queries as telemetry
from apps.telemetry.domain import histogram
from apps.telemetry.queries import SpendRow

FORECAST_STAYS = timedelta(minutes=5)  # it reads four weeks of hours
SPENT_STAYS = {  # others are asked at every tick
    "week": timedelta(seconds=30),
    "month": timedelta(seconds=60),
    "rolling_week": timedelta(seconds=30),
    "rolling_month": timedelta(seconds=60),
    "request": timedelta(seconds=15),
}
FEW_ROUTES, MANY_ROUTES = 3, 5000  # between them their budgets ask together
WHOLE_STAYS = timedelta(days=1)
CALLS_COME = timedelta(hours=49)  # up to so late
BEING_MADE = "No forecast yet. It is being made."
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AHEAD = timedelta(minutes=1)  # the minute that has just begun
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
Hours = dict[datetime, tuple[int, int]]  # nano-USD and priced calls
ON_THE_WAY = timedelta(seconds=15)  # what a call cost is known this long after it ended: reports, commit, tick


def where(rule: money.Rule) -> dict[str, str]:
    """A scope in the ledger's own columns and spelling: openai/GPT-4.1 is the model gpt-4.1 of openai."""
    return columns_of(rule.scope)


def columns_of(scope: Mapping[str, str]) -> dict[str, str]:
    named = {("trial" if name == "rollout" else name): value for name, value in scope.items()}
    named.pop("environment", None)
    if "provider" in named or "model" in named:
        provider, model = normalised(named.get("provider"), named.get("model", ""))
        named |= {name: value for name, value in (("provider", provider), ("model", model)) if value}
    return named


class Asked:
    """Of one tick: budgets share their questions. Each time is asked once for all that are wider than a route, and once
    for all routes that have budgets of their own; times that overlap are cut where one of them begins."""

    def __init__(self, rules: Iterable[money.Rule] = (), now: datetime | None = None) -> None:
        self.columns: dict[tuple[str, bool], set[str]] = {}
        self.routes: dict[str, set[str]] = {}
        self.values: dict[tuple[str, tuple[str, ...]], dict[str, set[str]]] = {}
        self.cuts: set[datetime] = set()
        self.known: dict[tuple[str, bool, datetime, datetime], dict[str, list[SpendRow]]] = {}
        self.known_hours: dict[tuple[Any, ...], dict[tuple[str, ...], Hours]] = {}
        for rule in rules:
            named = where(rule)
            self.columns.setdefault((rule.environment, "route" in rule.scope), set()).update(named)
            if "route" in rule.scope:
                self.routes.setdefault(rule.environment, set()).add(rule.scope["route"])
            of_columns = self.values.setdefault((rule.environment, tuple(sorted(named))), {})
            for name, value in named.items():
                of_columns.setdefault(name, set()).add(value)
            if now is not None:
                self.cuts |= {minute_of(now - window) for window in thresholds.windows(rule.period, rule.thresholds)}
        if now is not None:
            self.cuts |= {hour_of(now), minute_of(now + AHEAD + MINUTE)}

    def rows(self, rule: money.Rule, since: datetime, until: datetime) -> list[SpendRow]:
        named, environment, is_narrow = where(rule), rule.environment, "route" in rule.scope
        by, routes = self.columns.get((environment, is_narrow), set()), self.routes.get(environment, set())
        if not named.keys() <= by or (is_narrow and not FEW_ROUTES < len(routes) < MANY_ROUTES):
            return telemetry.spend(environment, since, until, where=named)
        cuts = sorted(cut for cut in self.cuts if minute_of(since) < cut < until)
        found: list[SpendRow] = []
        for begin, end in pairwise([minute_of(since), *cuts, until]):
            rows = self.shared(environment, is_narrow, begin, end).get(named.get("route", ""), ())
            found += [row for row in rows if all(row.keys[name] == value for name, value in named.items())]
        return found

    def shared(self, environment: str, is_narrow: bool, since: datetime, until: datetime) -> dict[str, list[SpendRow]]:
        """By route; of what is wider, all under an empty one."""
        key = (environment, is_narrow, since, until)
        if key not in self.known:
            by = sorted(self.columns.get((environment, is_narrow), ()))
            of_routes = {"route": sorted(self.routes[environment])} if is_narrow else None
            found = self.known[key] = {}
            for row in telemetry.spend(environment, since, until, by=by, where=of_routes):
                found.setdefault(row.keys["route"] if is_narrow else "", []).append(row)
        return self.known[key]

    def hours(self, rule: money.Rule, since: datetime, until: datetime) -> Hours:
        """By the hour it began in. Budgets of the same kind of scope are answered by one question."""
        named = where(rule)
        by = tuple(sorted(named))
        some = self.values.get((rule.environment, by))
        if some is None or "route" in named:  # of one route there is an index
            some = {name: {value} for name, value in named.items()}
        narrowed = {name: sorted(values) for name, values in some.items()}
        key = (rule.environment, since, until, *((name, *narrowed[name]) for name in by))
        if key not in self.known_hours:
            found = self.known_hours[key] = {}
            for row in telemetry.spend(rule.environment, since, until, by=by, where=narrowed, step="1h"):
                of_scope = found.setdefault(tuple(row.keys.values()), {})
                of_scope[row.since] = (row.spent_nano, row.calls - row.unpriced)
        return self.known_hours[key].get(tuple(named[name] for name in by), {})

    def spent(self, rule: money.Rule, since: datetime, until: datetime) -> Spent:
        return summed_up(self.rows(rule, since, until), rule.environment, where(rule), since, until)


def summed_up(
    rows: Sequence[SpendRow], environment: str, named: Mapping[str, str], since: datetime, until: datetime
) -> Spent:
    unpriced = sum(row.unpriced for row in rows)
    assumed = assuming.assume(environment, named, since, until) if unpriced > 0 else assuming.Assumed()
    return Spent(
        sum(row.confirmed_nano for row in rows),
        sum(row.estimated_nano for row in rows),
        sum(row.calls for row in rows),
        unpriced,
        assumed_nano=assumed.nano,
        unknown=assumed.unknown,
    )


def minute_of(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(second=0, microsecond=0)


def hour_of(at: datetime) -> datetime:
    return minute_of(at).replace(minute=0)


def spent(rule: money.Rule, since: datetime, until: datetime) -> Spent:
    return Asked().spent(rule, since, until)


def spent_in(environment: str, scope: Mapping[str, str], since: datetime, until: datetime) -> Spent:
    """Of a scope that no budget has."""
    named = columns_of(scope)
    return summed_up(telemetry.spend(environment, since, until, where=named), environment, named, since, until)


def by_route(rule: money.Rule, now: datetime) -> dict[str, int]:
    """Nano-USD of the last hour by route: there an act can lower what this budget counts."""
    rows = telemetry.spend(rule.environment, now - HOUR, now + AHEAD, by=("route",), where=where(rule))
    return {row.keys["route"]: row.spent_nano for row in rows if row.spent_nano > 0 or row.unpriced > 0}


def overshoot_nano(rule: money.Rule, now: datetime, asked: Asked) -> int:
    """By how much a soft cap can be passed before anybody acts: the last hour's rate, for as long as news take."""
    blind = SPENT_STAYS.get(rule.period, timedelta(0)) + timedelta(seconds=settings.TICK_SECONDS) + ON_THE_WAY
    return round(asked.spent(rule, now - HOUR, now + AHEAD).nano * (blind / HOUR))


def requests_of(rule: money.Rule, period: Period) -> Requests:
    """Single requests of the last hour. A cell counts at its lower edge: what is told over the limit surely was."""
    scope = {name: value for name, value in rule.scope.items() if name != "environment"}
    cells = telemetry.request_costs(rule.environment, period.since, period.until, scope)
    limit = rule.limit_nano / 1e9
    over = sum(n for index, n in cells.cells.items() if histogram.lower_edge(index) >= limit)
    highest = max((index for index, n in cells.cells.items() if n), default=None)
    highest_nano = 0 if highest is None else round(histogram.lower_edge(highest) * 1e9)
    return Requests(cells.count, over, highest_nano)


@dataclass(slots=True)
class Reading:
    """What the ledger said for a budget, and when."""

    period: Period
    anchor: str  # of what it was read: a period, or a rolling one
    spent: Spent
    spent_at: datetime
    outlook: Forecast | NotYet
    season: Season
    outlook_at: datetime
    whole_at: datetime  # when all four weeks were last read
    hours: Hours | None = None  # from which the season was learnt, where that was just now
    requests: Requests | None = None

    @property
    def plain_hours(self) -> list[list[int]]:
        return [[int(at.timestamp()), *sums] for at, sums in (self.hours or {}).items()]

    def plain(self) -> dict[str, Any]:
        found = self.spent
        return {
            "anchor": self.anchor,
            "spent": [
                found.confirmed_nano,
                found.estimated_nano,
                found.calls,
                found.unpriced,
                None,
                found.assumed_nano,
                found.unknown,
            ],
            "spent_at": self.spent_at.isoformat(),
            "outlook": forecast.to_plain(self.outlook),
            "season": self.season.plain(),
            "outlook_at": self.outlook_at.isoformat(),
            "whole_at": self.whole_at.isoformat(),
            "requests": None
            if self.requests is None
            else [self.requests.requests, self.requests.over, self.requests.highest_nano],
        }


def read(
    budget: Budget,
    now: datetime,
    *,
    renew_forecast: bool,
    fresh: bool = False,
    asked: Asked | None = None,
    in_tick: bool = False,
) -> Reading:
    """`renew_forecast`: once it is 5 minutes old. `fresh`: what is spent is asked anew in any case.

    `in_tick`: there is no time for four weeks of a whole environment; `watching` reads those.
    """
    rule, asked = budget.rule, asked or Asked()
    period = periods.period_at(rule.period, now, rule.zone)
    anchor = rule.period if periods.is_rolling(rule.period) else period.since.isoformat()
    kept = budget.kept if "whole_at" in budget.kept else None
    is_same = kept is not None and kept["anchor"] == anchor
    stays = SPENT_STAYS.get(rule.period, timedelta(0))
    requests = None
    if kept and is_same and not fresh and now - (spent_at := datetime.fromisoformat(kept["spent_at"])) < stays:
        found = Spent(*kept["spent"])
        requests = Requests(*kept["requests"]) if kept["requests"] else None
    elif rule.period == periods.REQUEST:
        found, requests, spent_at = Spent(), requests_of(rule, period), now
    else:
        found, spent_at = asked.spent(rule, period.since, period.until), now
    whole_at = datetime.fromisoformat(kept["whole_at"]) if kept else EPOCH
    if kept and is_same:
        outlook_at = datetime.fromisoformat(kept["outlook_at"])
        if not renew_forecast or now - outlook_at < FORECAST_STAYS:
            outlook, seasonal = forecast.from_plain(kept["outlook"]), Season.from_plain(kept["season"])
            return Reading(period, anchor, found, spent_at, outlook, seasonal, outlook_at, whole_at, requests=requests)
    if periods.kind_of(rule.period) in ("hour", "request"):
        why = f"A budget of {periods.A[periods.kind_of(rule.period)]} has no forecast."
        none: Forecast | NotYet = NotYet(0.0, 0, why=why)
        return Reading(period, anchor, found, spent_at, none, Season(), now, now, requests=requests)
    if in_tick and (not renew_forecast or ("route" not in rule.scope and now - whole_at >= WHOLE_STAYS)):
        made = forecast.from_plain(kept["outlook"]) if kept and is_same else NotYet(0.0, 0, why=BEING_MADE)
        seasonal = Season.from_plain(kept["season"]) if kept else Season()
        return Reading(period, anchor, found, spent_at, made, seasonal, EPOCH, whole_at, requests=requests)
    hours, whole_at = read_hours(rule, kept_hours(budget.hours), whole_at, now, asked)
    outlook, seasonal = look_ahead(rule, period, found, hours, now)
    return Reading(period, anchor, found, spent_at, outlook, seasonal, now, whole_at, hours, requests)


def is_due(budget: Budget, now: datetime) -> bool:
    """Whether all its four weeks are to be read."""
    if periods.kind_of(budget.period) in ("hour", "request"):
        return False
    whole_at = budget.kept.get("whole_at")
    return whole_at is None or now - datetime.fromisoformat(whole_at) >= WHOLE_STAYS


def kept_hours(rows: Iterable[Sequence[int]]) -> Hours:
    return {datetime.fromtimestamp(at, UTC): (nano, calls) for at, nano, calls in rows}


def read_hours(
    rule: money.Rule, known: Hours, whole_at: datetime, now: datetime, asked: Asked
) -> tuple[Hours, datetime]:
    """Four weeks of hours. Only of the last two days are they asked again, since calls may come that late; all of them
    once a day, since prices of any time may be set right."""
    since = periods.whole_days_before(now, forecast.HISTORY_DAYS, rule.zone).astimezone(UTC)
    is_whole = now - whole_at < WHOLE_STAYS
    begin = max(since, hour_of(now - CALLS_COME)) if is_whole else since
    hours = {at: sums for at, sums in known.items() if since <= at < begin}
    return hours | asked.hours(rule, begin, now + AHEAD), whole_at if is_whole else now


def look_ahead(
    rule: money.Rule, period: Period, found: Spent, hours: Hours, now: datetime
) -> tuple[Forecast | NotYet, Season]:
    spends = {at: nano for at, (nano, _) in hours.items()}
    seasonal = season.season(spends, sum(calls for _, calls in hours.values()), now, rule.zone)
    rolls = periods.is_rolling(rule.period)
    outlook = forecast.forecast(
        seasonal,
        spent_nano=found.nano,
        limit_nano=rule.limit_nano,
        until=now + periods.ROLLING[rule.period] if rolls else period.until,
        now=now,
        zone=rule.zone,
        leaving=spends if rolls else None,
    )
    return outlook, seasonal


def verdict_of(
    budget: Budget, reading: Reading, now: datetime, asked: Asked | None = None, *, reserved_nano: int | None = None
) -> MoneyVerdict:
    """`reserved_nano`: by open holds, where it is a hard cap."""
    rule = budget.rule
    return money.judge(
        rule,
        period=reading.period,
        spent=reading.spent,
        outlook=reading.outlook,
        burn_spend=_burn_spend(rule, now, asked or Asked()),
        now=now,
        season=reading.season,
        requests=reading.requests,
        before=budget.crossed_in_period(reading.period.since),
        reserved_nano=reserved_nano,
    )


def with_routes(verdict: MoneyVerdict, rule: money.Rule, now: datetime) -> MoneyVerdict:
    """Where an act is asked for: on which routes it could help."""
    return replace(verdict, by_route=by_route(rule, now)) if verdict.asks else verdict


def _burn_spend(rule: money.Rule, now: datetime, asked: Asked) -> Callable[[timedelta], Spent]:
    known: dict[timedelta, Spent] = {}

    def of(window: timedelta) -> Spent:
        if window not in known:
            known[window] = asked.spent(rule, now - window, now + AHEAD)
        return known[window]

    return of


def covers(scope: Mapping[str, str], facts: Mapping[str, str]) -> bool:
    """Whether a call of which these facts are known counts in a budget of that scope."""
    named = dict(facts)
    named["provider"], named["model"] = normalised(facts.get("provider"), facts.get("model", ""))
    for name, value in scope.items():
        if name == "environment":
            continue
        if name == "model":
            provider, model = normalised(scope.get("provider"), value)
            if model != named["model"] or (provider and provider != named["provider"]):
                return False
        elif name == "provider":
            if normalised(value, "")[0] != named["provider"]:
                return False
        elif named.get(name, "live" if name == "arm" else "") != value:
            return False
    return True
