"""All routes, and the page of one."""

from datetime import datetime, timedelta

from django.http import HttpResponse

from apps.budgets import queries as budgets
from apps.console import queries
from apps.console.presenters import board, presses, rows, standing
from apps.console.visits import Visit, visited
from apps.flags import queries as flags
from apps.rollouts import queries as rollouts
from apps.rollouts.models import Decision, Rollout
from apps.telemetry import queries as telemetry

DAY = timedelta(hours=24)
WINDOWS = (
    (timedelta(hours=1), 60),
    (timedelta(hours=6), 300),
    (DAY, 900),
)  # how far the charts look back, and in which steps
MINUTE = timedelta(minutes=1)
RECENT_CLIENTS = timedelta(minutes=10)


@visited
def every(visit: Visit) -> HttpResponse:
    found = queries.standings(visit.environment.key, visit.now)
    shown = sorted((rows.row(visit, one, None) for one in found), key=lambda row: row.key)
    return visit.page("console/routes.html", current="routes", rows=shown, summary=board.summary(shown))


@visited
def page(visit: Visit, *, key: str) -> HttpResponse:
    environment, now = visit.environment.key, visit.now
    span, step = window_of(visit, key)
    one = queries.standing(environment, key, now, since=now - span, step=step)
    plan, prices = rollouts.way_back(environment, key, now, rollout=presses.to_take_back(one, now))
    decisions: list[Decision] = list(rollouts.decisions(environment, key).order_by("-last_at", "-id")[:60])
    money = queries.budgets_by_route(budgets.budget_status(environment, now))
    compared = None
    if one.rollout is not None and one.rollout.started_at is not None:
        started = one.rollout.started_at
        compared = rollouts.before_after(
            environment, key, before=(started - DAY, started), after=(started, answered_until(one.rollout, now))
        )
    view = standing.page(
        visit,
        one,
        decisions=decisions,
        prices=prices,
        plan=plan,
        budget=money.get(key),
        clients=flags.clients(environment, since=now - RECENT_CLIENTS),
        compared=compared,
        tried=next(iter(telemetry.amplification(environment, now - span, now + MINUTE, key)), None),
        coverage=telemetry.coverage(environment, key, now - span, now + MINUTE),
        since=now - span,
        step=step,
    )
    return visit.page("console/route.html", current="routes", route=view)


def answered_until(rollout: Rollout, now: datetime) -> datetime:
    """How long the candidate is looked at: a finished one has the route, so its first day counts as well."""
    if rollout.ended_at is None:
        return now
    return min(now, rollout.ended_at + DAY) if rollout.state == Rollout.State.FINISHED else rollout.ended_at


def window_of(visit: Visit, key: str) -> tuple[timedelta, int]:
    """As far back as there is something to see, up to a day."""
    started = queries.started_at(visit.environment.key, key)
    age = visit.now - started if started is not None else WINDOWS[0][0]
    return next(((span, step) for span, step in WINDOWS if age <= span * 0.8), WINDOWS[-1])
