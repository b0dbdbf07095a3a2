"""What has been heard of, and when."""

from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Max, Sum

from apps.flags import queries as flags
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


@dataclass(frozen=True, slots=True)
class Rejection:
    """What was refused, and who must be told: `key` names the API key, since many senders say nothing themselves."""

    key: str
    source: str
    reason: str
    n: int


BEST_FIRST = {"webhook": "rows of the webhook", "span": "spans", "log": "log events", "metric": "metrics"}


@dataclass(slots=True)
class SourceView:
    """What a service sent: calls by source, how they found their routes, what was refused, what was odd."""

    service: str
    calls: dict[str, int] = field(default_factory=dict)  # by webhook, span, log, metric
    covered: int = 0  # other spans of the same calls
    attributed: dict[str, int] = field(
        default_factory=dict
    )  # changeover, flag, tags, ancestor, log, mapped, unassigned
    rejections: list[Rejection] = field(default_factory=list)
    scopes: dict[str, int] = field(default_factory=dict)  # instrumentations, by calls
    names: set[int] = field(default_factory=set)  # versions of our table of names by which these calls were read
    sampled: int = 0  # calls of traces of which the sender keeps a part
    with_attempts: int = 0  # calls that say the how-manieth attempt they are
    points: int = 0  # of metrics
    point_seconds: int = 0
    notes: dict[str, int] = field(default_factory=dict)
    told_nano: int = 0  # what the sender says its calls cost: for comparison only
    is_also_native: bool = False  # it reports through our client as well: such calls share no id, and count twice
    is_also_of_gateway: bool = False  # a gateway reports here: what both tell counts once if they share an id

    @property
    def rejected(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for one in self.rejections:
            found[one.reason] = found.get(one.reason, 0) + one.n
        return found

    @property
    def money_from(self) -> str | None:
        """The one source whose calls are booked; the others only serve to compare."""
        return next((kind for kind in BEST_FIRST if self.calls.get(kind, 0) > 0), None)

    @property
    def traced(self) -> int:
        return sum(n for kind, n in self.calls.items() if kind != "metric") - self.covered

    @property
    def without_a_span(self) -> float | None:
        """The share of calls that only metrics tell of; None where there are no metrics to compare with."""
        metered = self.calls.get("metric", 0)
        return max(metered - self.traced, 0) / metered if metered and self.traced else None

    @property
    def comparison(self) -> str | None:
        """`spans 412 calls, metrics 430: 4 % reach us without a span`"""
        if self.without_a_span is None or self.money_from is None:
            return None
        told = f"{BEST_FIRST[self.money_from]} {self.traced:,} calls, metrics {self.calls['metric']:,}"
        return f"{told}: {self.without_a_span * 100:.0f} % reach us without a span"

    @property
    def resolution_seconds(self) -> int | None:
        """The usual time between two points of its metrics: no window fed by them is finer."""
        return round(self.point_seconds / self.points) if self.points else None

    @property
    def are_attempts_visible(self) -> bool:
        """Stock instrumentations make one span of all retries: attempts per request cannot be told from them."""
        return self.with_attempts > 0 or self.calls.get("webhook", 0) > 0

    def take(self, source: str, what: str, key: str, n: int) -> None:
        kind, _, name = what.partition(":")
        if kind == "calls":
            self.calls[source] = self.calls.get(source, 0) + n
        elif kind == "by":
            self.attributed[name] = self.attributed.get(name, 0) + n
        elif kind == "rejected":
            self.rejections.append(Rejection(key, source, name, n))
        elif kind == "read":
            version, _, scope = name.partition(":")
            self.names.add(int(version))
            self.scopes[scope] = self.scopes.get(scope, 0) + n
        elif kind in ("covered", "sampled", "with_attempts", "points", "point_seconds", "told_nano"):
            setattr(self, kind, getattr(self, kind) + n)
        else:
            self.notes[what] = self.notes.get(what, 0) + n


def sources(environment: str, since: datetime, until: datetime) -> list[SourceView]:
    found: dict[str, SourceView] = {}
    rows = Heard.objects.filter(environment=environment, hour__gte=floor(since, 3600), hour__lte=until)
    sums = rows.values_list("service", "source", "what", "key").annotate(Sum("n"))
    for service, source, what, key, n in sums.order_by("service", "source", "what", "key"):
        if n:  # what was taken back is not there
            found.setdefault(service, SourceView(service)).take(source, what, key, n)
    has_gateway = any(view.money_from == "webhook" for view in found.values())
    native = {client.name for client in flags.clients(environment, since)}
    for view in found.values():
        view.is_also_native = view.service in native and view.money_from is not None
        view.is_also_of_gateway = has_gateway and view.money_from in ("span", "log")
    return list(found.values())


def mappings(environment: str) -> list[Mapping]:
    return list(Mapping.objects.filter(environment=environment).order_by("-at", "id"))


def suspected_shadows(environment: str, *, answered: bool = False) -> list[SuspectedShadow]:
    """Calls of which nobody has said yet what they are; or those of which somebody has."""
    found = SuspectedShadow.objects.filter(environment=environment).order_by("-at", "id")
    return list(found.exclude(answer="") if answered else found.filter(answer=""))
