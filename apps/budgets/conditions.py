"""Conditions of a budget, its thresholds among them: each is told when it opens, and when it is over."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from apps.budgets.domain import periods
from apps.budgets.models import Budget
from apps.core.actors import WORKER
from apps.flags import queries as flags
from apps.journal import services as journal
from apps.journal.models import Entry
from apps.journal.services import Condition, Severity

COUNTS = "counts"  # what was settled and what was reported are not the same
UNVERIFIED = "unverified"  # calls are made without asking
REFUSES = "refuses"  # calls are not made
UNREADABLE = "unreadable"  # it is not judged
LATE = "late:"  # and the beginning of a period that was over, and has spent more than was known

OF_HARD_CAPS = (COUNTS, UNVERIFIED, REFUSES)
OF_ALL = (*OF_HARD_CAPS, UNREADABLE)


def is_told(budget: Budget, name: str) -> bool:
    entries = Entry.objects.of_environment(budget.environment).filter(condition=f"budget:{budget.id}:{name}")
    newest = entries.newest_first().first()
    return newest is not None and newest.effect == Entry.Effect.OPENS


def tell(
    budget: Budget,
    kind: str,
    name: str,
    *,
    effect: Literal["opens", "closes"],
    severity: Severity,
    sentence: str,
    now: datetime,
    because: str = "",
    after: Any = None,
) -> None:
    """`because`: why, where the sentence does not say so."""
    route = budget.route
    about = {"budget": budget.id} | ({"route": route} if route else {})
    if not budget.scope and budget.period != periods.REQUEST:
        about["environment"] = budget.environment  # all that its routes spend
    view = next(iter(flags.routes(budget.environment, [route])), None) if route else None
    journal.record(
        kind,
        environment=budget.environment,
        by=WORKER,
        because=because or sentence,
        about=about,
        now=now,
        after=after,
        condition=Condition(
            key=f"budget:{budget.id}:{name}",
            effect=effect,
            severity=severity,
            sentence=sentence,
            route=route,
            owner=budget.owner,
            link=f"/budgets/{budget.id}/",
            runbook=view.runbook if view else "",
        ),
    )


def close(budget: Budget, *names: str, sentence: str, because: str, now: datetime) -> None:
    """Those of them that are open: there is nothing to be told about them any more."""
    for name in names:
        if is_told(budget, name):
            tell(
                budget,
                "budget.recovered",
                name,
                effect="closes",
                severity="info",
                sentence=sentence,
                because=because,
                now=now,
            )
