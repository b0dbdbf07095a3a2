"""How good the figures of a route are: from where they come, and how much of what was counted they cover.

Money and errors are of every call. Percentiles, and all that is told of requests, are only of calls whose source says
finely enough how long they took: spans, native calls, rows of the webhook, exponential cells.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet, Sum

from apps.telemetry.domain.pricing import Rule
from apps.telemetry.models import Mapping, MetricBooking, RequestSum, Source, Window
from apps.telemetry.queries.money import spend
from apps.telemetry.queries.seen import SourceView, sources
from apps.telemetry.queries.steps import floor

AT_ONCE = 500  # routes of one statement
NATIVE, METRIC = "native", "metric"


@dataclass(frozen=True, slots=True)
class Coverage:
    calls: int = 0
    assigned: int = 0  # of them to a variant
    coarse: int = 0  # nobody told finely enough how long they took
    late: int = 0
    requests: int = 0
    sources: tuple[str, ...] = ()  # native, webhook, span, log, metric; empty: it cannot be told
    sampled: int = 0  # calls of the same services in traces of which the sender keeps a part
    resolution_seconds: int | None = None  # no figure is finer in time

    @property
    def covered(self) -> float | None:
        """The share of calls that stand in percentiles."""
        return 1 - self.coarse / self.calls if self.calls else None

    @property
    def is_too_coarse(self) -> bool:
        """More than one call in a hundred stands in no cell."""
        return self.coarse * 100 > self.calls

    @property
    def tells_requests(self) -> bool:
        return self.requests > 0 or not self.calls


NOTHING = Coverage()


def coverages(environment: str, routes: Collection[str], since: datetime, until: datetime) -> dict[str, Coverage]:
    """Counts by route; without those of which nothing came."""
    found: dict[str, Coverage] = {}
    for windows, requests in _of(environment, routes, since, until):
        assigned = Sum("calls", filter=~Q(variant=""), default=0)
        rows = windows.values("route").annotate(Sum("calls"), Sum("coarse"), Sum("late"), assigned=assigned)
        names = ("route", "calls__sum", "assigned", "coarse__sum", "late__sum")
        for route, calls, of_variants, coarse, late in rows.order_by("route").values_list(*names):
            found[route] = Coverage(int(calls), int(of_variants), int(coarse), int(late))
        for route, n in requests.values_list("route").annotate(Sum("requests")).order_by("route"):
            found[route] = replace(found.get(route, NOTHING), requests=int(n))
    return found


def coverage(environment: str, route: str, since: datetime, until: datetime) -> Coverage:
    """Of one route, with its sources."""
    counted = coverages(environment, [route], since, until).get(route, NOTHING)
    if not counted.calls:
        return counted
    by_rule = spend(environment, since, until, by=("rule",), where={"route": route})
    metered = sum(row.calls for row in by_rule if row.keys["rule"] == Rule.METRIC)
    services, kinds = _told_by(environment, route, since, until)
    if metered < counted.calls and not kinds and not _are_unnamed(environment, since, until):
        kinds.add(NATIVE)
    if metered > 0:
        kinds.add(METRIC)
        named = MetricBooking.objects.filter(environment=environment, route=route, at__gte=since, at__lt=until)
        services |= set(named.values_list("service", flat=True))
    views = [view for view in sources(environment, since, until) if view.service in services]
    return replace(
        counted,
        sources=tuple(sorted(kinds)),
        sampled=sum(view.sampled for view in views),
        resolution_seconds=max([settings.WINDOW_SECONDS, *_intervals(views if metered > 0 else ())]),
    )


def coarse_routes(some: Iterable[tuple[str, str]], since: datetime, until: datetime) -> set[tuple[str, str]]:
    """Of these environments and routes, those whose calls come and hardly tell how long a request took."""
    by_environment: dict[str, list[str]] = {}
    for environment, route in some:
        by_environment.setdefault(environment, []).append(route)
    return {
        (environment, route)
        for environment, routes in by_environment.items()
        for route, one in coverages(environment, routes, since, until).items()
        if one.is_too_coarse or not one.tells_requests
    }


def _told_by(environment: str, route: str, since: datetime, until: datetime) -> tuple[set[str], set[str]]:
    """Services whose calls are of the route, and the kinds of source that tell of them: by name, or by a mapping."""
    mapped = set(Mapping.objects.filter(environment=environment, route=route).values_list("service", flat=True))
    heard = _heard(environment, since, until).filter(Q(route=route) | Q(route="", service__in=mapped))
    told = list(heard.values_list("service", "kind"))
    return mapped | {service for service, _ in told}, {kind for _, kind in told}


def _are_unnamed(environment: str, since: datetime, until: datetime) -> bool:
    """Whether calls came that do not name their route: which of them are of this one is not kept."""
    return _heard(environment, since, until).filter(route="").exists()


def _heard(environment: str, since: datetime, until: datetime) -> "QuerySet[Source]":
    return Source.objects.filter(environment=environment, last_at__gte=since, first_at__lt=until)


def _intervals(views: Iterable[SourceView]) -> list[int]:
    return [view.resolution_seconds for view in views if view.resolution_seconds]


def _of(
    environment: str, routes: Collection[str], since: datetime, until: datetime
) -> "list[tuple[QuerySet[Any], QuerySet[Any]]]":
    ordered, begin = sorted(routes), floor(since, settings.WINDOW_SECONDS)
    pieces = [ordered[place : place + AT_ONCE] for place in range(0, len(ordered), AT_ONCE)]
    within = {"environment": environment, "starts_at__gte": begin, "starts_at__lt": until}
    return [
        (Window.objects.filter(route__in=piece, **within), RequestSum.objects.filter(route__in=piece, **within))
        for piece in pieces
    ]
