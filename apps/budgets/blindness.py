"""Do answers come back? Exposures say how often services were given a variant; requests say how often it answered.

Looked at once a minute, over ten whole minutes, in two queries for a whole shard. Without exposures there is nothing to
compare: that is "not visible", and never called blind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet, Sum

from apps.budgets.domain import judge
from apps.flags.models import Exposure
from apps.telemetry.models import RequestSum

SPAN = timedelta(minutes=10)
LAG = timedelta(minutes=1)  # what is under way is not missing yet
EVERY_SECONDS = 60.0

Key = tuple[str, str, str]  # environment, route, variant


@dataclass(frozen=True, slots=True)
class Asked:
    trial: str
    environment: str
    route: str
    candidate: str
    baseline: str
    since: datetime  # when the present stage began


def blind(asked: Iterable[Asked], now: datetime) -> set[str]:
    """The trials whose candidate is served, and whose answers are missing."""
    until = (now - LAG).replace(second=0, microsecond=0)
    since = until - SPAN
    seen_long_enough = [one for one in asked if one.since <= since]
    if not seen_long_enough:
        return set()
    assigned = _exposures(seen_long_enough, since, until)
    served = [
        one
        for one in seen_long_enough
        if assigned.get((one.environment, one.route, one.candidate), 0) >= judge.LEAST_ASSIGNED
    ]
    if not served:
        return set()
    reported = _requests(served, since, until)

    def counts(one: Asked, variant: str) -> tuple[int, int]:
        key = (one.environment, one.route, variant)
        return assigned.get(key, 0), reported.get(key, 0)

    found = set()
    for one in served:
        (given, answered), (given_baseline, answered_baseline) = counts(one, one.candidate), counts(one, one.baseline)
        if judge.is_blind(
            assigned=given,
            reported=answered,
            assigned_baseline=given_baseline,
            reported_baseline=answered_baseline,
        ):
            found.add(one.trial)
    return found


def of_split(asked: Collection[Asked], since: datetime, until: datetime) -> QuerySet[Exposure]:
    """What services were given of these routes by their split, and not by a rule or a switch."""
    return Exposure.objects.filter(
        environment_id__in={one.environment for one in asked},
        flag__in={one.route for one in asked},
        minute__gte=since,
        minute__lt=until,
        assigned_by="split",
    )


def _exposures(asked: list[Asked], since: datetime, until: datetime) -> dict[Key, int]:
    rows: Any = of_split(asked, since, until).values_list("environment_id", "flag", "variant")
    return {(environment, flag, variant): total for environment, flag, variant, total in rows.annotate(Sum("count"))}


def _requests(asked: list[Asked], since: datetime, until: datetime) -> dict[Key, int]:
    rows: Any = (
        RequestSum.objects.filter(
            environment__in={one.environment for one in asked},
            route__in={one.route for one in asked},
            starts_at__gte=since,
            starts_at__lt=until,
            arm="live",
            assigned_by="split",
        )
        .values_list("environment", "route", "assigned")
        .annotate(total=Sum("requests"))
    )
    return {(environment, route, assigned): total for environment, route, assigned, total in rows}
