"""Spend that is reported after its period was over: told for as long as calls may come, and never acted on.

A call counts in the minute in which it ended, however late it is reported, so no tick of its own period saw it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from django.db import transaction

from apps.budgets import caps, conditions, faults, ledger
from apps.budgets.conditions import LATE
from apps.budgets.domain import money, periods
from apps.budgets.domain.periods import Period
from apps.budgets.domain.thresholds import AT, Threshold
from apps.budgets.models import Budget
from apps.journal.models import Entry
from apps.telemetry import queries as telemetry

SECOND = timedelta(seconds=1)
Late = dict[str, list[str]]  # by the beginning of a period, the names of thresholds that were told late


def watch(*, now: datetime) -> None:
    rows = [row for row in Budget.objects.in_force().light().order_by("id") if row.is_sound]
    asked = ledger.Asked((row.rule for row in rows), now)
    for row in rows:
        if not periods.is_rolling(row.period):
            with faults.kept_apart(row):
                _watch_one(row, asked, now)


def _watch_one(row: Budget, asked: ledger.Asked, now: datetime) -> None:
    rule = row.rule
    actual = [threshold for threshold in rule.thresholds if threshold.kind == AT]
    over = list(_over(row, now)) if actual else []
    late: Late = {}
    for period, nano in zip(over, _spent_in(rule, over, asked), strict=True):
        name = period.since.isoformat()
        known = row.late.get(name, [])
        crossed = [threshold for threshold in actual if nano >= threshold.level * rule.limit_nano]
        new = [one for one in crossed if one.name not in known and not _was_told_in_time(row, one, period)]
        if new:
            _tell(row, period, nano, max(new, key=lambda one: one.level), now)
        if names := [*known, *(one.name for one in new)]:
            late[name] = names
    sentence = f"Late spend of {rule.scope_words} is told no longer: the period is final, or the budget changed."
    final = (f"{LATE}{name}" for name in row.late.keys() - late.keys())
    conditions.close(row, *final, sentence=sentence, because=sentence, now=now)
    if late != row.late:
        row.note_late(late)


def _over(row: Budget, now: datetime) -> Iterator[Period]:
    """Periods of which reports may still come, the newest first; as far back as the budget was what it is now."""
    period = caps.period_of(row, now)
    while True:
        period = caps.period_of(row, period.since - SECOND)
        if period.until <= max(now - ledger.CALLS_COME, row.changed_at):
            return
        yield period


def _spent_in(rule: money.Rule, over: Sequence[Period], asked: ledger.Asked) -> list[int]:
    if rule.period != "hour" or not over:
        return [asked.spent(rule, *period).nano for period in over]
    # Two days of hours at once. In quarters, since not all zones begin theirs at the full hour of UTC.
    span, named = Period(over[-1].since, over[0].until), ledger.where(rule)
    quarters = telemetry.spend(rule.environment, *span, where=named, step="15m")
    return [sum(one.spent_nano for one in quarters if since <= one.since < until) for since, until in over]


def _was_told_in_time(row: Budget, threshold: Threshold, period: Period) -> bool:
    told = Entry.objects.of_environment(row.environment).filter(condition=f"budget:{row.id}:{threshold.name}")
    return told.filter(effect=Entry.Effect.OPENS, at__gte=period.since, at__lt=period.until).exists()


@transaction.atomic
def _tell(row: Budget, period: Period, nano: int, threshold: Threshold, now: datetime) -> None:
    rule = row.rule
    ended = period.until.astimezone(rule.zone)
    spent = f"{money.dollars(nano)} of {money.dollars(rule.limit_nano)} ({threshold.words})"
    sentence = f"Late spend: {rule.scope_words} spent {spent} in the {row.period} that ended {ended:%Y-%m-%d %H:%M %Z}."
    conditions.tell(
        row,
        "budget.late_spend",
        f"{LATE}{period.since.isoformat()}",
        effect="opens",
        severity="error" if threshold.level >= 1 else "warning",
        sentence=sentence,
        because="It was reported after its period was over: nothing acts on that.",
        now=now,
    )
