"""Flags leave: archived, brought back, renamed, deleted. What was is kept: versions and journal outlive the flag."""

from datetime import datetime
from typing import Any

from django.db import transaction

from apps.core.actors import Actor
from apps.core.refusals import AlreadyThere
from apps.flags import editing, publishing, requiring
from apps.flags.domain import prerequisites, variants
from apps.flags.models import Flag
from apps.flags.publishing import Change, Published
from apps.flags.refusals import CannotBeRenamed, FlagIsRequired, NotArchived


@transaction.atomic
def archive_flag(
    *, environment: str, key: str, by: Actor, because: str, now: datetime, expected: int | None = None
) -> Published:
    """No longer served: callers use the default in their code. It can be brought back as it was."""
    change = publishing.begin(environment, by=by, because=because, now=now)
    return archive(change, key, expected=expected)


def archive(change: Change, key: str, *, expected: int | None = None) -> Published:
    flag = change.flag(key)
    publishing.must_be_current(flag, expected)
    change.must_be_approved()
    editing.must_be_free(flag, "")
    must_not_be_required(flag, "they would never hold again")
    change.set(flag, archived_at=change.now)
    return change.publish("route.archived" if flag.route_or_none else "flag.archived")


@transaction.atomic
def unarchive_flag(
    *, environment: str, key: str, by: Actor, because: str, now: datetime, expected: int | None = None
) -> Published:
    change = publishing.begin(environment, by=by, because=because, now=now)
    return unarchive(change, key, expected=expected)


def unarchive(change: Change, key: str, *, expected: int | None = None) -> Published:
    """Its audiences and the flags that it requires may have changed meanwhile: its rules are written anew."""
    flag = change.flag(key, archived=True)
    publishing.must_be_current(flag, expected)
    change.must_be_approved()
    if flag.archived_at is None:
        return Published(flag.since_version, flag.changed_at)
    is_route = flag.route_or_none is not None
    with publishing.fit():
        logic, rules = flag.targeting, flag.rules
        if rules:  # what an expert wrote, or was imported, stays as it is
            logic, rules = editing.rules_of(flag, {}, flag.variants, is_route=is_route)
        wanted = editing.prerequisites_of(flag, flag.prerequisites)
    change.set(flag, archived_at=None, targeting=logic, rules=rules, prerequisites=wanted)
    return change.publish("route.unarchived" if is_route else "flag.unarchived")


@transaction.atomic
def delete_flag(
    *, environment: str, key: str, by: Actor, because: str, now: datetime, expected: int | None = None
) -> None:
    """For good, once it is archived. Nothing that is served changes, so nothing is published."""
    change = publishing.begin(environment, by=by, because=because, now=now)
    flag = change.flag(key, archived=True)
    publishing.must_be_current(flag, expected)
    if flag.archived_at is None:
        raise NotArchived(key=key)
    about = {"flag": key, **({"route": key} if flag.route_or_none else {})}
    change.before, change.version = flag.fields, change.environment.snapshot_version
    kind = "route.deleted" if flag.route_or_none else "flag.deleted"
    flag.delete()
    change.record(kind, about)


@transaction.atomic
def rename_flag(
    *, environment: str, key: str, to: str, by: Actor, because: str, now: datetime, expected: int | None = None
) -> Published:
    """The salt stays, and so does every subject where it was; a rename that would move somebody is refused."""
    change = publishing.begin(environment, by=by, because=because, now=now)
    return rename(change, key, to, expected=expected)


def rename(change: Change, key: str, to: str, *, expected: int | None = None) -> Published:
    flag = change.flag(key)
    publishing.must_be_current(flag, expected)
    change.must_be_approved()
    editing.must_be_free(flag, "")
    with publishing.fit():
        variants.check_key(to)
    if Flag.objects.of(change.environment.key).filter(key=to).exists():
        raise AlreadyThere(what="flag", key=to)
    if flag.route_or_none:
        why = "calls, spend and rollouts are kept under it. Make a route with its salt instead"
        raise CannotBeRenamed(key=key, why=why)
    must_not_be_required(flag, "they name it")
    if flag.bucketing == Flag.Bucketing.V3 and hashes_its_key(flag):
        why = "v3 hashes it together with the subject, so that another name would move subjects between variants"
        raise CannotBeRenamed(key=key, why=why)
    fields: dict[str, Any] = {"key": to}
    if flag.rules:  # a split in its rules spells the salt out from now on
        flag.key = to
        with publishing.fit():
            logic, _ = editing.rules_of(flag, {}, flag.variants, is_route=False)
        flag.key = key
        fields["targeting"] = logic
    elif prerequisites.depends_on_key(flag.targeting):
        raise CannotBeRenamed(key=key, why="an expert's rule hashes it or reads it")
    change.gone.append(key)
    change.set(flag, **fields)
    return change.publish("flag.renamed")


def hashes_its_key(flag: Flag) -> bool:
    """Whether somebody's variant hangs on the flag's own key."""
    return flag.salt == flag.key and (flag.is_split or prerequisites.depends_on_key(flag.targeting))


def must_not_be_required(flag: Flag, why: str) -> None:
    others = requiring.requirers(flag)
    if others:
        raise FlagIsRequired(key=flag.key, others=", ".join(other.key for other in others), why=why)
