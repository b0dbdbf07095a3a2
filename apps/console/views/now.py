"""The board: every route of the environment, worst first."""

from django.http import HttpResponse

from apps.budgets import queries as budgets
from apps.console import queries
from apps.console.presenters import board, rows
from apps.console.visits import Visit, visited

DECIDED = 5


@visited
def page(visit: Visit) -> HttpResponse:
    chosen = visit.request.GET.get("show", "all")
    chosen = chosen if chosen in board.FILTERS else "all"
    found = queries.standings(visit.environment.key, visit.now)
    money = queries.budgets_by_route(budgets.budget_status(visit.environment.key, visit.now))
    every = board.worst_first([rows.row(visit, one, money.get(one.route.key)) for one in found])
    return visit.page(
        "console/now.html",
        current="now",
        rows=[row for row in every if board.FILTERS[chosen](row)],
        chosen=chosen,
        tabs=board.tabs(every, chosen),
        summary=board.summary(every),
        decided=rows.decided(queries.worth_telling(visit.environment.key, DECIDED), visit.now),
        steady=f"{n} steady" if (n := sum(1 for row in every if row.fold)) else "",
        next=rows.comes_next(found, visit.now),
    )
