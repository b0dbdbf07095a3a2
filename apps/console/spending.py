"""What the pages of money ask: rates of burning, who spent it on what, and what comes if the plan goes on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from apps.budgets import ledger
from apps.budgets import queries as budgets
from apps.budgets.domain import periods
from apps.budgets.domain.season import Season
from apps.budgets.models import Budget
from apps.budgets.queries import BudgetStatus, BurnUp
from apps.catalog import queries as catalog
from apps.console.months import Month
from apps.core.refusals import NotFound
from apps.flags import queries as flags
from apps.flags.queries import RouteView
from apps.rollouts import queries as rollouts
from apps.rollouts.domain import stages
from apps.rollouts.domain.plan import Cost
from apps.rollouts.models import Rollout
from apps.telemetry import queries as telemetry
from apps.telemetry.queries import SpendRow

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
AHEAD = timedelta(minutes=1)  # the minute that has just begun
RANK = {"exceeded": 0, "warning": 1, "within": 2}
BILLED_BY = {"provider", "model"}  # what a provider's bill can be split by

Path = list[tuple[datetime, int]]


@dataclass(frozen=True, slots=True)
class Rate:
    """Spend of the last hour or day, and how many times an even pace that is. None: longer than the whole period."""

    nano: int
    times: float | None


@dataclass(frozen=True, slots=True)
class Future:
    """One way on from now: where spend will be, and the range at the end."""

    name: str
    path: Path
    low_nano: int
    high_nano: int

    @property
    def end_nano(self) -> int:
        return self.path[-1][1]


@dataclass(frozen=True, slots=True)
class Step:
    """What the calls of one variant took from the old model's cost, or added to it."""

    variant: str
    is_shadow: bool
    calls: int
    nano: int


@dataclass(frozen=True, slots=True)
class Moved:
    """From what all live calls would have cost on the old model to what was spent."""

    baseline: str
    all_nano: int
    calls: int
    steps: list[Step]
    spent_nano: int
    is_listed: bool  # the old model's calls are priced by the list: it answered none


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """One budget with everything that its page is made of."""

    status: BudgetStatus
    up: BurnUp
    hour: Rate
    day: Rate
    parts: list[SpendRow]
    billed: list[SpendRow]
    route: RouteView | None = None
    rollout: Rollout | None = None
    costs: list[Cost] = field(default_factory=list)
    futures: list[Future] = field(default_factory=list)
    moved: Moved | None = None
    is_over: bool = False  # its period has ended

    @property
    def budget(self) -> Budget:
        return self.status.budget


def worst_first(rows: Sequence[BudgetStatus]) -> list[BudgetStatus]:
    """Exceeded, then what may be, then the fullest."""

    def place(row: BudgetStatus) -> tuple[int, float, float, str]:
        verdict = row.verdict
        ahead = verdict.forecast.nano / verdict.limit_nano if verdict.forecast else 0.0
        return RANK.get(verdict.state, 2), -max(verdict.fraction, min(ahead, 1.0)), -ahead, row.budget.id

    return sorted(rows, key=place)


def budget(environment: str, id: str) -> Budget:
    row = Budget.objects.of(environment).in_force().filter(pk=id).first()
    if row is None:
        raise NotFound(what="budget", key=id)
    return row


def of_month(environment: str, month: Month) -> list[BudgetStatus]:
    """How budgets by the calendar month came out in one that is over, against the limits of today."""
    rows = [row for row in budgets.budgets(environment) if row.period == "month" and row.is_sound]
    asked = budgets.shared(rows, month.ended_at(ZoneInfo("UTC")))
    return [budgets.status_at_end(row, month.ended_at(row.rule.zone), asked) for row in rows]


def rate(row: Budget, now: datetime, window: timedelta, asked: ledger.Asked | None = None) -> Rate:
    """Against the same seasonal pace that burn thresholds use."""
    rule = row.rule
    spent = (asked or ledger.Asked()).spent(rule, now - window, now + AHEAD)
    length = periods.period_at(rule.period, now, rule.zone).seconds
    if rule.period == periods.REQUEST or window.total_seconds() > length:
        return Rate(spent.nano, None)
    season = Season.from_plain(row.kept["season"]) if row.kept.get("season") else Season()
    allowed = rule.limit_nano * season.share(window, length, now, rule.zone)
    return Rate(spent.nano, spent.nano / allowed if allowed else None)


def money(status: BudgetStatus, now: datetime) -> Money:
    row = status.budget
    view = route_of(row)
    found = spent_so_far(status, view, now, hour=rate(row, now, HOUR), day=rate(row, now, DAY))
    if view is None:
        return replace(found, futures=futures(status, found.up, now, None, []))
    _, costs = rollouts.way_back(row.environment, view.key, now)
    live = Rollout.objects.live().filter(environment=row.environment, route=view.key).first()
    return replace(
        found,
        route=view,
        rollout=live,
        costs=costs,
        futures=futures(status, found.up, now, live if set(row.rule.scope) == {"route"} else None, costs),
    )


def past_money(status: BudgetStatus) -> Money:
    """Of a period that is over: nothing comes any more."""
    last = status.verdict.period_to - timedelta(seconds=1)
    nothing = Rate(0, None)
    found = spent_so_far(status, route_of(status.budget), last, hour=nothing, day=nothing)
    return replace(found, is_over=True)


def spent_so_far(status: BudgetStatus, view: RouteView | None, now: datetime, *, hour: Rate, day: Rate) -> Money:
    row, verdict = status.budget, status.verdict
    rule, where = row.rule, ledger.where(row.rule)
    since, until = verdict.period_from, min(verdict.period_to, now + AHEAD)
    parts = telemetry.spend(rule.environment, since, until, by=("route", "variant", "provider", "model"), where=where)
    billed = []
    if set(where) <= BILLED_BY:
        rows = telemetry.spend(rule.environment, since, until, by=("provider", "model"), where=where)
        billed = [one for one in rows if one.reported_nano is not None]
    up = budgets.burn_up(row, now)
    return Money(
        status=status, up=up, hour=hour, day=day, parts=parts, billed=billed, moved=moved(row, view, since, until)
    )


def route_of(row: Budget) -> RouteView | None:
    key = row.rule.scope.get("route", "")
    return next(iter(flags.routes(row.environment, [key])), None) if key else None


def moved(row: Budget, view: RouteView | None, since: datetime, until: datetime) -> Moved | None:
    """Of one whole route whose calls went to more than its old model. None: nothing moved, or nobody can price it."""
    if view is None or set(row.rule.scope) != {"route"}:
        return None
    begun = Rollout.objects.filter(environment=row.environment, route=view.key, started_at__lt=until)
    newest = begun.order_by("-started_at", "id").first()
    baseline = newest.baseline if newest else view.default_variant
    rows = telemetry.spend(row.environment, since, until, by=("variant", "arm"), where={"route": view.key})
    live = [one for one in rows if one.keys["arm"] != "shadow" and one.calls > one.unpriced]
    old = next((one for one in live if one.keys["variant"] == baseline), None)
    others = [one for one in live if one is not old]
    shadows = [one for one in rows if one.keys["arm"] == "shadow" and one.spent_nano]
    price = None if old else catalog.price_book().find(None, view.model(baseline), until)
    if not others or (old is None and (price is None or not any(one.input_tokens for one in others))):
        return None

    def on_the_old(one: SpendRow) -> int:
        if price is not None:
            inputs, cached, outputs = one.input_tokens, one.cached_input_tokens, one.output_tokens
            return price.cost_nano(inputs, cached, outputs, calls=one.calls, edge=0)
        assert old is not None
        return old.spent_nano * (one.calls - one.unpriced) // (old.calls - old.unpriced)

    steps = [Step(one.keys["variant"], False, one.calls, one.spent_nano - on_the_old(one)) for one in others]
    steps += [Step(one.keys["variant"], True, one.calls, one.spent_nano) for one in shadows]
    return Moved(
        baseline,
        all_nano=sum(on_the_old(one) for one in others) + (old.spent_nano if old else 0),
        calls=sum(one.calls for one in live),
        steps=steps,
        spent_nano=sum(one.spent_nano for one in [*live, *shadows]),
        is_listed=old is None,
    )


# --- what comes ---------------------------------------------------------------------------------------------------


def futures(
    status: BudgetStatus, up: BurnUp, now: datetime, live: Rollout | None, costs: Sequence[Cost]
) -> list[Future]:
    """The forecast; where a rollout runs both ways on from here, each priced by what an hour costs on its target."""
    outlook = status.verdict.forecast
    if outlook is None or not up.expected:
        return []
    spent = status.verdict.spent_nano
    gain = outlook.nano - spent
    low, high = ((end - spent) / gain if gain > 0 else 1.0 for end in (outlook.low_nano, outlook.high_nano))

    def future(name: str, factor: Callable[[datetime], float]) -> Future:
        path, total, before = [(now, spent)], float(spent), spent
        for at, nano in up.expected:
            total += max(nano - before, 0) * factor(at)
            before = nano
            path.append((at, round(total)))
        more = total - spent
        return Future(name, path, round(spent + more * low), round(spent + more * high))

    hourly = {row.target: row.nano_per_hour for row in costs}
    here, baseline, candidate = (hourly.get(target) for target in ("now", "baseline", "candidate"))
    if live is None or not here or baseline is None or candidate is None:
        return [future("Forecast", lambda at: 1.0)]
    planned = shares_to_come(live, now)

    def goes_on(at: datetime) -> float:
        share = next((part for begin, part in reversed(planned) if begin < at), live.share) / stages.WHOLE
        return (baseline * (1 - share) + candidate * share) / here

    back = baseline / here
    return [future("Plan goes on", goes_on), future("Rolled back now", lambda at: back)]


def shares_to_come(live: Rollout, now: datetime) -> list[tuple[datetime, int]]:
    """When each stage begins if nothing but its least time holds it up. A paused rollout stays where it is."""
    planned = [(now, live.share)]
    if live.state != Rollout.State.RUNNING or live.stage is None:
        return planned
    at = live.stage_began_at or now
    for before, stage in zip(live.plan[live.stage :], live.plan[live.stage + 1 :], strict=False):
        at = max(at + before.least_time, now)
        planned.append((at, stage.share))
    return planned
