"""What requests cost, and how many attempts they took, over many routes at once and without their histograms."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from django.conf import settings
from django.db.models import QuerySet, Sum

from apps.telemetry.domain.histogram import Histogram
from apps.telemetry.models import Freshness, RequestSum
from apps.telemetry.queries.money import REPRICED, spend
from apps.telemetry.queries.steps import floor
from apps.telemetry.queries.windows import SEEN_OF, Seen

AT_ONCE = 500  # routes of one statement
REQUEST_COLUMNS = {"route": "route", "variant": "assigned", "rollout": "trial", "arm": "arm"}


@dataclass(frozen=True, slots=True)
class VariantCost:
    """Live requests by the variant that was assigned."""

    route: str
    variant: str
    requests: int
    priced: int
    cost_nano: int


@dataclass(frozen=True, slots=True)
class Attempts:
    """How often providers were called for the requests of a route."""

    route: str
    requests: int  # of which all attempts are known
    attempts: int  # of these
    all_requests: int
    calls: int = 0  # of all arms: shadows too

    @property
    def per_request(self) -> float | None:
        """None: not visible from this source. Stock spans tell of a call, and not of the tries that it took."""
        return self.attempts / self.requests if self.requests else None

    @property
    def calls_per_request(self) -> float | None:
        return self.calls / self.all_requests if self.requests and self.calls else None


def fresh_routes(environment: str, since: datetime) -> list[str]:
    """Routes of which something was committed since then."""
    rows = Freshness.objects.filter(environment=environment, newest_at__gte=since)
    return list(rows.order_by("route").values_list("route", flat=True))


def costs_by_variant(
    environment: str, routes: Collection[str], since: datetime, until: datetime
) -> dict[str, list[VariantCost]]:
    """By route: what its requests cost on each variant, by today's prices where those were applied to that time."""
    found: dict[str, list[VariantCost]] = {}
    factors = _repriced(environment, routes, since, until)
    for rows in _of(environment, routes, since, until):
        sums = (
            rows.filter(arm="live")
            .values_list("route", "assigned")
            .annotate(Sum("requests"), Sum("unpriced"), Sum("cost_nano"))
            .order_by("route", "assigned")
        )
        for route, variant, requests, unpriced, nano in sums:
            nano = round(nano * factors.get((route, variant), 1))
            cost = VariantCost(route, variant, int(requests), int(requests - unpriced), nano)
            found.setdefault(route, []).append(cost)
    return found


def _repriced(
    environment: str, routes: Collection[str], since: datetime, until: datetime
) -> dict[tuple[str, str], Fraction]:
    """By route and variant: how many times as much a priced call costs as on arrival. More may be priced now."""
    by, where = ("route", "variant"), {"route": sorted(routes), "arm": "live"}
    added = spend(environment, since, until, by, {**where, "rule": REPRICED}) if routes else []
    if not added:
        return {}
    where["route"] = sorted({row.keys["route"] for row in added})
    rows = {(row.keys["route"], row.keys["variant"]): row for row in spend(environment, since, until, by, where)}
    factors = {}
    for row in added:
        whole = rows[key := (row.keys["route"], row.keys["variant"])]
        calls = whole.calls - whole.unpriced
        on_arrival = (whole.spent_nano - row.spent_nano) * calls
        if on_arrival:
            factors[key] = Fraction(whole.spent_nano * (calls + row.unpriced), on_arrival)
    return factors


def attempts(environment: str, since: datetime, until: datetime, route: str | None = None) -> list[Attempts]:
    """Attempts and requests of live traffic, by route; only where something came lately."""
    found: dict[str, Seen] = {}
    every: dict[str, int] = {}
    for rows in _of(environment, fresh_routes(environment, since) if route is None else [route], since, until):
        sums = rows.filter(arm="live").values_list("route").annotate(*(Sum(name) for name in SEEN_OF))
        for name, *counts in sums.order_by("route"):
            found.setdefault(name, Seen()).add(*map(int, counts))
            every[name] = every.get(name, 0) + int(counts[0])
    return [Attempts(name, seen.requests, seen.attempts, every[name]) for name, seen in found.items()]


def amplification(environment: str, since: datetime, until: datetime, route: str | None = None) -> list[Attempts]:
    """The same with all calls at providers, as the ledger has them."""
    where = {"route": route} if route is not None else None
    calls = {row.keys["route"]: row.calls for row in spend(environment, since, until, by=("route",), where=where)}
    return [replace(one, calls=calls.get(one.route, 0)) for one in attempts(environment, since, until, route)]


def costs_by_route(
    environment: str, routes: Collection[str], since: datetime, until: datetime
) -> dict[str, tuple[int, int]]:
    """By route: nano-USD and how many priced requests it was for, of live traffic. Without routes that tell of none."""
    found = {}
    for route, costs in costs_by_variant(environment, routes, since, until).items():
        if priced := sum(cost.priced for cost in costs):
            found[route] = (sum(cost.cost_nano for cost in costs), priced)
    return found


def same_hours(environment: str, at: datetime, days: int) -> dict[str, list[tuple[int, int]]]:
    """By route: nano-USD and priced calls of live traffic in the hour of the day of that moment, on the days before."""
    found: dict[str, list[tuple[int, int]]] = {}
    for since, until in _hours_before(at, days):
        for row in spend(environment, since, until, by=("route",), where={"arm": "live"}):
            found.setdefault(row.keys["route"], []).append((row.spent_nano, row.calls - row.unpriced))
    return found


def requests_in_same_hours(
    environment: str, routes: Collection[str], at: datetime, days: int
) -> dict[str, list[tuple[int, int]]]:
    """The same by priced requests. These are read one by one: ask for few routes."""
    found: dict[str, list[tuple[int, int]]] = {}
    for since, until in _hours_before(at, days) if routes else ():
        for route, cost in costs_by_route(environment, routes, since, until).items():
            found.setdefault(route, []).append(cost)
    return found


def _hours_before(at: datetime, days: int) -> list[tuple[datetime, datetime]]:
    hour = floor(at, 3600)
    begins = (hour - timedelta(days=day) for day in range(1, days + 1))
    return [(begin, begin + timedelta(hours=1)) for begin in begins]


def request_costs(environment: str, since: datetime, until: datetime, where: Mapping[str, str]) -> Histogram:
    """Cells of USD of all priced requests of that scope: route, variant, rollout, arm."""
    whole = Histogram()
    routes = [where["route"]] if "route" in where else fresh_routes(environment, since)
    named = {REQUEST_COLUMNS[name]: value for name, value in where.items()}
    for rows in _of(environment, routes, since, until):
        for packed in rows.filter(**named).values_list("cost", flat=True):
            whole.merge(Histogram.unpack(packed))
    return whole


def _of(environment: str, routes: Collection[str], since: datetime, until: datetime) -> "list[QuerySet[Any]]":
    """Some hundred routes at a time: the index begins with the route."""
    ordered, begin = sorted(routes), floor(since, settings.WINDOW_SECONDS)
    return [
        RequestSum.objects.filter(
            environment=environment,
            route__in=ordered[place : place + AT_ONCE],
            starts_at__gte=begin,
            starts_at__lt=until,
        )
        for place in range(0, len(ordered), AT_ONCE)
    ]
