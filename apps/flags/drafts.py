"""What a change request is about: the draft, the subject as it was and as it stands, and what has moved between.

An approval is of exactly one thing, the draft together with the flag as the approver saw it: its digest is taken here.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from apps.core.refusals import Invalid, NotFound
from apps.flags import audiences, editing, publishing
from apps.flags.domain import differences, segments
from apps.flags.domain.differences import TRAFFIC, Difference
from apps.flags.models import Audience, ChangeRequest, Flag
from apps.flags.refusals import DraftConflicts, FlagIsArchived

Action = ChangeRequest.Action
Subject = Flag | Audience
SAID_TOGETHER = {"rules": ("rules", "targeting"), "targeting": ("rules", "targeting"), "weights": ("segments",)}


def subject_of(row: ChangeRequest) -> Subject:
    if row.action == Action.CHANGE_AUDIENCE:
        return audiences.find(row.environment_id, row.subject)
    flag = Flag.objects.with_route().of(row.environment_id).named(row.subject).first()
    if flag is None:
        raise NotFound(what="flag", key=row.subject)
    if flag.archived_at is not None and row.action != Action.UNARCHIVE:
        raise FlagIsArchived(key=row.subject)
    return flag


def draft_on(row: ChangeRequest, found: Subject, fields: Mapping[str, Any]) -> None:
    """Checks the fields as if they were set now, and notes what they would replace."""
    row.fields = checked(row, found, fields)
    row.base_revision = found.revision
    row.base = {name: found.fields.get(name) for name in names_of(row, found)}


def checked(row: ChangeRequest, found: Subject, given: Mapping[str, Any]) -> dict[str, Any]:
    fields = dict(given)
    with publishing.fit():
        if isinstance(found, Audience):
            if "conditions" in fields:
                fields["conditions"] = audiences.checked(fields["conditions"])
        elif row.action == Action.CHANGE:
            editing.checked(found, {name: value for name, value in fields.items() if name != "weights"})
            if "weights" in fields:
                values = fields.get("variants") or found.variants
                segments.check(fields["weights"], values)
    wanted = {Action.RENAME: {"to"}, Action.ARCHIVE: set(), Action.UNARCHIVE: set()}.get(Action(row.action))
    if (wanted is not None and set(fields) != wanted) or (wanted is None and not fields):
        needed = "no fields" if wanted == set() else "the field to" if wanted else "at least one field"
        raise Invalid(f"A request to {row.action} has {needed}.", fields=f"Give {needed}.")
    return fields


def names_of(row: ChangeRequest, found: Subject) -> list[str]:
    """The fields that must still be as they were on the base."""
    if isinstance(found, Audience):
        return sorted(row.fields)
    names = [one for name in row.fields for one in SAID_TOGETHER.get(name, (name,)) if one != "to"]
    if row.action == Action.CHANGE and set(row.fields) - editing.FREE_WHILE_HELD:
        names += TRAFFIC
    known = found.fields
    return sorted({name for name in names if name in known})


def conflicts(row: ChangeRequest, found: Subject) -> Difference:
    """What was moved since the draft was made: from the base to now."""
    now = found.fields
    return differences.between(row.base, {name: now.get(name) for name in row.base})


def must_fit(row: ChangeRequest, found: Subject) -> None:
    moved = conflicts(row, found)
    if moved:
        why = f"{found.changed_by} changed {', '.join(moved)}. Look at the difference and draft it anew."
        raise DraftConflicts(subject=row.subject, why=why, changes=moved)
    if isinstance(found, Flag) and set(row.fields) - editing.FREE_WHILE_HELD:
        editing.must_be_free(found, "")


def digest_of(row: ChangeRequest, found: Subject) -> str:
    """Of the draft and of the subject as it stands: an approval is of both."""
    whole = [row.environment_id, row.subject, row.action, row.fields, row.base_revision, found.revision, found.fields]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
