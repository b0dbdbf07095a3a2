"""A budget that cannot be judged: it must not stop the next one, and is told once that has lasted three ticks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import DatabaseError

from apps.budgets import conditions
from apps.budgets.conditions import UNREADABLE
from apps.budgets.models import Budget
from apps.core import metrics

log = structlog.get_logger()
TICKS = 3  # one may fail for a moment


@contextmanager
def kept_apart(budget: Budget) -> Iterator[None]:
    try:
        yield
    except Exception:  # the edge: one budget's fault must not stop the next
        log.exception("budgets.fault", budget=budget.id)
        metrics.faults.inc()


def is_lasting(since: datetime | None, now: datetime) -> bool:
    return since is not None and now - since >= timedelta(seconds=TICKS * settings.TICK_SECONDS)


def note(budget: Budget, now: datetime) -> None:
    if budget.faulty_since is None:
        budget.note_fault(now)
    elif is_lasting(budget.faulty_since, now) and not conditions.is_told(budget, UNREADABLE):
        sentence = f"The budget of {budget.words} cannot be read: it is not judged until that is put right."
        conditions.tell(
            budget, "budget.unreadable", UNREADABLE, effect="opens", severity="error", sentence=sentence, now=now
        )


def note_none(budget: Budget, now: datetime) -> None:
    if budget.faulty_since is not None:
        budget.note_fault(None)
        sentence = f"The budget of {budget.words} is judged again."
        conditions.close(budget, UNREADABLE, sentence=sentence, because=sentence, now=now)


def note_all(*, now: datetime) -> None:
    """None was judged. Where this cannot be written either, ticks fall silent, and the watchman tells that."""
    try:
        Budget.objects.in_force().filter(faulty_since=None).update(faulty_since=now)
    except DatabaseError:
        log.exception("budgets.fault_not_noted")
