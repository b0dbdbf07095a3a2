"""Budgets: the worst one drawn on top, all of them beneath, and the page of each."""

from django.http import HttpResponse

from apps.access.domain.roles import Role
from apps.budgets import queries as budgets
from apps.catalog import queries as catalog
from apps.console import spending
from apps.console.presenters import money
from apps.console.visits import Visit, visited
from apps.rollouts import queries as rollouts
from apps.rollouts.models import Decision


@visited
def page(visit: Visit) -> HttpResponse:
    return shown(visit, "")


@visited
def one(visit: Visit, *, id: str) -> HttpResponse:
    spending.budget(visit.environment.key, id)  # raises NotFound
    return shown(visit, id)


def shown(visit: Visit, id: str) -> HttpResponse:
    environment, now = visit.environment.key, visit.now
    found = spending.worst_first(budgets.budget_status(environment, now))
    chosen = next((row for row in found if row.budget.id == id), found[0] if found else None)
    drawn = None
    if chosen is not None:
        told = spending.money(chosen, now)
        drawn = money.page(told, names_of(told), decisions_of(told), now)
    return visit.page(
        "console/budgets.html",
        current="budgets",
        rows=[
            money.row(row, spending.rate(row.budget, now, spending.HOUR), chosen.budget.id if chosen else "")
            for row in found
        ],
        summary=money.summary(found, environment, now),
        budget=drawn,
        is_one=bool(id),
        price_book=catalog.price_book().version,
        may_edit=visit.may(Role.OPERATOR),
        who_may=visit.who_may(Role.OPERATOR),
    )


def names_of(told: spending.Money) -> dict[str, str]:
    """Variants by the names that people use."""
    if told.route is None:
        return {}
    return dict(rollouts.route_state(told.budget.environment, told.route.key, told.status.verdict.period_to).names)


def decisions_of(told: spending.Money) -> list[Decision]:
    if told.route is None:
        return []
    rows = rollouts.decisions(told.budget.environment, told.route.key).exclude(kind="hold")
    return list(rows.filter(at__gte=told.status.verdict.period_from)[:40])
