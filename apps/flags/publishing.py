"""One publish for every change that alters bytes: the next version, the whole document, and why it came to be.

Whoever publishes locks the environment's row first, so versions are ordered and readers never step back. All happens
in the transaction of the change itself.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import structlog
from django.db import transaction

from apps.access import services as access
from apps.access.models import Environment
from apps.core import bell, metrics, spans
from apps.core.actors import Actor
from apps.core.refusals import Invalid, NotFound, Stale
from apps.flags import requiring
from apps.flags.domain import definition, differences
from apps.flags.domain.unfit import Unfit
from apps.flags.models import Flag, FlagVersion, Snapshot, Split
from apps.flags.refusals import ChangeRequestNeeded, FlagIsArchived
from apps.journal import services as journal

log = structlog.get_logger()
LARGE_BYTES = 3_500_000  # gRPC clients take 4 MiB, and say nothing when it is more


@dataclass(frozen=True, slots=True)
class Published:
    version: int
    at: datetime


@dataclass(slots=True, kw_only=True)
class Change:
    """A change of one environment's flags, under its lock. Ends with `publish`."""

    environment: Environment
    version: int
    by: Actor
    because: str
    now: datetime
    changed: list[Flag] = field(default_factory=list)
    derived: list[Flag] = field(default_factory=list)  # flags that require a changed one
    gone: list[str] = field(default_factory=list)  # keys that are no longer served
    also: dict[str, str] = field(default_factory=dict)  # what else the journal's entry is about
    approved: bool = False  # an approved change request, or an act of safety: no four eyes are asked for again
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)

    def must_be_approved(self) -> None:
        """What people change in a protected environment goes through a change request."""
        if self.environment.is_protected and not self.approved:
            raise ChangeRequestNeeded(environment=self.environment.key)

    def flag(self, key: str, *, archived: bool = False) -> Flag:
        """The flag's row, locked: after the environment's, as everywhere."""
        rows = Flag.objects.select_for_update(of=("self",)).with_route().of(self.environment.key)
        flag = rows.named(key).first()
        if flag is None:
            raise NotFound(what="flag", key=key)
        if flag.archived_at is not None and not archived:
            raise FlagIsArchived(key=key)
        return flag

    def route(self, key: str) -> Flag:
        flag = self.flag(key)
        if flag.route_or_none is None:
            raise NotFound(what="route", key=key)
        return flag

    def set(self, flag: Flag, **fields: Any) -> None:
        """Changes these fields; the journal will tell what they were. The route's own fields go to its row."""
        route = flag.route_or_none
        own = {field.name for field in flag._meta.concrete_fields}
        for name, value in fields.items():
            was = getattr(flag if name in own else route, name)
            if was != value:
                told = "weights" if name == "segments" else name
                self.before[told] = flag.weights if name == "segments" else plain(was)
                self.after[told] = plain(value)
        if route and (rest := {name: value for name, value in fields.items() if name not in own}):
            route.change(**rest)
        mine = {name: value for name, value in fields.items() if name in own}
        flag.change(by=str(self.by), at=self.now, version=self.version, **mine)
        if "weights" in self.after:
            self.after["weights"] = flag.weights
        self.add(flag, links=bool({"prerequisites", "rules"} & set(fields)))

    def add(self, flag: Flag, *, links: bool = True) -> None:
        if links:
            requiring.link(flag)
        self.changed.append(flag)

    def publish(self, kind: str, *, urgent: bool = False, about: dict[str, str] | None = None) -> Published:
        write_snapshot(self, kind, urgent=urgent)
        if about is not None:
            return self.record(kind, about)
        (flag,) = self.changed
        about = {"flag": flag.key}
        if flag.route_or_none:
            about["route"] = flag.key
        if flag.trial:
            about["rollout"] = flag.trial
        return self.record(kind, about)

    def record(self, kind: str, about: dict[str, str]) -> Published:
        journal.record(
            kind,
            environment=self.environment.key,
            by=self.by,
            because=self.because,
            about=about | self.also,
            now=self.now,
            before=self.before or None,
            after=self.after or None,
            version=self.version,
        )
        return Published(self.version, self.now)


def lock(environment: str) -> Environment:
    return access.lock_environment(environment)


def plain(value: Any) -> Any:
    """As the journal keeps it."""
    return value.isoformat() if isinstance(value, date) else value


def begin(environment: str, *, by: Actor, because: str, now: datetime, approved: bool = False) -> Change:
    """Locks the environment. Call it first in the transaction; the version is taken when it is published."""
    row = access.lock_environment(environment)
    version = row.snapshot_version + 1
    return Change(environment=row, version=version, by=by, because=because, now=now, approved=approved)


@spans.traced("publish")
def write_snapshot(change: Change, kind: str, *, urgent: bool = False) -> Snapshot:
    """Compiles the document from the flags' stored fragments: only what changed was encoded anew."""
    key = change.environment.key
    with fit():
        change.derived = requiring.follow(change.changed, environment=key, version=change.version)
    change.environment.next_version()
    write_versions(change, kind)
    fragments = Flag.objects.of(key).served().values_list("key", "fragment")
    body = definition.document(fragments, environment=key, version=change.version)
    if len(body) > LARGE_BYTES:
        log.warning("snapshot.large", environment=key, version=change.version, bytes=len(body))
    snapshot = Snapshot.objects.create(
        environment=change.environment,
        version=change.version,
        body=zlib.compress(body, 3),
        digest=definition.digest(body),
        changed_keys=sorted({flag.key for flag in [*change.changed, *change.derived]} | set(change.gone)),
        urgent=urgent,
        published_at=change.now,
    )
    Split.objects.bulk_create(
        Split(
            environment=change.environment,
            flag=flag.key,
            since_version=change.version,
            trial=flag.trial,
            kind=definition.assignment(flag.parts),
            default_variant=flag.default_variant,
            segments=flag.segments,
            published_at=change.now,
        )
        for flag in [*change.changed, *change.derived]
        if flag.route_or_none
    )
    bell.ring()
    spans.note(environment=key, version=change.version, flags=len(change.changed), bytes=len(body))
    transaction.on_commit(metrics.published.labels(key).inc)
    return snapshot


def write_versions(change: Change, kind: str) -> None:
    """What each changed flag is from now on, whole: to be shown, compared and reverted to."""
    FlagVersion.objects.bulk_create(
        [
            FlagVersion(
                environment=change.environment,
                flag=flag,
                key=flag.key,
                revision=flag.revision,
                version=change.version,
                kind=kind,
                fields=flag.fields,
                by=str(change.by),
                because=change.because[:500],
                at=change.now,
            )
            for flag in change.changed
        ],
        batch_size=500,
    )


@contextmanager
def fit() -> Iterator[None]:
    """What the deciding code calls unfit is a 400 that names the field."""
    try:
        yield
    except Unfit as unfit:
        raise Invalid(str(unfit), **{unfit.field: str(unfit)}) from unfit


def must_be_current(flag: Flag, expected: int | None) -> None:
    """Refuses a write on an old revision, with who changed the flag since, when, and the field diff."""
    if expected is None or expected == flag.revision:
        return
    seen = FlagVersion.objects.of(flag).filter(revision=expected).first()
    changes = differences.between(seen.fields, flag.fields) if seen else {}
    raise Stale(by=flag.changed_by, at=flag.changed_at.isoformat(), changes=changes)
