"""What others ask about rollouts. A query never changes anything."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Max, Min

from apps.core.refusals import NotFound
from apps.flags import queries as flags
from apps.flags.queries import RouteView
from apps.rollouts import costs
from apps.rollouts import names as naming
from apps.rollouts.domain import states
from apps.rollouts.domain.plan import Cost
from apps.rollouts.domain.stages import Stage
from apps.rollouts.domain.states import State
from apps.rollouts.models import Approval, Decision, DecisionQuerySet, PlanStep, RollbackPlan, Rollout, Shard
from apps.telemetry import queries as telemetry

PATIENCE_TICKS = 6


def rollout(id: str) -> Rollout:
    found = Rollout.objects.filter(pk=id).first()
    if found is None:
        raise NotFound(what="rollout", key=id)
    return found


def decision(id: str) -> Decision:
    """With its steps in order."""
    found = Decision.objects.select_related("rollout").prefetch_related("steps").filter(pk=id).first()
    if found is None:
        raise NotFound(what="decision", key=id)
    return found


def decisions(environment: str, route: str | None = None) -> DecisionQuerySet:
    found = Decision.objects.filter(environment=environment).newest_first()
    return found if route is None else found.filter(route=route)


def steps(decision: Decision) -> list[PlanStep]:
    return list(decision.steps.order_by("position"))


def last_tick_at() -> datetime | None:
    """When the shard that waits longest was last judged: the age of the protection."""
    oldest: datetime | None = Shard.objects.aggregate(oldest=Min("last_tick_at"))["oldest"]
    return oldest


def is_protected(now: datetime) -> bool:
    at = last_tick_at()
    return at is not None and now - at <= timedelta(seconds=max(PATIENCE_TICKS * settings.TICK_SECONDS, 30))


@dataclass(frozen=True, slots=True)
class StageView:
    stage: Stage
    index: int
    state: str  # done, present, to come
    samples: int = 0
    began_at: datetime | None = None
    may_end_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ProgressView:
    """One rollout as a page or an answer shows it."""

    rollout: Rollout
    stages: list[StageView]
    hold: Decision | None  # the reason why it stands where it stands
    asks: Approval | None
    next_at: datetime | None  # when time alone may move it


def progress(id: str) -> ProgressView:
    row = rollout(id)
    last = row.decisions.newest_first().first()
    views = [stage_view(row, stage, index) for index, stage in enumerate(row.plan)]
    present = next((view for view in views if view.state == "present"), None)
    return ProgressView(
        rollout=row,
        stages=views,
        hold=last if last is not None and last.is_hold else None,
        asks=row.approvals.filter(state=Approval.State.WAITING).first(),
        next_at=present.may_end_at if present and row.state == Rollout.State.RUNNING else None,
    )


def stage_view(row: Rollout, stage: Stage, index: int) -> StageView:
    here = -1 if row.stage is None else row.stage
    if index != here or not row.is_live:
        is_done = index < here or (index == here and row.state == Rollout.State.FINISHED)
        return StageView(stage, index, "done" if is_done else "to come")
    began_at = row.stage_began_at
    ends_at = began_at + stage.least_time if began_at else None
    return StageView(stage, index, "present", row.samples, began_at, ends_at)


@dataclass(frozen=True, slots=True)
class RouteState:
    """Where a route stands now."""

    route: RouteView
    state: State
    rollout: Rollout | None  # the newest that was started
    decision: Decision | None  # the newest
    names: Mapping[str, str]
    share: int
    shadow: int
    next_share: int | None


def board(environment: str, now: datetime) -> list[RouteState]:
    """Every route of an environment, worst first."""
    routes = flags.routes(environment)
    names = naming.names_in(routes)
    newest: dict[str, Rollout] = {}
    started = Rollout.objects.filter(environment=environment).exclude(started_at=None).order_by("started_at", "id")
    for row in started:
        newest[row.route] = row
    last = {row.route: row for row in newest_decisions(environment)}
    asking = set(
        Approval.objects.filter(state=Approval.State.WAITING, rollout__environment=environment).values_list(
            "rollout_id", flat=True
        )
    )
    protected = is_protected(now)
    rows = [
        state_of(
            route,
            newest.get(route.key),
            last.get(route.key),
            names[environment, route.key],
            asks=(one := newest.get(route.key)) is not None and one.pk in asking,
            protected=protected,
            now=now,
        )
        for route in routes
    ]
    return sorted(rows, key=lambda row: (row.state.rank, row.route.key))


def newest_decisions(environment: str) -> list[Decision]:
    """The newest of each route: ids sort by the moment they were made."""
    newest = Decision.objects.filter(environment=environment).order_by().values("route").annotate(newest=Max("pk"))
    return list(Decision.objects.filter(pk__in=[row["newest"] for row in newest]))


def state_of(
    route: RouteView,
    row: Rollout | None,
    last: Decision | None,
    names: Mapping[str, str],
    *,
    asks: bool,
    protected: bool,
    now: datetime,
) -> RouteState:
    following = row.progress().following if row is not None and row.is_live else None
    word = states.word(
        switch="off" if route.is_off else route.switch,
        rollout=row.state if row is not None else "",
        has_traffic=row is not None and (row.share > 0 or row.shadow > 0),
        is_protected=protected,
        hold=last.code if last is not None and last.is_hold else "",
        asks=asks,
        ended_at=row.ended_at if row is not None else None,
        now=now,
    )
    return RouteState(
        route=route,
        state=word,
        rollout=row,
        decision=last,
        names=names,
        share=row.share if row is not None and row.is_live else 0,
        shadow=row.shadow if row is not None and row.is_live else 0,
        next_share=(following.share or following.shadow) if following is not None else None,
    )


def route_state(environment: str, key: str, now: datetime) -> RouteState:
    route = flags.route(environment, key)
    row = Rollout.objects.filter(environment=environment, route=key).exclude(started_at=None)
    newest = row.order_by("-started_at", "-id").first()
    asks = newest is not None and newest.approvals.filter(state=Approval.State.WAITING).exists()
    last = decisions(environment, key).first()
    return state_of(route, newest, last, naming.names_of(route), asks=asks, protected=is_protected(now), now=now)


def way_back(
    environment: str, key: str, now: datetime, *, rollout: Rollout | None = None
) -> tuple[RollbackPlan | None, list[Cost]]:
    """The route's rollback plan, and what each target would cost by the hour now.

    `rollout`: whose baseline and candidate are meant, where it is not the live one.
    """
    route = flags.route(environment, key)
    one = rollout or Rollout.objects.live().filter(environment=environment, route=key).first()
    rows = costs.of_route(route, now, candidate=one.candidate if one else "", baseline=one.baseline if one else "")
    return RollbackPlan.objects.filter(environment=environment, route=key).first(), rows


@dataclass(frozen=True, slots=True)
class Measured:
    """One line of the before/after table: live requests of one variant."""

    variant: str
    requests: int
    errors: int
    p50_ms: float | None
    p95_ms: float | None
    cost_per_1k_nano: int | None
    estimated_nano: int
    handoffs: int | None  # None: nobody reports them
    handoffs_per_day: float | None


def before_after(
    environment: str, route: str, *, before: tuple[datetime, datetime], after: tuple[datetime, datetime]
) -> tuple[dict[str, Measured], dict[str, Measured]]:
    """What was measured in two spans of time, by the variant that the flag chose. Nothing is extrapolated but a day."""
    return measured(environment, route, *before), measured(environment, route, *after)


def measured(environment: str, route: str, since: datetime, until: datetime) -> dict[str, Measured]:
    days = max((until - since).total_seconds() / 86_400, 1e-9)
    handoffs: dict[str, int] = {}
    for told in telemetry.outcomes(environment, route, since, until):
        if told.name == "handoff" and told.arm == "live":
            handoffs[told.variant] = handoffs.get(told.variant, 0) + told.ones
    costs_of = telemetry.costs_by_variant(environment, [route], since, until).get(route, ())
    per_1k = {cost.variant: round(cost.cost_nano * 1000 / cost.priced) for cost in costs_of if cost.priced}
    found = {}
    for row in telemetry.requests(environment, route, since, until):
        if row.arm != "live" or not row.requests:
            continue
        p50, p95 = row.latency.quantile(0.5), row.latency.quantile(0.95)
        found[row.variant] = Measured(
            variant=row.variant,
            requests=row.requests,
            errors=row.errors,
            p50_ms=None if p50 is None else round(p50 * 1000, 1),
            p95_ms=None if p95 is None else round(p95 * 1000, 1),
            cost_per_1k_nano=per_1k.get(row.variant),
            estimated_nano=row.estimated_nano,
            handoffs=handoffs.get(row.variant),
            handoffs_per_day=handoffs[row.variant] / days if row.variant in handoffs else None,
        )
    return found
