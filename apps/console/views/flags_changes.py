"""Change requests: what waits for whom, the difference, and what this person can do about it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect

from apps.access import queries as access
from apps.access.domain.roles import Role
from apps.console import figures
from apps.console.acts import Act
from apps.console.presenters import flag_words
from apps.console.views.acts import once
from apps.console.views.flags_draft import due_of, sentences_of, to
from apps.console.visits import ConsoleRequest, Visit, console, visit_of, visited
from apps.core.refusals import Invalid, NotFound, Refused, Stale
from apps.flags import change_requests, moves, requests_seen
from apps.flags.editing import DECIDING
from apps.flags.models import ChangeRequest
from apps.flags.moves import Preview
from apps.flags.requests_seen import ChangeRequestView

ORDER = ("submitted", "conflicted", "approved", "scheduled", "draft")
STATES = {
    "draft": ("steady", "", "Draft"),
    "submitted": ("approval", "warn", "Waits for approval"),
    "approved": ("acknowledged", "ok", "Approved"),
    "scheduled": ("acknowledged", "", "Scheduled"),
    "conflicted": ("firing", "danger", "Conflicts"),
    "applied": ("within", "ok", "Applied"),
    "rejected": ("rolled_back", "danger", "Rejected"),
    "withdrawn": ("steady", "", "Withdrawn"),
}
VERBS = {
    "change": "Change {}", "archive": "Archive {}", "unarchive": "Bring {} back", "rename": "Rename {}",
    "change_audience": "Change audience {}",
}  # fmt: skip
MOST_DONE = 50


@dataclass(frozen=True, slots=True)
class RequestRow:
    id: str
    href: str
    title: str
    glyph: str
    tone: str
    word: str
    because: str
    by: str
    at: datetime
    waits_for: str
    is_open: bool


@visited
def every(visit: Visit) -> HttpResponse:
    environment = visit.environment.key
    is_open = visit.request.GET.get("show") != "done"
    rows = requests_seen.rows(environment, only_open=is_open)
    shown = [row for row in rows[:500] if is_open or not row.is_open][: 500 if is_open else MOST_DONE]
    shown.sort(key=lambda row: ORDER.index(row.state) if row.state in ORDER else len(ORDER))  # stable: newest first
    return visit.page(
        "console/flags/changes.html",
        current="changes",
        rows=[row_of(visit, row) for row in shown],
        is_open=is_open,
        is_protected=visit.environment.is_protected,
    )


def row_of(visit: Visit, row: ChangeRequest) -> RequestRow:
    glyph, tone, word = state_of(row)
    return RequestRow(
        id=row.id,
        href=to(visit, "change", row.id),
        title=VERBS[row.action].format(row.subject),
        glyph=glyph,
        tone=tone,
        word=word,
        because=row.because,
        by=row.created_by,
        at=row.done_at or row.submitted_at or row.created_at,
        waits_for=waits_for(visit, row),
        is_open=row.is_open,
    )


def state_of(row: ChangeRequest) -> tuple[str, str, str]:
    if row.state == ChangeRequest.State.SUBMITTED and not row.environment.is_protected:
        return "steady", "", "Submitted"
    return STATES[row.state]


def waits_for(visit: Visit, row: ChangeRequest) -> str:
    match row.state:
        case "submitted":
            return who_approves(visit, row) if row.environment.is_protected else "to be applied"
        case "approved":
            return "to be applied"
        case "scheduled" if row.due_at is not None:
            return f"for {figures.moment(row.due_at, visit.now)}"
        case "draft":
            return f"for {row.created_by} to submit it"
        case "conflicted":
            return f"for {row.created_by} to draft it anew"
    return ""


def who_approves(visit: Visit, row: ChangeRequest) -> str:
    """Others than those who wrote it."""
    own = {row.created_by, row.edited_by, row.submitted_by}
    people = [name for name in access.people_with(Role.APPROVER, visit.environment) if name not in own]
    return (
        f"for {' or '.join(people[:3])}" if people else "for another person with the role approver: nobody has it yet"
    )


@console
def page(request: ConsoleRequest, *, id: str) -> HttpResponse:
    visit, row = loaded(request, id)
    return shown(visit, row)


def loaded(request: ConsoleRequest, id: str) -> tuple[Visit, ChangeRequest]:
    row = ChangeRequest.objects.select_related("environment").named(id).first()
    if row is None:
        raise NotFound(what="change request", key=id)
    return visit_of(request, row.environment_id), row


def shown(visit: Visit, row: ChangeRequest, *, error: str = "", status: int = 200) -> HttpResponse:
    view = requests_seen.view(row)
    glyph, tone, word = state_of(row)
    return visit.page(
        "console/flags/change.html",
        current="changes",
        status=status,
        change=view,
        title=VERBS[view.action].format(view.subject),
        state=(glyph, tone, word),
        rows=flag_words.rows(view.diff),
        conflicts=flag_words.rows(view.conflicts),
        previews=who_moves(visit, row) if view.is_open and not view.conflicts else [],
        void=void(row, view),
        waits_for=waits_for(visit, row),
        subject_href=subject_href(visit, view),
        acts=acts_of(visit, row, view),
        why_not=why_not(visit, row, view),
        error=error,
        apply=apply_act(visit, view),
        soonest=f"{visit.now.astimezone(UTC):%Y-%m-%dT%H:%M}",
    )


def who_moves(visit: Visit, row: ChangeRequest) -> list[Preview]:
    """If it were applied now; nothing where no flag's answers hang on it."""
    try:
        if row.action == ChangeRequest.Action.CHANGE_AUDIENCE and "conditions" in row.fields:
            return moves.preview_audience(row.environment_id, row.subject, row.fields["conditions"], now=visit.now)
        if row.action == ChangeRequest.Action.CHANGE and {"weights", *DECIDING} & set(row.fields):
            fields = {name: value for name, value in row.fields.items() if name != "weights"}
            found = moves.preview(
                row.environment_id, row.subject, row.fields.get("weights"), fields=fields, now=visit.now
            )
            return [found]
    except Refused:  # the page says by itself why it cannot be applied
        pass
    return []


def subject_href(visit: Visit, view: ChangeRequestView) -> str:
    is_audience = view.action == ChangeRequest.Action.CHANGE_AUDIENCE
    return to(visit, "audience" if is_audience else "flag", view.subject)


def void(row: ChangeRequest, view: ChangeRequestView) -> str:
    """An approval is of exactly one thing: said before somebody presses apply."""
    if row.approved_digest and view.is_open and row.approved_digest != view.digest:
        return f"The approval by {row.decided_by} is void: {row.subject} has changed since. Ask for another one."
    return ""


def is_own(visit: Visit, row: ChangeRequest) -> bool:
    return str(visit.actor) in (row.created_by, row.edited_by, row.submitted_by)


def acts_of(visit: Visit, row: ChangeRequest, view: ChangeRequestView) -> dict[str, str]:
    """The forms that this person gets, each with its address."""
    operates, approves = visit.may(Role.OPERATOR), visit.may(Role.APPROVER)
    ready = ("approved",) if view.needs_approval else ("draft", "submitted", "approved")
    fits = not view.conflicts and not void(row, view)
    wanted = {
        "submit": operates and view.state == "draft" and fits,
        "approve": approves and view.state == "submitted" and fits and not is_own(visit, row),
        "reject": approves and view.state in ("submitted", "approved", "scheduled"),
        "apply": operates and view.state in (*ready, "scheduled") and not view.conflicts,
        "schedule": operates and view.state in (*ready, "scheduled") and fits,
        "redraft": operates and view.is_open and (bool(view.conflicts) or view.state == "conflicted"),
        "withdraw": operates and view.is_open,
    }
    return {name: to(visit, "change-act", row.id, name) for name, may in wanted.items() if may}


def why_not(visit: Visit, row: ChangeRequest, view: ChangeRequestView) -> str:
    """Who can approve, where this person cannot."""
    if view.state != "submitted" or not view.needs_approval:
        return "" if visit.may(Role.OPERATOR) or not view.is_open else visit.who_may(Role.OPERATOR)
    if is_own(visit, row):
        return f"You wrote this: it waits {who_approves(visit, row)}."
    return "" if visit.may(Role.APPROVER) else f"It waits {who_approves(visit, row)}."


def apply_act(visit: Visit, view: ChangeRequestView) -> Act:
    """Carried out, it may move traffic: two presses."""
    return Act(
        key="apply",
        label="Apply now",
        href=to(visit, "change-act", view.id, "apply"),
        presses=2,
        css="is-main",
        effect="As one version, within seconds; or not at all.",
        title=f"Apply the change of {view.subject}",
        question=f"Apply the change of {view.subject} now?",
        yes="Yes, apply it",
        keep="Not yet",
        yes_css="is-main",
        back=to(visit, "change", view.id),
        expected=view.revision,
    )


@console
def press(request: ConsoleRequest, *, id: str, act: str) -> HttpResponse:
    visit, row = loaded(request, id)
    here = to(visit, "change", id)
    if act == "apply" and request.method != "POST":
        return first_press(visit, row, here)
    if request.method != "POST":
        return HttpResponseRedirect(here)
    visit = visit_of(request, row.environment_id, role=Role.APPROVER if act in ("approve", "reject") else Role.OPERATOR)
    if act not in DO:
        raise NotFound(what="act", key=act)
    try:
        if act == "apply":  # takes back an approval that is void, and that must stay: not within another transaction
            apply(visit, id)
        else:
            once(visit, f"{id}/{act}", lambda: DO[act](visit, id))
    except Stale as stale:
        if act == "apply" and ChangeRequest.objects.get(pk=id).state == ChangeRequest.State.APPLIED:
            return HttpResponseRedirect(here)  # a double tap
        told = f"{stale.facts['by']} changed this request since you looked. This is how it stands now."
        return refused(request, id, told)
    except Refused as refusal:
        return refused(request, id, sentences_of(refusal))
    if visit.is_fragment:
        answer = HttpResponse(status=204)
        answer["HX-Redirect"] = here
        return answer
    return HttpResponseRedirect(here)


def first_press(visit: Visit, row: ChangeRequest, here: str) -> HttpResponse:
    offered = apply_act(visit, requests_seen.view(row))
    if "apply" not in acts_of(visit, row, requests_seen.view(row)):
        return HttpResponseRedirect(here)
    if visit.is_fragment:
        template = "console/_act.html" if "keep" in visit.request.GET else "console/_confirm.html"
        return visit.fragment(template, act=offered, key=row.subject)
    if "keep" in visit.request.GET:
        return HttpResponseRedirect(here)
    return visit.page("console/confirm.html", current="changes", act=offered, key=row.subject)


def refused(request: ConsoleRequest, id: str, error: str) -> HttpResponse:
    """What was refused is said on the request as it stands now."""
    visit, row = loaded(request, id)
    if visit.is_fragment:
        result = {"words": error, "refused": True}
        return visit.fragment("console/_done.html", act={"key": "apply"}, result=result)
    return shown(visit, row, error=error, status=409)


def reason(visit: Visit, *, needed: bool) -> str:
    because = visit.request.POST.get("because", "").replace("\0", "").strip()[:500]
    if needed and not because:
        raise Invalid("Say why: the person who asked will read it.", because="Say why: who asked will read it.")
    return because


def expected(visit: Visit) -> int | None:
    given = visit.request.POST.get("expected", "")
    return int(given) if given.isdecimal() and len(given) < 10 else None


def submit(visit: Visit, id: str) -> None:
    change_requests.submit(id=id, by=visit.actor, now=visit.now)


def approve(visit: Visit, id: str) -> None:
    change_requests.approve(
        id=id,
        by=visit.actor,
        now=visit.now,
        because=reason(visit, needed=False),
        expected=expected(visit),
        digest=visit.request.POST.get("digest", ""),
    )


def reject(visit: Visit, id: str) -> None:
    change_requests.reject(id=id, by=visit.actor, because=reason(visit, needed=True), now=visit.now)


def withdraw(visit: Visit, id: str) -> None:
    because = reason(visit, needed=False) or "Withdrawn in the console."
    change_requests.withdraw(id=id, by=visit.actor, because=because, now=visit.now)


def redraft(visit: Visit, id: str) -> None:
    change_requests.edit(id=id, by=visit.actor, now=visit.now)


def apply(visit: Visit, id: str) -> None:
    change_requests.apply(id=id, by=visit.actor, now=visit.now, expected=expected(visit))


def schedule(visit: Visit, id: str) -> None:
    change_requests.schedule(id=id, due_at=due_of(visit), by=visit.actor, now=visit.now, expected=expected(visit))


DO: dict[str, Any] = {
    "submit": submit, "approve": approve, "reject": reject, "withdraw": withdraw, "redraft": redraft, "apply": apply,
    "schedule": schedule,
}  # fmt: skip
