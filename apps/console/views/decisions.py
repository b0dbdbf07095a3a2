"""The page behind an alert's link. Reading it changes nothing, however often a mail scanner fetches it."""

from django.http import HttpResponse

from apps.budgets import queries as budgets
from apps.console import queries
from apps.console.presenters import around, decided
from apps.console.visits import ConsoleRequest, console, visit_of
from apps.core.refusals import NotFound
from apps.rollouts import queries as rollouts

SIBLINGS = 200


@console
def page(request: ConsoleRequest, *, id: str) -> HttpResponse:
    row = rollouts.decision(id)
    visit = visit_of(request, row.environment)
    environment, now = visit.environment.key, visit.now
    since, until, step = around.window(row, now)
    try:
        one = queries.standing(environment, row.route, now)
        _, prices = rollouts.way_back(environment, row.route, now, rollout=row.rollout)
    except NotFound:  # the route is gone; its decisions are kept
        one, prices = None, []
    verdict = around.decisive(row)
    exposed = None
    if row.rollout is not None and verdict is not None and verdict.began_at is not None:
        exposed = queries.exposure(row.rollout, verdict.began_at, row.at)
    view = decided.page(
        visit,
        row,
        one,
        measured=queries.lately(environment, since, until, step=step, route=row.route).get(row.route, {}),
        looks=budgets.looks(row.rollout_id, since) if row.rollout_id else [],
        siblings=list(row.rollout.decisions.exclude(kind="hold").order_by("at", "id")[:SIBLINGS])
        if row.rollout
        else [row],
        steps=rollouts.steps(row),
        alert=queries.alert_of(row),
        prices=prices,
        before=queries.entries_before(row),
        exposed=exposed,
    )
    return visit.page("console/decision.html", current="routes", decision=view)
