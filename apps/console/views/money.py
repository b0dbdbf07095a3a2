"""The budgets in force, the fullest first."""

from django.http import HttpResponse
from django.utils.safestring import mark_safe

from apps.budgets import queries as budgets
from apps.console import drawings, figures
from apps.console.visits import Visit, visited

STATES = {"within": "within", "warning": "warning", "exceeded": "exceeded"}


@visited
def page(visit: Visit) -> HttpResponse:
    found = budgets.budget_status(visit.environment.key, visit.now)
    return visit.page(
        "console/budgets.html",
        current="budgets",
        rows=[row_of(one) for one in found],
        now_clock=figures.clock(visit.now),
    )


def row_of(one: budgets.BudgetStatus) -> dict[str, object]:
    verdict = one.verdict
    forecast = verdict.forecast
    return {
        "name": one.budget.name
        or ", ".join(str(value) for value in one.budget.scope.values())
        or "the whole environment",
        "scope": ", ".join(sorted(one.budget.scope)) or "environment",
        "period": verdict.period,
        "timezone": verdict.timezone,
        "spent": figures.nano(verdict.spent_nano),
        "limit": figures.nano(verdict.limit_nano),
        "estimated": figures.nano(verdict.estimated_nano) if verdict.estimated_nano else "",
        "bar": mark_safe(drawings.bar(verdict.fraction, verdict.pace, width=120)),
        "used": figures.percent(verdict.fraction),
        "forecast": figures.nano(forecast.nano) if forecast is not None else "",
        "is_over": forecast is not None and forecast.nano > verdict.limit_nano,
        "no_forecast": verdict.no_forecast if forecast is None else "",
        "next": one.next_action.replace("_", " "),
        "state": STATES.get(verdict.state, "inconclusive"),
        "unpriced": verdict.unpriced,
    }
