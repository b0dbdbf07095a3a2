"""Hard caps as they stand: what is spent, settled and reserved under each, and whether a call still fits.

Whoever admits a call locks the rows of all hard budgets that count it, in one order. What is spent is always asked of
the ledger; what holds were settled at (`Settled`) stands beside it, and the higher of both counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import DatabaseError, transaction
from django.db.models import Q, QuerySet, Sum

from apps.budgets import ledger
from apps.budgets.domain import admission, periods
from apps.budgets.domain.admission import Cap
from apps.budgets.domain.periods import Period
from apps.budgets.models import Budget, Hold, HoldPart, Settled
from apps.core.money import nano_to_text
from apps.core.refusals import Refused
from apps.telemetry.queries.steps import floor

log = structlog.get_logger()
LEDGER_STAYS = timedelta(seconds=5)
TELEMETRY_TAKES = timedelta(seconds=15)  # from the end of a call until the ledger has it
PIECES = 30  # of a rolling period: whole minutes, as the ledger is kept


class BudgetExceeded(Refused):
    code = "budget_exceeded"
    sentence = "{name} has {left} left of {limit}; {asked} were asked for. {spent} are spent and {reserved} reserved."
    status = 429

    def __init__(self, cap: Cap, nano: int, asked: Sequence[Cap]) -> None:
        self.cap, self.asked = cap, asked
        amounts = {
            "left": cap.left_nano,
            "limit": cap.limit_nano,
            "asked": nano,
            "spent": cap.spent_nano,
            "reserved": cap.reserved_nano,
        }
        super().__init__(name=cap.name, **{key: f"${nano_to_text(value)}" for key, value in amounts.items()})

    @property
    def extra(self) -> dict[str, Any]:
        return cap_dict(self.cap)


class BudgetUnverifiable(Refused):
    code = "budget_unverifiable"
    sentence = "Whether {name} has room cannot be verified now, and it is closed to calls that cannot be verified."
    status = 503

    def __init__(self, cap: Cap) -> None:
        self.cap = cap
        super().__init__(name=cap.name)

    @property
    def extra(self) -> dict[str, Any]:
        return {"budget": self.cap.budget}


def cap_dict(cap: Cap) -> dict[str, Any]:
    return {
        "budget": cap.budget,
        "name": cap.name,
        "limit_usd": nano_to_text(cap.limit_nano),
        "spent_usd": nano_to_text(cap.spent_nano),
        "reserved_usd": nano_to_text(cap.reserved_nano),
        "left_usd": nano_to_text(cap.left_nano),
        "period_to": cap.period_to.isoformat() if cap.period_to else None,
        "on_unreachable": cap.on_unreachable,
        "at_cap": cap.at_cap,
    }


def cap_of(budget: Budget, now: datetime) -> Cap:
    """What this cap has, as far as it can be read. What the ledger said stays for some seconds: what holds came to
    since then is added."""
    cap = Cap(
        budget=budget.id,
        name=budget.name or budget.words,
        limit_nano=budget.limit_nano,
        reserved_nano=0,
        ledger_nano=None,
        on_unreachable=budget.on_unreachable,
        at_cap=budget.at_cap,
    )
    if not budget.is_sound:
        log.error("holds.cap_unreadable", budget=budget.id, why=budget.fault)
        return cap
    period = period_of(budget, now)
    row = settled_row(budget, now)
    try:
        with transaction.atomic():
            if not is_fresh(row, now):
                row.note_ledger(ledger.spent(budget.rule, *period).nano, now)
    except DatabaseError:
        log.exception("holds.ledger_unreadable", budget=budget.id)
        row.ledger_nano, row.ledger_at = None, None
    parts = HoldPart.objects.filter(budget=budget.id)
    return replace(
        cap,
        reserved_nano=sum_of(parts.filter(state=Hold.State.OPEN)),
        ledger_nano=row.ledger_nano,
        settled_lately_nano=ended_lately(parts, row.ledger_at or now),
        settled_nano=sum_of(settled_in(budget, period)),
        period_to=None if periods.is_rolling(budget.period) else period.until,
    )


def is_fresh(row: Settled, now: datetime) -> bool:
    return row.ledger_at is not None and timedelta(0) <= now - row.ledger_at < LEDGER_STAYS


def remember(budget: Budget, cap: Cap, now: datetime) -> None:
    """A refusal has undone what was noted of the ledger: each refused call would ask it anew."""
    if cap.ledger_nano is not None and not is_fresh(row := settled_row(budget, now), now):
        row.note_ledger(cap.ledger_nano, now)


def ended_lately(parts: QuerySet[HoldPart], asked_at: datetime) -> int:
    """What the ledger could not know when it was asked: reports come a little after their hold was settled; expired
    holds, and those without a price, were booked as they ended."""
    ended = parts.filter(state__in=(Hold.State.SETTLED, Hold.State.EXPIRED), ended_at__gte=asked_at - TELEMETRY_TAKES)
    is_booked = Q(state=Hold.State.EXPIRED) | Q(hold__is_unpriced=True)
    return sum_of(ended.filter(~is_booked | Q(ended_at__gt=asked_at)))


def period_of(budget: Budget, now: datetime) -> Period:
    return periods.period_at(budget.rule.period, now, budget.rule.zone)


def settled_row(budget: Budget, now: datetime) -> Settled:
    """Where what is settled now is added: to a hard cap's present period. A rolling one has pieces, and forgets them
    one after the other."""
    since = period_of(budget, now).since
    if (length := periods.ROLLING.get(budget.period)) is not None:
        since = floor(now, piece_of(length))
    row, _ = Settled.objects.get_or_create(budget=budget.id, period_from=since, defaults={"newest_at": now})
    return row


def piece_of(length: timedelta) -> int:
    """In seconds."""
    return int(length.total_seconds()) // PIECES


def counted_period(budget: Budget, now: datetime) -> Period:
    """The period of that moment as far as it is kept whole: a rolling one begins with its first whole piece."""
    period = period_of(budget, now)
    if (length := periods.ROLLING.get(budget.period)) is None:
        return period
    piece = piece_of(length)
    return Period(floor(period.since + timedelta(seconds=piece - 1), piece), period.until)


def settled_in(budget: Budget, period: Period) -> QuerySet[Settled]:
    return Settled.objects.filter(budget=budget.id, period_from__gte=period.since, period_from__lt=period.until)


def may_count(budget: Budget, facts: Mapping[str, str]) -> bool:
    """Whether a call of which these facts are known counts under this cap. One that cannot be read may count any."""
    return not budget.is_sound or ledger.covers(budget.scope, facts)


def admit(budgets: Sequence[Budget], nano: int, now: datetime) -> list[Cap]:
    """Raises where one of them refuses a call of that amount."""
    found = [cap_of(row, now) for row in budgets]
    refusal = admission.refused_by(found, nano)
    if refusal is None:
        return found
    if refusal.is_unverifiable:
        raise BudgetUnverifiable(refusal.cap)
    raise BudgetExceeded(refusal.cap, nano, found)


def locked(environment: str) -> list[Budget]:
    """In one order for everybody: two that reserve under the same caps queue, and never wait for each other."""
    return list(Budget.objects.hard().of(environment).select_for_update())


def sum_of(rows: QuerySet[HoldPart] | QuerySet[Settled]) -> int:
    return int(rows.aggregate(nano=Sum("nano"))["nano"] or 0)
