"""What the pages of money ask: rates of burning, who spent it on what, and what comes if the plan goes on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from apps.budgets import ledger
from apps.budgets import queries as budgets
from apps.budgets.domain import periods
from apps.budgets.domain.season import Season
from apps.budgets.models import Budget
from apps.budgets.queries import BudgetStatus, BurnUp
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


def rate(row: Budget, now: datetime, window: timedelta) -> Rate:
    """Against the same seasonal pace that burn thresholds use."""
    rule = row.rule
    spent = ledger.spent(rule, now - window, now + AHEAD)
    length = periods.period_at(rule.period, now, rule.zone).seconds
    if rule.period == periods.REQUEST or window.total_seconds() > length:
        return Rate(spent.nano, None)
    season = Season.from_plain(row.kept["season"]) if row.kept.get("season") else Season()
    allowed = rule.limit_nano * season.share(window, length, now, rule.zone)
    return Rate(spent.nano, spent.nano / allowed if allowed else None)


def money(status: BudgetStatus, now: datetime) -> Money:
    row, verdict = status.budget, status.verdict
    rule, where = row.rule, ledger.where(row.rule)
    since, until = verdict.period_from, min(verdict.period_to, now + AHEAD)
    parts = telemetry.spend(rule.environment, since, until, by=("route", "variant", "provider", "model"), where=where)
    billed = []
    if set(where) <= BILLED_BY:
        rows = telemetry.spend(rule.environment, since, until, by=("provider", "model"), where=where)
        billed = [one for one in rows if one.reported_nano is not None]
    up = budgets.burn_up(row, now)
    found = Money(status=status, up=up, hour=rate(row, now, HOUR), day=rate(row, now, DAY), parts=parts, billed=billed)
    key = rule.scope.get("route", "")
    view = flags.routes(rule.environment, [key]) if key else []
    if not view:
        return replace(found, futures=futures(status, up, now, None, []))
    _, costs = rollouts.way_back(rule.environment, key, now)
    live = Rollout.objects.live().filter(environment=rule.environment, route=key).first()
    only_route = set(rule.scope) == {"route"}
    return replace(
        found,
        route=view[0],
        rollout=live,
        costs=costs,
        futures=futures(status, up, now, live if only_route else None, costs),
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
