"""Change requests as pages and the API show them: the difference, and what has moved since."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db import models

from apps.core.refusals import NotFound, Refused
from apps.flags import drafts
from apps.flags.domain import segments
from apps.flags.domain.differences import Difference, percents
from apps.flags.models import ChangeRequest, Flag


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRequestView:
    id: str
    environment: str
    subject: str
    action: str
    state: str
    diff: Difference
    conflicts: Difference
    base_revision: int
    because: str
    due_at: datetime | None
    created_by: str
    created_at: datetime
    edited_by: str
    submitted_by: str
    decided_by: str
    decided_at: datetime | None
    done_at: datetime | None
    version: int | None
    sentence: str
    needs_approval: bool
    digest: str
    revision: int

    @property
    def is_open(self) -> bool:
        return self.state in ChangeRequest.OPEN


def rows(
    environment: str,
    *,
    states: Sequence[str] | None = None,
    only_open: bool = False,
    subject: str | None = None,
) -> "models.QuerySet[ChangeRequest]":
    """Newest first."""
    found = ChangeRequest.objects.of(environment).select_related("environment").order_by("-created_at", "-id")
    if states is not None:
        found = found.filter(state__in=set(states) & set(ChangeRequest.State.values))
    if only_open:
        found = found.open()
    if subject is not None:
        found = found.filter(subject=subject.replace("\0", ""))
    return found


def one(id: str) -> ChangeRequestView:
    row = ChangeRequest.objects.select_related("environment").named(id).first()
    if row is None:
        raise NotFound(what="change request", key=id)
    return view(row)


def view(row: ChangeRequest) -> ChangeRequestView:
    moved, digest, sentence = {}, "", row.sentence
    if row.is_open:
        try:
            subject = drafts.subject_of(row)
            moved, digest = drafts.conflicts(row, subject), drafts.digest_of(row, subject)
        except Refused as refused:  # gone or archived meanwhile
            sentence = sentence or refused.detail
    return ChangeRequestView(
        id=row.id,
        environment=row.environment_id,
        subject=row.subject,
        action=row.action,
        state=row.state,
        diff=diff_of(row),
        conflicts=moved,
        base_revision=row.base_revision,
        because=row.because,
        due_at=row.due_at,
        created_by=row.created_by,
        created_at=row.created_at,
        edited_by=row.edited_by,
        submitted_by=row.submitted_by,
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        done_at=row.done_at,
        version=row.version,
        sentence=sentence,
        needs_approval=row.environment.is_protected,
        digest=digest,
        revision=row.revision,
    )


def diff_of(row: ChangeRequest) -> Difference:
    told: Difference = {}
    for name, wanted in row.fields.items():
        if name == "weights":
            shares = {variant: size / segments.WHOLE * 100 for variant, size in wanted.items()}
            told[name] = {"was": percents(row.base.get("segments")), "is": shares}
        else:
            told[name] = {"was": row.subject if name == "to" else row.base.get(name), "is": wanted}
    if row.action == ChangeRequest.Action.ARCHIVE:
        told["archived"] = {"was": False, "is": True}
    elif row.action == ChangeRequest.Action.UNARCHIVE:
        told["archived"] = {"was": True, "is": False}
    return told


def is_route(environment: str, key: str) -> bool:
    return Flag.objects.of(environment).named(key).exclude(route=None).exists()


def plain(value: Any) -> Any:
    """As it can wait in a table."""
    return value.isoformat() if isinstance(value, date) else value
