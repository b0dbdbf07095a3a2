"""What has been heard of, and when."""

from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Max

from apps.telemetry.models import Freshness, Heard, Mapping, SuspectedShadow, Unassigned
from apps.telemetry.queries.steps import floor


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


@dataclass(slots=True)
class SourceView:
    """What a service sent: calls by source, how they found their routes, what was refused, what was odd."""

    service: str
    calls: dict[str, int] = field(default_factory=dict)  # by webhook, span, log, metric
    covered: int = 0  # other spans of the same calls
    attributed: dict[str, int] = field(
        default_factory=dict
    )  # changeover, flag, tags, ancestor, log, mapped, unassigned
    rejected: dict[str, int] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    told_nano: int = 0  # what the sender says its calls cost: for comparison only

    @property
    def without_a_span(self) -> float | None:
        """The share of calls that only metrics tell of; None where there are no metrics to compare with."""
        metered, traced = self.calls.get("metric", 0), sum(n for kind, n in self.calls.items() if kind != "metric")
        return max(metered - (traced - self.covered), 0) / metered if metered and traced else None


def sources(environment: str, since: datetime, until: datetime) -> list[SourceView]:
    found: dict[str, SourceView] = {}
    rows = Heard.objects.filter(environment=environment, hour__gte=floor(since, 3600), hour__lte=until)
    for service, source, what, n in rows.order_by("service").values_list("service", "source", "what", "n"):
        view = found.setdefault(service, SourceView(service))
        kind, colon, name = what.partition(":")
        if what == "calls":
            view.calls[source] = view.calls.get(source, 0) + n
        elif what == "covered":
            view.covered += n
        elif what == "told_nano":
            view.told_nano += n
        elif colon and kind == "by":
            view.attributed[name] = view.attributed.get(name, 0) + n
        elif colon and kind == "rejected":
            view.rejected[name] = view.rejected.get(name, 0) + n
        else:
            view.notes[what] = view.notes.get(what, 0) + n
    return list(found.values())


def mappings(environment: str) -> list[Mapping]:
    return list(Mapping.objects.filter(environment=environment).order_by("-at", "id"))


def suspected_shadows(environment: str, *, answered: bool = False) -> list[SuspectedShadow]:
    """Calls of which nobody has said yet what they are; or those of which somebody has."""
    found = SuspectedShadow.objects.filter(environment=environment).order_by("-at", "id")
    return list(found.exclude(answer="") if answered else found.filter(answer=""))
