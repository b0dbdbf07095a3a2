"""Budgets: the worst one drawn on top, all of them beneath, and the page of each."""

from zoneinfo import ZoneInfo

from django.http import HttpResponse

from apps.access.domain.roles import Role
from apps.budgets import queries as budgets
from apps.budgets.models import Budget
from apps.catalog import queries as catalog
from apps.console import months, spending
from apps.console.presenters import money, money_rows, spend_rows
from apps.console.visits import Visit, visited
from apps.flags import queries as flags
from apps.rollouts import queries as rollouts
from apps.rollouts.models import Decision
from apps.telemetry import queries as telemetry

UTC = ZoneInfo("UTC")


@visited
def page(visit: Visit) -> HttpResponse:
    return shown(visit, "")


@visited
def one(visit: Visit, *, id: str) -> HttpResponse:
    row = spending.budget(visit.environment.key, id)
    return shown(visit, id) if row.is_sound else unreadable(visit, row)


def shown(visit: Visit, id: str) -> HttpResponse:
    environment, now = visit.environment.key, visit.now
    choice = months.to_choose(telemetry.known_since(environment), now)
    month = months.chosen(visit.request.GET.get("month", ""), choice)
    is_past = month != choice[0]
    in_force = budgets.budgets(environment)
    asked = budgets.shared(in_force, now)
    rows = spending.of_month(environment, month) if is_past else budgets.budget_status(environment, now, asked)
    found = spending.worst_first(rows)
    chosen = next((row for row in found if row.budget.id == id), found[0] if found else None)
    drawn = None
    if chosen is not None:
        told = spending.past_money(chosen) if is_past else spending.money(chosen, now)
        until = chosen.verdict.period_to if is_past else now
        drawn = money.page(told, names_of(told), decisions_of(told), until)
    return visit.page(
        "console/budgets.html",
        current="budgets",
        unreadable=[] if id else [row for row in in_force if not row.is_sound],
        rows=[
            money_rows.row(
                row,
                None if is_past else spending.rate(row.budget, now, spending.HOUR, asked),
                chosen.budget.id if chosen else "",
            )
            for row in found
        ],
        summary=money_rows.summary(found, environment, month.words if is_past else ""),
        budget=drawn,
        is_one=bool(id),
        months=choice,
        month=month,
        is_past=is_past,
        price_book=catalog.price_book().version,
        spend=None if id else spend(visit, month),
        may_edit=visit.may(Role.OPERATOR),
        who_may=visit.who_may(Role.OPERATOR),
    )


def unreadable(visit: Visit, row: Budget) -> HttpResponse:
    """Where its alert leads: what is wrong with it, and what helps."""
    return visit.page(
        "console/budget_unreadable.html",
        current="budgets",
        budget=row,
        may_edit=visit.may(Role.OPERATOR),
        who_may=visit.who_may(Role.OPERATOR),
    )


def spend(visit: Visit, month: months.Month) -> spend_rows.SpendPanel:
    """Of the whole environment, whether anybody set a budget or not."""
    environment, asked = visit.environment.key, visit.request.GET.get("by", "")
    by = asked if asked in spend_rows.BY else spend_rows.BY[0]
    return spend_rows.panel(
        telemetry.spend(environment, month.before.ended_at(UTC), month.ended_at(UTC), by=(by,)),
        by=by,
        month=month.words,
        as_of=telemetry.as_of(environment),
        routes=lambda: {view.key for view in flags.routes(environment)},
    )


def names_of(told: spending.Money) -> dict[str, str]:
    """Variants by the names that people use."""
    view = spending.route_of(told.budget)
    if view is None:
        return {}
    return dict(rollouts.route_state(told.budget.environment, view.key, told.status.verdict.period_to).names)


def decisions_of(told: spending.Money) -> list[Decision]:
    route, verdict = told.budget.scope.get("route"), told.status.verdict
    if not route:
        return []
    rows = rollouts.decisions(told.budget.environment, route).exclude(kind="hold")
    return list(rows.filter(at__gte=verdict.period_from, at__lt=verdict.period_to)[:40])
