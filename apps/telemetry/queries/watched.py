"""For watchmen: whether calls ought to be coming, and what came and lies in no window yet."""

from datetime import datetime, timedelta

from django.db.models import Min

from apps.telemetry.models import GroupSums, Window
from apps.telemetry.queries.costs import fresh_routes

STEADY_MINUTES = 30  # of an hour
SOME_ROUTES = 50


def came_steadily(environment: str, until: datetime) -> bool:
    """Did calls end in half of the minutes of the hour before? Then it means something when nothing comes any more."""
    since = until - timedelta(hours=1)
    rows = Window.objects.filter(environment=environment, route__in=fresh_routes(environment, since)[:SOME_ROUTES])
    moments = rows.filter(starts_at__gt=since, starts_at__lte=until).order_by().values_list("starts_at", flat=True)
    return len({at.replace(second=0) for at in moments.distinct()}) >= STEADY_MINUTES


def gathered_since() -> datetime | None:
    """The oldest that is durable and in no window yet: its window does not close."""
    oldest: datetime | None = GroupSums.objects.aggregate(oldest=Min("at"))["oldest"]
    return oldest
