"""What has been heard of, and when."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Max

from apps.telemetry.models import Freshness, Unassigned


def freshness(environment: str, route: str) -> datetime | None:
    """When something of this route was last committed."""
    newest = Freshness.objects.filter(environment=environment, route=route).values_list("newest_at", flat=True)
    return newest.first()


def as_of(environment: str) -> datetime | None:
    """When something of this environment was last committed."""
    newest = Freshness.objects.filter(environment=environment).aggregate(newest=Max("newest_at"))
    at: datetime | None = newest["newest"]
    return at


@dataclass(frozen=True, slots=True)
class UnassignedView:
    name: str
    calls: int
    first_at: datetime
    last_at: datetime
    service: str = ""  # of calls that name no route at all
    model: str = ""


def unassigned(environment: str, since: datetime | None = None) -> list[UnassignedView]:
    """Routes that calls name and nobody made, and services whose calls name none; the newest first."""
    rows = Unassigned.objects.of(environment).filter(calls__gt=0).order_by("-last_at", "name")
    if since is not None:
        rows = rows.filter(last_at__gte=since)
    return [UnassignedView(row.name, row.calls, row.first_at, row.last_at, row.service, row.model) for row in rows]
