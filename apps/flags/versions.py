"""What a flag was: each of its versions can be shown, compared with another, and reverted to.

A revert is a new version. It sets what a person once set, and never where traffic goes: weights, shadow, switches and
holds belong to rollouts and operators, as they stand now.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import models, transaction

from apps.core.actors import Actor
from apps.core.refusals import Invalid, NotFound
from apps.flags import editing, publishing
from apps.flags.domain import differences
from apps.flags.domain.differences import Difference
from apps.flags.models import Flag, FlagVersion
from apps.flags.publishing import Change, Published
from apps.flags.refusals import RevertWouldMove


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionView:
    revision: int
    version: int  # the snapshot that carried it first
    key: str  # as it was called then
    kind: str
    by: str
    because: str
    at: datetime
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    before: VersionView
    after: VersionView
    changes: Difference


def view(row: FlagVersion) -> VersionView:
    return VersionView(
        revision=row.revision,
        version=row.version,
        key=row.key,
        kind=row.kind,
        by=row.by,
        because=row.because,
        at=row.at,
        fields=row.fields,
    )


def rows(environment: str, key: str) -> "models.QuerySet[FlagVersion]":
    """Newest first. Those of a deleted flag are found by its last key."""
    flag = Flag.objects.of(environment).named(key).first()
    found = FlagVersion.objects.of(flag) if flag else FlagVersion.objects.of_deleted(environment, key)
    if flag is None and not found.exists():
        raise NotFound(what="flag", key=key)
    return found.newest_first()


def versions(environment: str, key: str) -> list[VersionView]:
    return [view(row) for row in rows(environment, key)]


def version(environment: str, key: str, revision: int) -> VersionView:
    row = rows(environment, key).filter(revision=revision).first()
    if row is None:
        raise NotFound(what=f"revision of {key}", key=revision)
    return view(row)


def compare(environment: str, key: str, before: int, after: int) -> Comparison:
    old, new = version(environment, key, before), version(environment, key, after)
    changes = differences.between(old.fields, new.fields)
    was, becomes = old.fields.get("targeting"), new.fields.get("targeting")
    if "rules" not in changes and not differences.same(was, becomes):  # an audience that the rules name has changed
        changes["targeting"] = {"was": was, "is": becomes}
    return Comparison(before=old, after=new, changes=changes)


@transaction.atomic
def revert(
    *,
    environment: str,
    key: str,
    revision: int,
    by: Actor,
    because: str,
    now: datetime,
    expected: int | None = None,
    only: Collection[str] | None = None,
) -> Published:
    """Sets the flag's own fields as they were at that revision; `only` these, if named."""
    change = publishing.begin(environment, by=by, because=because, now=now)
    flag = change.flag(key)
    fields = reverting(flag, revision, only)
    return apply(change, flag, fields, expected=expected)


def apply(change: Change, flag: Flag, fields: dict[str, Any], *, expected: int | None) -> Published:
    publishing.must_be_current(flag, expected)
    change.must_be_approved()
    editing.must_be_free(flag, "")
    if not fields:
        return Published(flag.since_version, flag.changed_at)
    editing.update(change, flag, fields, expected=expected)
    return change.publish("flag.reverted")


def fields_to_revert(environment: str, key: str, revision: int) -> dict[str, Any]:
    """For a change request: what a revert would set."""
    flag = Flag.objects.with_route().of(environment).named(key).first()
    if flag is None:
        raise NotFound(what="flag", key=key)
    return reverting(flag, revision)


def reverting(flag: Flag, revision: int, only: Collection[str] | None = None) -> dict[str, Any]:
    """The fields that a revert would set; refuses one that would carry traffic back against a rollout."""
    row = FlagVersion.objects.of(flag).filter(revision=revision).first()
    if row is None:
        raise NotFound(what=f"revision of {flag.key}", key=revision)
    fields = differences.to_revert(flag.fields, row.fields)
    if only is not None:
        if unknown := sorted(set(only) - set(editing.EDITABLE)):
            never = "It is never reverted." if unknown[0] in differences.NEVER_REVERTED else "There is no such field."
            raise Invalid(f"{unknown[0]}: {never}", fields=f"{unknown[0]}: {never}")
        fields = {name: value for name, value in fields.items() if name in only}
    if "default_variant" in fields and (holder := mover_since(flag, revision)):
        raise RevertWouldMove(key=flag.key, holder=holder, revision=revision, old=fields["default_variant"])
    return fields


def mover_since(flag: Flag, revision: int) -> str:
    """The rollout that held the flag at some moment since; empty if none did."""
    for row in FlagVersion.objects.of(flag).filter(revision__gt=revision).newest_first():
        if row.fields.get("held_by"):
            return str(row.fields["held_by"])
    return ""
