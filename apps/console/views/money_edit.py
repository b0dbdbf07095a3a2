"""A budget's draft: typed, reviewed, saved. Between the first look and the last press nothing is changed."""

import re
from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse

from apps.access.domain.roles import Role
from apps.budgets import queries as budgets
from apps.budgets import services
from apps.budgets import spending as checked
from apps.budgets.models import Budget
from apps.console import figures, spending
from apps.console.drafts import keeps_draft
from apps.console.presenters import money_forms, money_rows
from apps.console.presenters.money_forms import Draft
from apps.console.views.acts import once
from apps.console.visits import Visit, visited
from apps.core.refusals import Invalid, Refused, Stale
from apps.flags import queries as flags

FIELDS = {"limit_usd": "limit", "limit_nano": "limit", "scope": "scope_value"}


@keeps_draft
@visited
def edit(visit: Visit, *, id: str) -> HttpResponse:
    visit.must(Role.OPERATOR)
    row = spending.budget(visit.environment.key, id)
    if not row.is_sound:  # no form has fields for what stands there
        return HttpResponseRedirect(reverse("budget", args=[row.id]))
    now_set = facts(row)
    draft, is_kept = draft_of(visit, money_forms.of_facts(now_set, row.revision))
    if visit.request.method != "POST":
        return form(visit, row, draft, is_kept=is_kept)
    wanted = check(draft, row.environment, now_set)
    if draft.faults:
        return form(visit, row, draft)
    if draft.revision != row.revision:
        return conflicting(visit, row, draft)
    changes = money_forms.changes(now_set, wanted)
    if not changes or visit.request.POST.get("press") != "save":
        return form(visit, row, draft, wanted=wanted)
    try:
        services.update_budget(
            budget=row.id,
            changes=changes,
            by=visit.actor,
            because=draft.because or "Changed in the console.",
            now=visit.now,
            expected_revision=draft.revision,
        )
    except Stale:
        return conflicting(visit, spending.budget(visit.environment.key, id), draft)
    except Refused as refused:
        place(draft, refused)
        return form(visit, row, draft)
    return HttpResponseRedirect(reverse("budget", args=[row.id]))


@keeps_draft
@visited
def new(visit: Visit) -> HttpResponse:
    visit.must(Role.OPERATOR)
    lines = [money_forms.Line("at", "80"), money_forms.Line("at", "100", "hold")]
    draft, is_kept = draft_of(visit, Draft(scope_value=visit.request.GET.get("route", ""), lines=lines))
    if visit.request.method != "POST":
        return form(visit, None, draft, is_kept=is_kept)
    wanted = check(draft, visit.environment.key, unset(draft))
    if draft.faults or visit.request.POST.get("press") != "save":
        return form(visit, None, draft, wanted=wanted)
    made: list[Budget] = []
    try:
        once(visit, "budgets/new", lambda: made.append(create(visit, draft, wanted)))
    except Refused as refused:
        place(draft, refused)
        return form(visit, None, draft)
    return HttpResponseRedirect(reverse("budget", args=[made[0].id]) if made else reverse("budgets"))


@visited
def end(visit: Visit, *, id: str) -> HttpResponse:
    """The first look says what would end; the press on it ends it. What was spent stays in the ledger."""
    visit.must(Role.OPERATOR)
    row = spending.budget(visit.environment.key, id)
    if visit.request.method == "POST":
        because = visit.request.POST.get("because", "").strip()[: money_forms.LONGEST["because"]]
        services.end_budget(budget=row.id, by=visit.actor, because=because or "Ended in the console.", now=visit.now)
        return HttpResponseRedirect(reverse("budgets"))
    status = budgets.status_of(row, visit.now) if row.is_sound else None
    return visit.page(
        "console/budget_end.html",
        current="budgets",
        budget=row,
        name=money_rows.name_of(status) if status else row.words,
        second=money_rows.scope_words(status) if status else row.fault,
        spent=figures.nano(status.verdict.spent_nano) if status else "",
        limit=figures.exact(row.limit_nano),
        thresholds=[money_forms.words(one) for one in row.thresholds] if status else [],
    )


# --- the draft ----------------------------------------------------------------------------------------------------


def draft_of(visit: Visit, before: Draft) -> tuple[Draft, bool]:
    """What was typed; what is set, where nothing was. And whether it was kept over a login."""
    sent = visit.request.POST if visit.request.method == "POST" else visit.request.GET
    if "limit" not in sent:
        return before, False
    return money_forms.read(sent, sent.getlist, before), visit.request.method != "POST"


def facts(row: Budget) -> dict[str, Any]:
    return {name: getattr(row, name) for name in checked.BUDGET_FIELDS}


def unset(draft: Draft) -> dict[str, Any]:
    """What a new budget has beside the fields that can be changed later."""
    return {
        "scope": {draft.scope: draft.scope_value} if draft.scope_value else {},
        "period": draft.period,
        "timezone": draft.timezone,
        "on_unreachable": services.unreachable_default(draft.is_hard),
        "at_cap": Budget.AtCap.FINISH,
    }


def check(draft: Draft, environment: str, before: Mapping[str, Any]) -> dict[str, Any]:
    """As the service would: what is wrong is said at the review, not at the save. All fields, as they would be."""
    wanted = {**before, **money_forms.typed(draft)}
    try:
        checked.check_budget({"environment": environment} | wanted)
    except Invalid as refused:
        place(draft, refused)
    return wanted


def place(draft: Draft, refused: Refused) -> None:
    """Each fault beneath its field, lines counted as people count."""
    errors = getattr(refused, "errors", None) or {}
    for name, words in errors.items():
        told = re.sub(r"^\d+(?=: )", lambda place: f"Line {int(place[0]) + 1}", str(words))
        draft.faults.setdefault(FIELDS.get(name, name), told)
    if not errors:
        draft.faults["form"] = refused.detail


def create(visit: Visit, draft: Draft, wanted: Mapping[str, Any]) -> Budget:
    return services.create_budget(
        environment=visit.environment.key,
        **wanted,
        by=visit.actor,
        because=draft.because or "Set in the console.",
        now=visit.now,
    )


# --- what is answered ---------------------------------------------------------------------------------------------


def conflicting(visit: Visit, row: Budget, draft: Draft) -> HttpResponse:
    """Somebody changed it since: what was typed here is laid over that, field by field."""
    theirs = facts(row)
    before = budgets.fields_at(row, draft.revision or 0) or theirs
    mine = money_forms.changes(before, money_forms.typed(draft))
    merged = money_forms.of_facts(theirs | mine, row.revision)
    merged.because = draft.because
    told = {
        "by": row.changed_by,
        "at": figures.moment(row.changed_at, visit.now),
        "changes": money_forms.differences(before, theirs),
        "both": [money_forms.WORDS[name] for name in mine if name in money_forms.changes(before, theirs)],
    }
    return form(visit, row, merged, wanted=theirs | mine, conflict=told)


def form(
    visit: Visit,
    row: Budget | None,
    draft: Draft,
    *,
    wanted: Mapping[str, Any] | None = None,
    conflict: dict[str, Any] | None = None,
    is_kept: bool = False,
) -> HttpResponse:
    """`wanted`: the fields as they would be, for the review."""
    status = budgets.status_of(row, visit.now) if row is not None else None
    reviewed = wanted if wanted is not None and not draft.faults else None
    differences = money_forms.differences(facts(row), reviewed) if row and reviewed else []
    return visit.page(
        "console/budget_form.html",
        current="budgets",
        status=422 if draft.faults else 409 if conflict else 200,
        budget=row,
        name=money_rows.name_of(status) if status else "",
        second=money_rows.scope_words(status) if status else "",
        spent=figures.nano(status.verdict.spent_nano) if status else "",
        limit=figures.exact(row.limit_nano) if row else "",
        used=figures.percent(status.verdict.fraction) if status else "",
        draft=draft,
        differences=differences,
        at_once=at_once(visit, row, reviewed) if reviewed and (differences or row is None) else None,
        warnings=warnings(visit, reviewed) if reviewed and row is None else [],
        conflict=conflict,
        nothing=bool(row and reviewed and not differences),
        is_kept=is_kept,
        routes=[] if row else [view.key for view in flags.routes(visit.environment.key)],
        **money_forms.choices(),
    )


def at_once(visit: Visit, row: Budget | None, wanted: Mapping[str, Any]) -> money_forms.AtOnce:
    as_if = Budget(environment=visit.environment.key, created_at=visit.now, changed_at=visit.now, **wanted)
    if row is not None:
        as_if.id = row.id  # its reservations count
    return money_forms.at_once(budgets.status_of(as_if, visit.now))


def warnings(visit: Visit, wanted: Mapping[str, Any]) -> list[str]:
    """What is likely a mistake, and may be meant."""
    told, environment = [], visit.environment.key
    route = wanted["scope"].get("route")
    if route and not flags.routes(environment, [route]):
        told.append(f"{environment} has no route {route}: this counts nothing until there is one.")
    same = (wanted["scope"], wanted["period"])
    if any((one.scope, one.period) == same for one in budgets.budgets(environment)):
        told.append("There is a budget of this scope and period already. Both will act.")
    return told
