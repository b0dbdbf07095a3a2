"""What pages ask that no lower app answers alone. A query never changes anything."""

import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import redis
from django.db.models import Max, Q

from apps.alerts import queries as alerts
from apps.alerts.models import Alert
from apps.budgets import queries as budgets
from apps.budgets.domain.verdicts import Verdict
from apps.core import bell
from apps.flags.queries import RouteView
from apps.journal.models import Entry
from apps.rollouts import queries as rollouts
from apps.rollouts.domain import evidence as kept
from apps.rollouts.domain import latch as latching
from apps.rollouts.domain.states import QUIET, State
from apps.rollouts.models import Approval, Decision, Rollout
from apps.telemetry import queries as telemetry
from apps.telemetry.domain.histogram import Histogram
from apps.telemetry.models import Freshness, RequestSum
from apps.telemetry.queries.windows import SEEN_OF, Seen

QUEUE = "celery"


@dataclass(frozen=True, slots=True)
class Pulse:
    """Is the protection itself alive?"""

    evaluated_at: datetime | None  # of the shard that waits longest
    data_at: datetime | None
    queue: int | None  # None: the broker does not answer
    has_live: bool
    is_protected: bool


def pulse(environment: str, now: datetime) -> Pulse:
    data_at = Freshness.objects.filter(environment=environment).aggregate(newest=Max("newest_at"))["newest"]
    has_live = Rollout.objects.live().filter(environment=environment).exists()
    queue = None
    with contextlib.suppress(redis.RedisError, OSError):
        queue = int(bell.ringer().llen(QUEUE))
    return Pulse(rollouts.last_tick_at(), data_at, queue, has_live, rollouts.is_protected(now) or not has_live)


# --- what a route stands on ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Measured:
    """Live requests of one assigned variant in one step of time."""

    requests: int = 0
    errors: int = 0
    priced: int = 0
    cost_nano: int = 0
    latency: Histogram = field(default_factory=Histogram)
    seen: Seen = field(default_factory=Seen)  # how often they were tried

    def add(self, other: "Measured") -> None:
        self.requests += other.requests
        self.errors += other.errors
        self.priced += other.priced
        self.cost_nano += other.cost_nano
        self.latency.merge(other.latency)
        self.seen.requests += other.seen.requests
        self.seen.attempts += other.seen.attempts

    @property
    def p95(self) -> float | None:
        """In seconds, of answered requests; a failed one has no latency that a user would have seen."""
        return self.latency.quantile(0.95)

    @property
    def error_rate(self) -> float | None:
        return self.errors / self.requests if self.requests else None

    @property
    def nano_per_1k(self) -> float | None:
        return self.cost_nano / self.priced * 1000 if self.priced else None


Lately = dict[str, dict[str, dict[datetime, Measured]]]  # route, assigned variant, beginning of the step


def lately(environment: str, since: datetime, until: datetime, *, step: int = 60, route: str = "") -> Lately:
    """All routes of an environment in one pass: what the board's sparklines and figures are made of."""
    rows = RequestSum.objects.filter(environment=environment, arm="live", starts_at__gte=since, starts_at__lt=until)
    if route:
        rows = rows.filter(route=route)
    found: Lately = {}
    names = ("route", "assigned", "starts_at", "latency", "errors", "unpriced", "cost_nano", *SEEN_OF)
    for key, assigned, starts_at, latency, errors, unpriced, cost_nano, *counts in rows.order_by().values_list(*names):
        begin = datetime.fromtimestamp(starts_at.timestamp() // step * step, UTC)
        sums = found.setdefault(key, {}).setdefault(assigned, {}).setdefault(begin, Measured())
        seen = Seen()
        seen.add(*counts)
        priced = counts[0] - unpriced
        sums.add(Measured(counts[0], errors, priced, cost_nano, Histogram.unpack(latency), seen))
    return found


def total(steps: dict[datetime, Measured], since: datetime | None = None) -> Measured:
    out = Measured()
    for begin, one in steps.items():
        if since is None or begin >= since:
            out.add(one)
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One route with everything that its row and its page are made of."""

    route: RouteView
    state: State
    names: dict[str, str]
    rollout: Rollout | None  # the newest that was started
    decision: Decision | None  # the newest of any kind
    act: Decision | None  # the newest that was no hold
    alert: Alert | None
    approval: Approval | None
    verdicts: tuple[Verdict, ...]
    measured: dict[str, dict[datetime, Measured]]
    data_at: datetime | None
    untold: telemetry.Coverage | None = None  # where calls come and no requests: why figures stand empty

    @property
    def live(self) -> Rollout | None:
        return self.rollout if self.rollout is not None and self.rollout.is_live else None

    def name(self, variant: str) -> str:
        return self.names.get(variant, variant)


def standings(
    environment: str, now: datetime, *, key: str = "", since: datetime | None = None, step: int = 60
) -> list[Standing]:
    """Every route of the environment, worst first, or the one with that key."""
    known = [rollouts.route_state(environment, key, now)] if key else rollouts.board(environment, now)
    acts = newest_acts(environment, key)
    open_alerts = alerts_by_route(environment)
    moving = [one.rollout for one in known if one.rollout is not None]
    questions = {one.rollout_id: one for one in Approval.objects.filter(rollout__in=moving, state="waiting")}
    measured = lately(environment, since or now - timedelta(hours=1), now + timedelta(minutes=1), step=step, route=key)
    silent = [one.route.key for one in known if one.route.key not in measured]
    untold = telemetry.coverages(environment, silent, now - timedelta(hours=1), now + timedelta(minutes=1))
    fresh = dict(Freshness.objects.filter(environment=environment).values_list("route", "newest_at"))
    return [
        Standing(
            route=one.route,
            state=one.state,
            names=dict(one.names),
            rollout=one.rollout,
            decision=one.decision,
            act=acts.get(one.route.key),
            alert=open_alerts.get(one.route.key),
            approval=questions.get(one.rollout.id) if one.rollout else None,
            verdicts=verdicts_of(one.rollout, acts.get(one.route.key), now),
            measured=measured.get(one.route.key, {}),
            data_at=fresh.get(one.route.key),
            untold=untold.get(one.route.key),
        )
        for one in known
    ]


def standing(environment: str, key: str, now: datetime, *, since: datetime | None = None, step: int = 60) -> Standing:
    """Raises NotFound where there is no such route."""
    return standings(environment, now, key=key, since=since, step=step)[0]


def newest_acts(environment: str, key: str = "") -> dict[str, Decision]:
    """By route: the newest decision that was no hold. Ids sort by the moment they were made."""
    rows = Decision.objects.filter(environment=environment).exclude(kind="hold")
    rows = rows.filter(route=key) if key else rows
    newest = rows.order_by().values("route").annotate(newest=Max("id")).values_list("newest", flat=True)
    return {one.route: one for one in Decision.objects.filter(id__in=list(newest)).select_related("rollout")}


def alerts_by_route(environment: str) -> dict[str, Alert]:
    """The open alert of each route: one that fires before one that somebody has."""
    found: dict[str, Alert] = {}
    for alert in alerts.open_alerts(environment):
        if alert.route:
            found.setdefault(alert.route, alert)
    return found


def verdicts_of(rollout: Rollout | None, act: Decision | None, now: datetime) -> tuple[Verdict, ...]:
    """What the guardrails say now; after the rollout's end, what they said when it ended."""
    if rollout is None:
        return ()
    if rollout.is_live:
        return budgets.verdicts(rollout.environment, rollout.route, rollout.id, share=rollout.share, now=now)
    if act is not None and act.rollout_id == rollout.id:
        return tuple(kept.to_verdict(one) for one in act.evidence.get("verdicts", []))
    return ()


def budgets_by_route(rows: list[budgets.BudgetStatus]) -> dict[str, budgets.BudgetStatus]:
    """The budget that a route's row shows: the fullest of those that are about this route alone."""
    found: dict[str, budgets.BudgetStatus] = {}
    for row in rows:
        if set(row.budget.scope) == {"route"}:
            found.setdefault(row.budget.scope["route"], row)
    return found


def free_at(rollout: Rollout) -> datetime | None:
    """When a person may arm this candidate again; None where no machine has stopped it, or it is stopped for good."""
    ended = Rollout.objects.rolled_back_by_the_machine(rollout.environment, rollout.route, rollout.candidate_revision)
    found = latching.latch([at for at in ended.values_list("ended_at", flat=True) if at is not None])
    return None if found.is_final else found.free_at


def started_at(environment: str, route: str) -> datetime | None:
    """When the newest rollout of the route began."""
    started = Rollout.objects.filter(environment=environment, route=route).exclude(started_at=None)
    newest: datetime | None = started.aggregate(newest=Max("started_at"))["newest"]
    return newest


def worth_telling(environment: str, most: int) -> list[Decision]:
    """The newest acts, and the holds for which the plan's own time or samples are not the reason."""
    rows = rollouts.decisions(environment).exclude(kind="hold", code__in=QUIET)
    return list(rows[:most])


# --- around a decision --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Exposure:
    """What the candidate's requests cost since harm began, and what the same requests cost on the baseline."""

    since: datetime
    until: datetime
    requests: int
    confirmed_nano: int
    estimated_nano: int
    baseline_nano: int | None
    unpriced: int

    @property
    def spent_nano(self) -> int:
        return self.confirmed_nano + self.estimated_nano


def exposure(rollout: Rollout, since: datetime, until: datetime) -> Exposure | None:
    rows = telemetry.requests(rollout.environment, rollout.route, since, until)
    mine = next((row for row in rows if row.variant == rollout.candidate and row.arm == "live"), None)
    if mine is None or not mine.requests:
        return None
    other = next((row for row in rows if row.variant == rollout.baseline and row.arm == "live" and row.priced), None)
    same = round(other.cost_nano / other.priced * mine.priced) if other is not None else None
    return Exposure(
        since, until, mine.requests, mine.cost_nano - mine.estimated_nano, mine.estimated_nano, same, mine.unpriced
    )


def entries_before(decision: Decision, most: int = 8) -> list[Entry]:
    """What was changed in the hour before: of this route, and of the environment itself."""
    rows = Entry.objects.of_environment(decision.environment).filter(
        at__gte=decision.at - timedelta(hours=1), at__lt=decision.at
    )
    # A worker's flag change is told by the decision that made it.
    rows = rows.exclude(kind__startswith="flag.", by__startswith="worker:")
    mine = rows.filter(Q(about__route=decision.route) | Q(about__flag=decision.route) | Q(route=decision.route))
    of_all = rows.filter(kind__in=("price.changed", "prices.imported", "environment.changed"))
    return sorted((mine | of_all).distinct().newest_first()[:most], key=lambda entry: (entry.at, entry.id))


def alert_of(decision: Decision) -> Alert | None:
    """The newest alert that leads to this decision."""
    return Alert.objects.filter(environment=decision.environment, link=f"/d/{decision.id}").newest_first().first()
