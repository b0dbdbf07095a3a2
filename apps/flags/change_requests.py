"""Changes that wait: for another person's approval, for their moment, or for both.

A change request is a field diff on a base. When it is carried out, what it sets must still be what it was on the base,
and where traffic goes must not have moved: else it conflicts, whole, and says so. Whatever changes of the draft or of
the flag makes an approval void. That is decided here, whoever asks.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import structlog
from django.db import transaction

from apps.core.actors import Actor
from apps.core.refusals import Forbidden, Invalid, NotFound, Refused, Stale
from apps.flags import audiences, drafts, editing, keeping, publishing
from apps.flags.models import ChangeRequest, Flag
from apps.flags.publishing import Change, Published
from apps.flags.refusals import ApprovalIsVoid, NotInThisState, OwnRequest
from apps.journal import services as journal
from apps.journal.services import Condition

log = structlog.get_logger()
SCHEDULE = Actor("worker", "schedule")
Action, State = ChangeRequest.Action, ChangeRequest.State
MOST_AT_ONCE = 100


# What is asked for


@transaction.atomic
def propose(
    *,
    environment: str,
    subject: str,
    fields: Mapping[str, Any],
    by: Actor,
    because: str,
    now: datetime,
    action: str = Action.CHANGE,
    base_revision: int | None = None,
    submit: bool = False,
) -> ChangeRequest:
    """A draft upon the subject as it stands. `fields`: as update_flag takes them, and `weights` in ten-thousandths."""
    change = publishing.begin(environment, by=by, because=because, now=now)
    row = ChangeRequest(
        environment=change.environment,
        subject=subject,
        action=action,
        because=because,
        created_by=str(by),
        created_at=now,
        edited_by=str(by),
        edited_at=now,
    )
    found = drafts.subject_of(row)
    if isinstance(found, Flag):
        publishing.must_be_current(found, base_revision)
    else:
        audiences.must_be_current(found, base_revision)
    drafts.draft_on(row, found, fields)
    if submit:
        row.state, row.submitted_by, row.submitted_at = State.SUBMITTED, str(by), now
    row.add()
    tell("change_request.submitted" if submit else "change_request.drafted", row, by=by, because=because, now=now)
    return row


@transaction.atomic
def edit(
    *,
    id: str,
    by: Actor,
    now: datetime,
    because: str = "",
    fields: Mapping[str, Any] | None = None,
    expected: int | None = None,
) -> ChangeRequest:
    """Another draft, upon the subject as it stands now: what was approved is approved no longer."""
    row = locked(id)
    must_be_current(row, expected)
    must_be(row, "editing", *ChangeRequest.OPEN)
    end_conflict(row, by=by, now=now)
    drafts.draft_on(row, drafts.subject_of(row), row.fields if fields is None else fields)
    row.change(
        fields=row.fields,
        base=row.base,
        base_revision=row.base_revision,
        because=because or row.because,
        state=State.DRAFT,
        due_at=None,
        edited_by=str(by),
        edited_at=now,
        sentence="",
        **NOT_DECIDED,
    )
    tell("change_request.edited", row, by=by, because=because, now=now)
    return row


@transaction.atomic
def schedule_change(
    *,
    environment: str,
    subject: str,
    fields: Mapping[str, Any],
    due_at: datetime,
    by: Actor,
    because: str,
    now: datetime,
    action: str = Action.CHANGE,
    base_revision: int | None = None,
) -> ChangeRequest:
    """A change at its moment, where no second pair of eyes is asked for."""
    change = publishing.begin(environment, by=by, because=because, now=now)
    change.must_be_approved()
    row = propose(
        environment=environment,
        subject=subject,
        fields=fields,
        by=by,
        because=because,
        now=now,
        action=action,
        base_revision=base_revision,
    )
    return schedule(id=row.id, due_at=due_at, by=by, now=now)


NOT_DECIDED: dict[str, Any] = {"approved_digest": "", "decided_by": "", "decided_at": None}


@transaction.atomic
def submit(*, id: str, by: Actor, now: datetime) -> ChangeRequest:
    row = locked(id)
    must_be(row, "submitting", State.DRAFT)
    drafts.must_fit(row, drafts.subject_of(row))
    row.change(state=State.SUBMITTED, submitted_by=str(by), submitted_at=now, sentence="")
    tell("change_request.submitted", row, by=by, because=row.because, now=now)
    return row


# What others say to it


@transaction.atomic
def approve(
    *, id: str, by: Actor, now: datetime, because: str = "", expected: int | None = None, digest: str = ""
) -> ChangeRequest:
    """By another person; of exactly what is there now. `digest`: of what that person saw."""
    row = locked(id)
    must_be_current(row, expected)
    must_be(row, "approving", State.SUBMITTED)
    if by.kind != "person":
        raise Forbidden(who=str(by), role="approver", environment=row.environment_id)
    if str(by) in (row.created_by, row.edited_by, row.submitted_by):
        raise OwnRequest(who=str(by))
    found = drafts.subject_of(row)
    drafts.must_fit(row, found)
    seen = drafts.digest_of(row, found)
    if digest and digest != seen:
        raise ApprovalIsVoid(by=str(by), why="what it is about has changed since you looked")
    row.change(state=State.APPROVED, decided_by=str(by), decided_at=now, approved_digest=seen, sentence="")
    tell("change_request.approved", row, by=by, because=because, now=now)
    return row


@transaction.atomic
def reject(*, id: str, by: Actor, because: str, now: datetime) -> ChangeRequest:
    row = locked(id)
    must_be(row, "rejecting", State.SUBMITTED, State.APPROVED, State.SCHEDULED)
    told = {"decided_by": str(by), "decided_at": now, "done_at": now, "sentence": because, "approved_digest": ""}
    row.change(state=State.REJECTED, due_at=None, **told)
    tell("change_request.rejected", row, by=by, because=because, now=now)
    return row


@transaction.atomic
def withdraw(*, id: str, by: Actor, because: str, now: datetime) -> ChangeRequest:
    row = locked(id)
    must_be(row, "withdrawing", *ChangeRequest.OPEN)
    end_conflict(row, by=by, now=now)
    row.change(state=State.WITHDRAWN, due_at=None, done_at=now, sentence=because)
    tell("change_request.withdrawn", row, by=by, because=because, now=now)
    return row


# What becomes of it


@transaction.atomic
def schedule(*, id: str, due_at: datetime, by: Actor, now: datetime, expected: int | None = None) -> ChangeRequest:
    row = locked(id)
    must_be_current(row, expected)
    must_be(row, "scheduling", *ready(row), State.SCHEDULED)
    if due_at <= now:
        raise Invalid("A change is scheduled for a moment to come.", due_at="This moment has passed.")
    drafts.must_fit(row, drafts.subject_of(row))
    row.change(state=State.SCHEDULED, due_at=due_at, sentence="")
    tell("change_request.scheduled", row, by=by, because=row.because, now=now, after={"due_at": due_at.isoformat()})
    return row


def apply(*, id: str, by: Actor, now: datetime, expected: int | None = None) -> Published:
    """Carries it out now, or says why not; an approval that no longer holds is taken back, and that stays."""
    try:
        with transaction.atomic():
            row = locked(id)
            must_be_current(row, expected)
            must_be(row, "applying", *ready(row), State.SCHEDULED)
            return carry_out(row, by=by, now=now)
    except ApprovalIsVoid as void:
        with transaction.atomic():
            row = locked(id)
            row.change(state=State.SUBMITTED, due_at=None, sentence=void.detail, **NOT_DECIDED)
            tell("change_request.approval_voided", row, by=by, because=void.detail, now=now)
        raise


def run_due(*, now: datetime) -> int:
    """Everything whose moment has come, each once and by itself; how many were carried out."""
    done = 0
    for id in list(ChangeRequest.objects.due(now).values_list("id", flat=True)[:MOST_AT_ONCE]):
        try:
            done += run_one(id, now=now)
        except Exception:  # the edge: one that fails must not stop the next; it stays due
            log.exception("change_request.failed", id=id)
    return done


@transaction.atomic
def run_one(id: str, *, now: datetime) -> bool:
    """The locks of environment and row are the claim: a second worker finds nothing left to do."""
    row = locked(id)
    if row.state != State.SCHEDULED or row.due_at is None or row.due_at > now:
        return False
    try:
        with transaction.atomic():
            carry_out(row, by=SCHEDULE, now=now)
        return True
    except Refused as refused:
        row.refresh_from_db()
        row.change(state=State.CONFLICTED, sentence=refused.detail)
        sentence = f"The change of {row.subject} scheduled by {row.created_by} was not made: {refused.detail}"
        opens = Condition(key=condition_of(row), severity="warning", sentence=sentence)
        tell("change_request.conflicted", row, by=SCHEDULE, because=refused.detail, now=now, condition=opens)
        return False


def carry_out(row: ChangeRequest, *, by: Actor, now: datetime) -> Published:
    approved = bool(row.approved_digest)
    because = f"{row.because} ({told_by(row)})"[:500]
    change = publishing.begin(row.environment_id, by=by, because=because, now=now, approved=approved)
    if change.environment.is_protected and not approved:
        raise NotInThisState(state=row.state, verb="applying it in a protected environment", needed="approved")
    found = drafts.subject_of(row)
    drafts.must_fit(row, found)
    if approved and row.approved_digest != drafts.digest_of(row, found):
        raise ApprovalIsVoid(by=row.decided_by, why=f"{found.changed_by} changed {row.subject} since")
    change.also = {"change_request": row.id}
    published = do(change, row)
    row.change(state=State.APPLIED, done_at=now, version=published.version, due_at=None, sentence="")
    return published


def do(change: Change, row: ChangeRequest) -> Published:
    match row.action:
        case Action.ARCHIVE:
            return keeping.archive(change, row.subject)
        case Action.UNARCHIVE:
            return keeping.unarchive(change, row.subject)
        case Action.RENAME:
            return keeping.rename(change, row.subject, row.fields["to"])
        case Action.CHANGE_AUDIENCE:
            return audiences.update(change, row.subject, row.fields, expected=None)
    flag = change.flag(row.subject)
    fields = dict(row.fields)
    weights = fields.pop("weights", None)
    editing.update(change, flag, fields, expected=None, weights=weights)
    kind = "route.changed" if flag.route_or_none else "flag.changed"
    return change.publish("flag.weights_changed" if not fields else kind)


def told_by(row: ChangeRequest) -> str:
    approved = f", approved by {row.decided_by}" if row.approved_digest else ""
    return f"change request of {row.created_by}{approved}"


# What all of them need


def locked(id: str) -> ChangeRequest:
    """Environment first, as everywhere; then the request."""
    known = ChangeRequest.objects.named(id).values_list("environment_id", flat=True).first()
    if known is None:
        raise NotFound(what="change request", key=id)
    publishing.lock(str(known))
    return ChangeRequest.objects.select_for_update(of=("self",)).select_related("environment").get(pk=id)


def ready(row: ChangeRequest) -> tuple[str, ...]:
    """The states from which it may be carried out."""
    if row.environment.is_protected:
        return (State.APPROVED,)
    return (State.DRAFT, State.SUBMITTED, State.APPROVED)


def must_be(row: ChangeRequest, verb: str, *states: str) -> None:
    if row.state not in states:
        raise NotInThisState(state=row.state, verb=verb, needed=" or ".join(dict.fromkeys(map(str, states))))


def must_be_current(row: ChangeRequest, expected: int | None) -> None:
    if expected is not None and expected != row.revision:
        raise Stale(by=row.decided_by or row.edited_by, at=row.edited_at.isoformat(), changes={})


def condition_of(row: ChangeRequest) -> str:
    return f"change-request:{row.id}"


def end_conflict(row: ChangeRequest, *, by: Actor, now: datetime) -> None:
    """What was told as an alert is over when somebody takes it up."""
    if row.state == State.CONFLICTED:
        sentence = f"The change of {row.subject} was taken up by {by}."
        closes = Condition(key=condition_of(row), effect="closes", severity="warning", sentence=sentence)
        tell("change_request.taken_up", row, by=by, because="", now=now, condition=closes)


def tell(
    kind: str,
    row: ChangeRequest,
    *,
    by: Actor,
    because: str,
    now: datetime,
    after: Mapping[str, Any] | None = None,
    condition: Condition | None = None,
) -> None:
    about = {"audience" if row.action == Action.CHANGE_AUDIENCE else "flag": row.subject, "change_request": row.id}
    journal.record(
        kind,
        environment=row.environment_id,
        by=by,
        because=because,
        about=about,
        now=now,
        before={name: row.base.get(name) for name in row.fields if name in row.base} or None,
        after=dict(after) if after else dict(row.fields) or None,
        condition=condition,
    )
