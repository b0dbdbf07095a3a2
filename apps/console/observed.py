"""What the pages about telemetry and about the protection itself ask. A query never changes anything."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Max, Sum

from apps.alerts import watching
from apps.alerts.models import Watch
from apps.budgets.models import TrialState
from apps.flags import queries as flags
from apps.rollouts.models import Rollout, Shard
from apps.telemetry import queries as telemetry
from apps.telemetry.models import Freshness, Heard, SuspectedShadow, Window
from apps.telemetry.queries import SourceView, SpendRow, UnassignedView

DAY = timedelta(days=1)
AHEAD = timedelta(minutes=1)
MONEY_BACK = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Arrival:
    """How the calls of one route came in the last day: too late for their window, or too coarse for percentiles.
    Calls under a name that no route has stand with those that found none (`strays`)."""

    route: str
    calls: int
    late: int
    coarse: int
    newest_at: datetime | None


@dataclass(frozen=True, slots=True)
class Stray:
    """Calls that name no route that is there, with their money of the last 30 days."""

    view: UnassignedView
    spent: SpendRow | None
    likely: str  # the route that it looks like


def arrivals(environment: str, now: datetime) -> list[Arrival]:
    known = [view.key for view in flags.routes(environment)]
    rows = Window.objects.filter(environment=environment, route__in=known, starts_at__gte=now - DAY).order_by("route")
    fresh = dict(Freshness.objects.filter(environment=environment).values_list("route", "newest_at"))
    sums = rows.values_list("route").annotate(Sum("calls"), Sum("late"), Sum("coarse"))
    return [Arrival(route, calls, late, coarse, fresh.get(route)) for route, calls, late, coarse in sums]


def sources(environment: str, now: datetime) -> list[SourceView]:
    return telemetry.sources(environment, now - DAY, now)


def last_heard(environment: str) -> dict[str, datetime]:
    """By service: the newest hour in which something came."""
    rows = Heard.objects.filter(environment=environment, n__gt=0).order_by().values_list("service")
    return {service: newest for service, newest in rows.annotate(Max("hour"))}


def strays(environment: str, now: datetime) -> list[Stray]:
    rows = telemetry.unassigned(environment)
    if not rows:
        return []
    names = [row.name for row in rows]
    spent = telemetry.spend(environment, now - MONEY_BACK, now + AHEAD, by=("route",), where={"route": names})
    money = {row.keys["route"]: row for row in spent}
    routes = [view.key for view in flags.routes(environment)]
    return [Stray(row, money.get(row.name), likely(row, routes)) for row in rows]


def likely(row: UnassignedView, routes: list[str]) -> str:
    """A route whose words the service shares; else none, and a person chooses."""
    words = set((row.service or row.name).lower().replace("_", "-").split("-"))
    best = max(routes, key=lambda route: len(words & set(route.split("-"))), default="")
    return best if words & set(best.split("-")) else ""


def suspected(environment: str, most: int = 50) -> list[SuspectedShadow]:
    return telemetry.suspected_shadows(environment)[:most]


# --- the protection itself ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ShardView:
    number: int
    last_tick_at: datetime | None


@dataclass(frozen=True, slots=True)
class Lag:
    """One route under a live rollout: when its evidence was last looked at, and how old its data is."""

    route: str
    rollout: str
    state: str
    looked_at: datetime | None
    data_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeadMan:
    is_set: bool
    called_at: datetime | None
    is_well: bool
    answer: str


def shards() -> list[ShardView]:
    return [ShardView(row.pk, row.last_tick_at) for row in Shard.objects.order_by("pk")]


def lags(environment: str) -> list[Lag]:
    rows = list(Rollout.objects.live().filter(environment=environment).order_by("route"))
    looked = dict(TrialState.objects.filter(trial__in=[row.id for row in rows]).values_list("trial", "looked_at"))
    fresh = dict(Freshness.objects.filter(environment=environment).values_list("route", "newest_at"))
    return [Lag(row.route, row.id, row.state, looked.get(row.id), fresh.get(row.route)) for row in rows]


def dead_man() -> DeadMan:
    row = Watch.objects.filter(name=watching.DEAD_MAN).first()
    return DeadMan(
        bool(settings.DEAD_MAN_URL),
        row.called_at if row else None,
        row.is_well if row else True,
        row.answer if row else "",
    )


def message_queue(environment: str, now: datetime) -> timedelta:
    """For how long the oldest message to those on call has been due."""
    return watching.queue_age(now, environment)
