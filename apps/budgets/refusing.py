"""A hard cap that refuses calls is told to people: once when it begins, and when calls pass again.

A refusal undoes its own transaction, so it is noted after it; a cap that goes on refusing is noted once a minute.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.db import transaction

from apps.budgets import caps, conditions
from apps.budgets.caps import BudgetExceeded
from apps.budgets.conditions import REFUSES
from apps.budgets.domain.admission import Cap
from apps.budgets.models import Budget
from apps.core import metrics
from apps.core.money import nano_to_text

AGAIN = timedelta(minutes=1)


@contextmanager
def noted(now: datetime) -> Iterator[None]:
    """Around a transaction that asks for room."""
    try:
        yield
    except BudgetExceeded as refusal:
        budgets = Budget.objects.light().in_bulk([cap.budget for cap in refusal.asked])
        for cap in refusal.asked:
            caps.remember(budgets[cap.budget], cap, now)
        _note(budgets[refusal.cap.budget], refusal.cap, now)
        raise


def _note(budget: Budget, cap: Cap, now: datetime) -> None:
    metrics.calls_refused.labels(budget.environment, budget.id).inc()
    if budget.refused_at is not None and now - budget.refused_at < AGAIN:
        return
    amounts = f"${nano_to_text(cap.left_nano)} are left of ${nano_to_text(cap.limit_nano)}"
    sentence = f"Calls under the cap of {budget.words} are refused: {amounts}."
    with transaction.atomic():
        if budget.note_refusal(now) and not conditions.is_told(budget, REFUSES):
            conditions.tell(
                budget, "budget.refuses", REFUSES, effect="opens", severity="critical", sentence=sentence, now=now
            )


def passed(budgets: Iterable[Budget], now: datetime) -> None:
    """A call has passed their caps, whose rows are locked: is that so again?"""
    for budget in budgets:
        if budget.refused_at is not None and now - budget.refused_at >= AGAIN:
            _tell_over(budget, f"Calls pass the cap of {budget.words} again.", now)


def end_with_period(budget: Budget, now: datetime) -> None:
    """What was refused in a period that is over is not refused now, though nobody may have asked since."""
    if budget.refused_at is not None and budget.refused_at < caps.period_of(budget, now).since:
        _tell_over(budget, f"A new period of the cap of {budget.words} has begun.", now)


@transaction.atomic
def _tell_over(budget: Budget, sentence: str, now: datetime) -> None:
    if budget.note_refusal(None):
        conditions.close(budget, REFUSES, sentence=sentence, because=sentence, now=now)
