"""Which arm services were given, minute by minute: added up over the present split of each trial.

Minutes are counted once, a minute after they ended; what comes later than that is left out of both arms alike. Where
subjects keep their arm (`bucketing_unit`), a few busy ones decide the ratio, and nothing is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Max, Sum

from apps.budgets.blindness import LAG, Asked, of_split
from apps.budgets.domain.trial import Assigned, Trial
from apps.flags.models import Route, Split

AT_ONCE = timedelta(hours=6)  # after a pause of the worker

Where = tuple[str, str]  # environment, route


def count(asked: Sequence[Asked], trials: Mapping[str, Trial], now: datetime) -> None:
    """Adds the minutes that are new to each trial's counts; another split begins anew."""
    if not asked:
        return
    until = (now - LAG).replace(second=0, microsecond=0)
    since_version = _splits(asked)
    for one in asked:
        trial, version = trials[one.trial], since_version.get((one.environment, one.route))
        if version is None:
            trial.assigned = None
        elif trial.assigned is None or trial.assigned.since_version != version:
            trial.assigned = Assigned(version, until.timestamp())
    known = [(one, assigned) for one in asked if (assigned := trials[one.trial].assigned) is not None]
    if not known:
        return
    begin = max(min(assigned.until for _, assigned in known), (until - AT_ONCE).timestamp())
    given = _exposures([one for one, _ in known], datetime.fromtimestamp(begin, UTC), until)
    for one, assigned in known:
        for variant, snapshot, minute, n in given.get((one.environment, one.route), ()):
            if snapshot >= assigned.since_version and minute.timestamp() >= assigned.until:
                assigned.candidate += n if variant == one.candidate else 0
                assigned.baseline += n if variant == one.baseline else 0
        assigned.until = max(assigned.until, until.timestamp())


def _splits(asked: Sequence[Asked]) -> dict[Where, int]:
    """Since which version the present split is in force, of routes that assign each request anew."""
    environments, keys = {one.environment for one in asked}, {one.route for one in asked}
    per_request = Route.objects.filter(
        flag__environment_id__in=environments, flag__key__in=keys, bucketing_unit="request"
    ).values_list("flag__environment_id", "flag__key")
    rows = Split.objects.filter(environment_id__in=environments, flag__in=keys)
    newest = rows.values_list("environment_id", "flag").annotate(Max("since_version"))
    each = set(per_request)
    return {(environment, flag): version for environment, flag, version in newest if (environment, flag) in each}


def _exposures(
    asked: Sequence[Asked], since: datetime, until: datetime
) -> dict[Where, list[tuple[str, int, datetime, int]]]:
    rows: Any = of_split(asked, since, until).values_list("environment_id", "flag", "variant", "snapshot", "minute")
    found: dict[Where, list[tuple[str, int, datetime, int]]] = {}
    for environment, flag, *given in rows.annotate(Sum("count")):
        found.setdefault((environment, flag), []).append(tuple(given))
    return found
