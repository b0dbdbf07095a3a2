"""A budget's draft: typed, reviewed, saved. Between the first look and the last press nothing is changed."""

from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse

from apps.access.domain.roles import Role
from apps.budgets import queries as budgets
from apps.budgets import services
from apps.budgets import spending as checked
from apps.budgets.models import Budget
from apps.console import figures, spending
from apps.console.presenters import money_forms, money_rows
from apps.console.presenters.money_forms import Draft
from apps.console.visits import Visit, visited
from apps.core.refusals import Invalid, Refused, Stale
from apps.flags import queries as flags

FIELDS = {"limit_usd": "limit", "limit_nano": "limit", "thresholds": "thresholds", "scope": "scope_value"}


@visited
def edit(visit: Visit, *, id: str) -> HttpResponse:
    visit.must(Role.OPERATOR)
    row = spending.budget(visit.environment.key, id)
    if visit.request.method != "POST":
        return form(visit, row, money_forms.of_budget(row))
    draft = money_forms.read(visit.request.POST, visit.request.POST.getlist)
    changes = {
        "limit_nano": money_forms.limit_nano(draft),
        "thresholds": money_forms.thresholds(draft),
        **money_forms.caps(draft),
    }
    differences = money_forms.differences(row, draft)
    if not draft.faults:
        check(draft, row, changes)
    if draft.faults or not differences:
        return form(visit, row, draft, nothing=not draft.faults)
    if draft.revision != row.revision:
        return form(visit, row, draft, differences=differences, conflict=conflict(visit, row))
    if visit.request.POST.get("press") != "save":
        return form(visit, row, draft, differences=differences)
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
        row = spending.budget(visit.environment.key, id)
        return form(visit, row, draft, differences=differences, conflict=conflict(visit, row))
    except Refused as refused:
        place(draft, refused)
        return form(visit, row, draft)
    return HttpResponseRedirect(reverse("budget", args=[row.id]))


@visited
def new(visit: Visit) -> HttpResponse:
    visit.must(Role.OPERATOR)
    if visit.request.method != "POST":
        asked = visit.request.GET.get("route", "")
        return form(
            visit,
            None,
            Draft(scope_value=asked, lines=[money_forms.Line("at", "80"), money_forms.Line("at", "100", "hold")]),
        )
    draft = money_forms.read(visit.request.POST, visit.request.POST.getlist)
    limit, levels = money_forms.limit_nano(draft), money_forms.thresholds(draft)
    if draft.faults:
        return form(visit, None, draft)
    try:
        row = services.create_budget(
            environment=visit.environment.key,
            scope={draft.scope: draft.scope_value} if draft.scope_value else {},
            period=draft.period,
            limit_nano=limit,
            thresholds=levels,
            timezone=draft.timezone,
            name=draft.name,
            owner=draft.owner,
            is_hard=draft.is_hard,
            **money_forms.caps(draft),
            by=visit.actor,
            because=draft.because or "Set in the console.",
            now=visit.now,
        )
    except Refused as refused:
        place(draft, refused)
        return form(visit, None, draft)
    return HttpResponseRedirect(reverse("budget", args=[row.id]))


def check(draft: Draft, row: Budget, changes: dict[str, object]) -> None:
    """As the service would: what is wrong is said at the review, not at the save."""
    try:
        checked.check_budget({"environment": row.environment} | facts(row) | changes)
    except Invalid as refused:
        place(draft, refused)


def facts(row: Budget) -> dict[str, object]:
    return {name: getattr(row, name) for name in checked.BUDGET_FIELDS}


def place(draft: Draft, refused: Refused) -> None:
    """Each fault beneath its field."""
    errors = getattr(refused, "errors", None) or {}
    for name, words in errors.items():
        draft.faults[FIELDS.get(name, name)] = str(words)
    if not errors:
        draft.faults["form"] = refused.detail


def conflict(visit: Visit, row: Budget) -> dict[str, str]:
    told = ", ".join(money_forms.words(one) for one in row.thresholds) or "no threshold"
    return {
        "by": row.changed_by,
        "at": figures.moment(row.changed_at, visit.now),
        "now": f"limit {figures.nano(row.limit_nano)}, {told}",
    }


def form(
    visit: Visit,
    row: Budget | None,
    draft: Draft,
    *,
    differences: list[tuple[str, str, str]] | None = None,
    conflict: dict[str, str] | None = None,
    nothing: bool = False,
) -> HttpResponse:
    status = budgets.status_of(row, visit.now) if row is not None else None
    return visit.page(
        "console/budget_form.html",
        current="budgets",
        status=422 if draft.faults else 409 if conflict else 200,
        budget=row,
        name=money_rows.name_of(status) if status else "",
        second=money_rows.scope_words(status) if status else "",
        spent=figures.nano(status.verdict.spent_nano) if status else "",
        limit=figures.nano(row.limit_nano) if row else "",
        used=figures.percent(status.verdict.fraction) if status else "",
        draft=draft,
        differences=differences,
        conflict=conflict,
        nothing=nothing,
        routes=[] if row else [view.key for view in flags.routes(visit.environment.key)],
        **money_forms.choices(),
    )
