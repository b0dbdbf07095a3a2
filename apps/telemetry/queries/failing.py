"""How many calls failed lately, over all routes at once."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Sum

from apps.telemetry.models import Window
from apps.telemetry.queries.costs import AT_ONCE, fresh_routes


@dataclass(frozen=True, slots=True)
class Failures:
    route: str
    variant: str
    calls: int
    errors: int


def failures(environment: str, since: datetime) -> list[Failures]:
    """Of the windows that began since then, live and shadow, by route and variant."""
    found = []
    routes = fresh_routes(environment, since)
    for first in range(0, len(routes), AT_ONCE):
        some = routes[first : first + AT_ONCE]
        rows = Window.objects.filter(environment=environment, route__in=some, starts_at__gte=since)
        sums = rows.values_list("route", "variant").annotate(Sum("calls"), Sum("errors")).order_by("route", "variant")
        found += [Failures(route, variant, int(calls), int(errors)) for route, variant, calls, errors in sums]
    return found
