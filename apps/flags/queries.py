"""What others ask about flags. A query never changes anything."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db.models import Max, Sum

from apps.catalog.models import Model, Tier
from apps.core.refusals import NotFound
from apps.flags.domain import conditions, definition, lint, rules, segments
from apps.flags.domain.segments import Segments
from apps.flags.models import Audience, ClientSeen, Exposure, Flag, RefusedClient, Snapshot, Split


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagView:
    environment: str
    key: str
    type: str
    description: str
    enabled: bool
    variants: dict[str, Any]
    default_variant: str
    targeting: dict[str, Any]
    rules: list[dict[str, Any]] | None  # null: the targeting is an expert's own
    prerequisites: list[dict[str, str]]
    segments: Segments
    weights: dict[str, int]
    metadata: dict[str, Any]
    owner: str
    expires_on: date | None
    is_permanent: bool
    bucketing: str
    salt: str
    switch: str
    held_by: str
    trial: str
    shadow: dict[str, Any] | None
    since_version: int
    revision: int
    changed_by: str
    changed_at: datetime
    created_at: datetime
    archived_at: datetime | None

    @property
    def conditions(self) -> list[str]:
        """Its rules, each in one line."""
        return list(rules.sentences(self.rules))

    @property
    def is_split(self) -> bool:
        return segments.divides(self.segments, self.default_variant)

    @property
    def on_fallback(self) -> bool:
        return self.switch == definition.FALLBACK

    @property
    def is_off(self) -> bool:
        return self.switch == definition.OFF or not self.enabled

    @property
    def warnings(self) -> list[str]:
        """What its rules do differently in other languages."""
        return lint.warnings(self.targeting, by_hand=self.rules is None)

    def share(self, variant: str) -> float:
        """In percent."""
        return self.weights.get(variant, 0) / 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteView(FlagView):
    task_type: str
    is_critical: bool
    fallback_variant: str
    bucketing_unit: str
    breaker: dict[str, Any] | None
    runbook: str

    def model(self, variant: str) -> str:
        """`provider/model-id` of a variant; empty if it is none."""
        return str(self.variants.get(variant, {}).get("model", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceView:
    environment: str
    key: str
    description: str
    conditions: dict[str, Any]
    words: str
    flags: list[str]
    revision: int
    changed_by: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class SplitView:
    flag: str
    since_version: int
    trial: str
    kind: str
    default_variant: str
    published_at: datetime


@dataclass(frozen=True, slots=True)
class SnapshotView:
    environment: str
    version: int
    body: bytes
    digest: str
    published_at: datetime | None


@dataclass(frozen=True, slots=True)
class ClientView:
    name: str
    sdk: str
    snapshot: int | None
    seen_at: datetime
    behind: int | None = None  # snapshots published since the one it has; None: it did not say
    door: str = ""  # flagd or sync, where it reads whole definitions; empty: it reports by itself
    has_since: datetime | None = None  # when it was first seen with that snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedView:
    """Somebody whom a flag door refuses: who, from where, why, how often."""

    environment: str  # empty: no key of ours told which
    door: str  # ofrep, flagd, changes, sync (gRPC)
    why: str  # no key, unknown key, revoked, expired, wrong scope
    key: str  # its name; of an unknown one how it begins
    address: str
    agent: str
    count: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class ExposureView:
    variant: str
    assigned_by: str
    snapshot: int
    count: int
    last_minute: datetime
    client: str = ""  # empty: evaluated by this server, or by a client without a name


def flag_view(flag: Flag) -> FlagView:
    return FlagView(**plain_facts(flag))


def route_view(flag: Flag) -> RouteView:
    route = flag.route
    return RouteView(
        **plain_facts(flag),
        task_type=route.task_type,
        is_critical=route.is_critical,
        fallback_variant=route.fallback_variant,
        bucketing_unit=route.bucketing_unit,
        breaker=route.breaker,
        runbook=route.runbook,
    )


def plain_facts(flag: Flag) -> dict[str, Any]:
    same = (
        "key", "type", "description", "enabled", "variants", "default_variant", "targeting", "rules", "prerequisites",
        "weights", "metadata", "owner", "expires_on", "is_permanent", "bucketing", "salt", "switch", "held_by", "trial",
        "shadow", "since_version", "revision", "changed_by", "changed_at", "created_at", "archived_at",
    )  # fmt: skip
    return {name: getattr(flag, name) for name in same} | {"environment": flag.environment_id, "segments": flag.split}


def flag(environment: str, key: str) -> FlagView:
    found = Flag.objects.with_route().of(environment).named(key).first()
    if found is None:
        raise NotFound(what="flag", key=key)
    return flag_view(found)


def route(environment: str, key: str) -> RouteView:
    found = Flag.objects.with_route().of(environment).named(key).exclude(route=None).first()
    if found is None:
        raise NotFound(what="route", key=key)
    return route_view(found)


def routes(environment: str | None = None, keys: Iterable[str] | None = None) -> list[RouteView]:
    """By key; without an environment those of all."""
    found = Flag.objects.with_route().served().exclude(route=None).order_by("environment_id", "key")
    if environment is not None:
        found = found.of(environment)
    if keys is not None:
        found = found.filter(key__in=list(keys))
    return [route_view(one) for one in found]


def audience_view(row: Audience) -> AudienceView:
    return AudienceView(
        environment=row.environment_id,
        key=row.key,
        description=row.description,
        conditions=row.conditions,
        words=conditions.words(conditions.parse_group(row.conditions)),
        flags=sorted(flag.key for flag in row.flags.all()),
        revision=row.revision,
        changed_by=row.changed_by,
        changed_at=row.changed_at,
    )


def audiences(environment: str) -> list[AudienceView]:
    """Newest first."""
    rows = Audience.objects.of(environment).prefetch_related("flags").order_by("-created_at", "-id")
    return [audience_view(row) for row in rows]


def audience(environment: str, key: str) -> AudienceView:
    found = Audience.objects.of(environment).named(key).first()
    if found is None:
        raise NotFound(what="audience", key=key)
    return audience_view(found)


def splits(environment: str) -> list[SplitView]:
    """Oldest first: the split of a call is the last one of its route that is not newer than the call's snapshot."""
    rows = Split.objects.filter(environment_id=environment).order_by("since_version", "flag")
    names = ("flag", "since_version", "trial", "kind", "default_variant", "published_at")
    return [SplitView(*row) for row in rows.values_list(*names)]


def snapshot(environment: str, version: int | None = None) -> SnapshotView:
    """A version, or the newest: an environment in which nothing was published has an empty one, version 0."""
    rows = Snapshot.objects.of(environment)
    row = rows.order_by("-version").first() if version is None else rows.filter(version=version).first()
    if row is not None:
        return SnapshotView(environment, row.version, row.document, row.digest, row.published_at)
    if version:
        raise NotFound(what="snapshot", key=version)
    body = definition.document((), environment=environment, version=0)
    return SnapshotView(environment, 0, body, definition.digest(body), None)


def newest_version(environment: str) -> tuple[int, str]:
    """Version and digest of the newest snapshot."""
    rows = Snapshot.objects.of(environment).order_by("-version").values_list("version", "digest")
    return rows.first() or (0, "")


def clients(environment: str, since: datetime | None = None, *, doors: bool = False) -> list[ClientView]:
    """Those that report; with `doors` also those that only read whole definitions, of whom nothing is heard else."""
    rows = ClientSeen.objects.filter(environment_id=environment).order_by("name", "sdk", "door")
    if since is not None:
        rows = rows.filter(seen_at__gte=since)
    if not doors:
        rows = rows.filter(door=ClientSeen.Door.NONE)
    newest, _ = newest_version(environment)
    return [
        ClientView(
            name=row.name,
            sdk=row.sdk,
            snapshot=row.snapshot,
            seen_at=row.seen_at,
            behind=None if row.snapshot is None else max(newest - row.snapshot, 0),
            door=row.door,
            has_since=row.has_since,
        )
        for row in rows
    ]


def refused_clients(environment: str, since: datetime | None = None) -> list[RefusedView]:
    """Those whose key is of this environment, and those whose key is nobody's; the latest first."""
    rows = RefusedClient.objects.filter(environment__in=(environment, "")).order_by("-last_at", "-id")
    if since is not None:
        rows = rows.filter(last_at__gte=since)
    names = ("environment", "door", "why", "key", "address", "agent", "count", "first_at", "last_at")
    return [RefusedView(**row) for row in rows.values(*names)]


def exposures(environment: str, flag: str, since: datetime | None = None) -> list[ExposureView]:
    """Counts by variant, assignment, snapshot and client."""
    rows = Exposure.objects.filter(environment_id=environment, flag=flag)
    if since is not None:
        rows = rows.filter(minute__gte=since)
    by = ("variant", "assigned_by", "snapshot", "client")
    summed = rows.values(*by).annotate(total=Sum("count"), last=Max("minute"))
    return [
        ExposureView(row["variant"], row["assigned_by"], row["snapshot"], row["total"], row["last"], row["client"])
        for row in summed.order_by("snapshot", "variant", "assigned_by", "client")
    ]


def previews(models: Iterable[str]) -> set[str]:
    """Those of the models that the catalogue calls a research preview."""
    return set(Model.objects.filter(key__in=list(models), tier=Tier.PREVIEW).values_list("key", flat=True))
