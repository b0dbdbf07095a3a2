"""Oddities of money, looked for each minute: each is told when it begins, and when it is over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Literal

from django.db import transaction

from apps.access.models import Environment
from apps.budgets.domain import anomaly
from apps.budgets.domain.anomaly import Anomaly
from apps.budgets.models import Oddity
from apps.core.actors import WORKER
from apps.flags import queries as flags
from apps.journal import services as journal
from apps.journal.services import Condition, Severity
from apps.telemetry import queries as telemetry

HOUR = timedelta(hours=1)
LATELY = timedelta(minutes=5)
DAYS = 28
TOLD = "told"  # among the facts: those that people were told last


def watch(*, now: datetime) -> list[Anomaly]:
    """Everything that is odd now, in all environments that are not hidden."""
    found: list[Anomaly] = []
    for key in Environment.objects.filter(is_hidden=False).order_by("key").values_list("key", flat=True):
        known = {(row.route, row.kind): row for row in Oddity.objects.filter(environment=key)}
        odd = {(one.route, one.kind): one for one in look(key, set(known), now)}
        for one in odd.values():
            _tell(key, one, now)
        for what in known.keys() - odd.keys():
            _tell_over(known[what], now)
        found += odd.values()
    return found


def look(environment: str, known: set[tuple[str, str]], now: datetime) -> Iterator[Anomaly]:
    until = now + timedelta(minutes=1)
    for tried in telemetry.attempts(environment, now - LATELY, until):
        was_odd = (tried.route, anomaly.AMPLIFICATION) in known
        if one := anomaly.amplification(tried.route, tried.attempts, tried.requests, was_odd=was_odd):
            yield one
    was_dear = {route for route, kind in known if kind == anomaly.COST}
    yield from dear(environment, was_dear, now, until)
    for row in telemetry.spend(environment, now - HOUR, until, by=("route",)):
        route = row.keys["route"]
        was_odd = (route, anomaly.ESTIMATED) in known
        if one := anomaly.estimated(route, row.estimated_nano, row.spent_nano, row.calls, was_odd=was_odd):
            yield one


def dear(environment: str, was_dear: set[str], now: datetime, until: datetime) -> Iterator[Anomaly]:
    """Routes whose requests cost what they usually do not; by the call where a route tells of no requests."""
    lines = telemetry.spend(environment, now - HOUR, until, by=("route",), where={"arm": "live"})
    calls = {row.keys["route"]: row for row in lines if row.calls - row.unpriced >= anomaly.LEAST_CALLS}
    if not calls:
        return
    then = now - HOUR / 2
    of_calls = telemetry.same_hours(environment, then, DAYS)
    requests = telemetry.costs_by_route(environment, calls, now - HOUR, until)
    asked = [
        route
        for route, cost in requests.items()
        if route in was_dear or anomaly.may_be_odd(*cost, of_calls.get(route, ()))
    ]
    of_requests = telemetry.requests_in_same_hours(environment, asked, then, DAYS)
    for route, row in calls.items():
        priced, was_odd = row.calls - row.unpriced, route in was_dear
        if route in requests:
            usual = of_requests.get(route, ())
            one = anomaly.cost(route, *requests[route], priced, usual, was_odd=was_odd)
        else:
            usual = of_calls.get(route, ())
            one = anomaly.cost(route, row.spent_nano, priced, priced, usual, of=anomaly.CALL, was_odd=was_odd)
        if one:
            yield one


@transaction.atomic
def _tell(environment: str, one: Anomaly, now: datetime) -> None:
    """When it begins, and again when it has become much worse: what was told then would be taken for small."""
    facts = one.as_dict()
    row, is_new = Oddity.objects.select_for_update().get_or_create(
        environment=environment,
        route=one.route,
        kind=one.kind,
        defaults={"began_at": now, "looked_at": now, "facts": facts | {TOLD: facts}},
    )
    told = row.facts.get(TOLD) or row.facts
    is_worse = one.is_worse_than(told)
    if not is_new:
        row.look_again(facts | {TOLD: facts if is_worse else told}, now)
    if is_new or is_worse:
        severity: Severity = "error" if one.is_serious else "warning"
        _record("money.odd", environment, one.route, one.kind, "opens", severity, one.sentence, facts, now)


@transaction.atomic
def _tell_over(row: Oddity, now: datetime) -> None:
    if Oddity.objects.filter(pk=row.pk).delete()[0]:
        sentence = f"No longer so: {row.facts.get('sentence', '')}"
        _record("money.usual_again", row.environment, row.route, row.kind, "closes", "info", sentence, None, now)


def _record(
    kind: str,
    environment: str,
    route: str,
    what: str,
    effect: Literal["opens", "closes"],
    severity: Severity,
    sentence: str,
    after: dict[str, Any] | None,
    now: datetime,
) -> None:
    view = next(iter(flags.routes(environment, [route])), None)
    journal.record(
        kind,
        environment=environment,
        by=WORKER,
        because=sentence,
        about={"route": route},
        now=now,
        after=after,
        condition=Condition(
            key=f"money-{what}:{route}",
            effect=effect,
            severity=severity,
            sentence=sentence,
            route=route,
            owner=view.owner if view else "",
            link=f"/routes/{route}/",
            runbook=view.runbook if view else "",
        ),
    )
