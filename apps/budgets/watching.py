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


def watch(*, now: datetime) -> list[Anomaly]:
    """Everything that is odd now, in all environments that are not hidden."""
    found: list[Anomaly] = []
    for key in Environment.objects.filter(is_hidden=False).order_by("key").values_list("key", flat=True):
        known = {(row.route, row.kind): row for row in Oddity.objects.filter(environment=key)}
        odd = {(one.route, one.kind): one for one in look(key, set(known), now)}
        for what, one in odd.items():
            _tell_if_new(key, one, known.get(what), now)
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
    hour = telemetry.spend(environment, now - HOUR, until, by=("route",), where={"arm": "live"})
    usual = telemetry.same_hours(environment, now - HOUR / 2, DAYS) if hour else {}
    for row in hour:
        route, priced = row.keys["route"], row.calls - row.unpriced
        was_odd = (route, anomaly.COST) in known
        if one := anomaly.cost(route, row.spent_nano, priced, usual.get(route, ()), was_odd=was_odd):
            yield one
        was_odd = (route, anomaly.ESTIMATED) in known
        if one := anomaly.estimated(route, row.estimated_nano, row.spent_nano, row.calls, was_odd=was_odd):
            yield one


@transaction.atomic
def _tell_if_new(environment: str, one: Anomaly, row: Oddity | None, now: datetime) -> None:
    if row is not None:
        row.look_again(one.as_dict(), now)
        return
    _, is_new = Oddity.objects.get_or_create(
        environment=environment,
        route=one.route,
        kind=one.kind,
        defaults={"began_at": now, "looked_at": now, "facts": one.as_dict()},
    )
    if is_new:
        severity: Severity = "error" if one.is_serious else "warning"
        _tell("money.odd", environment, one.route, one.kind, "opens", severity, one.sentence, one.as_dict(), now)


@transaction.atomic
def _tell_over(row: Oddity, now: datetime) -> None:
    if Oddity.objects.filter(pk=row.pk).delete()[0]:
        sentence = f"No longer so: {row.facts.get('sentence', '')}"
        _tell("money.usual_again", row.environment, row.route, row.kind, "closes", "info", sentence, None, now)


def _tell(
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
