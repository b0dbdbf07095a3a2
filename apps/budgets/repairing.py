"""What holds alone tell of, as estimated lines of the ledger: booked while reports are missing, else taken back.

Two kinds: what was settled and never reported, and holds that expired though (some of) their calls were reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Q, QuerySet

from apps.budgets import caps, holding, ledger
from apps.budgets.domain import admission
from apps.budgets.domain.periods import Period
from apps.budgets.models import Budget, Hold, HoldPart, Settled
from apps.core.actors import WORKER
from apps.core.money import nano_to_text
from apps.journal import services as journal
from apps.telemetry import booking

FEW_HOLDS = 500


@dataclass(frozen=True, slots=True)
class Counts:
    """What holds and reports say of one budget's period, in nano-USD."""

    settled: int  # by holds that were made and settled in it
    maybe_reported: int  # by all other holds whose calls may lie in it: open ones, and those across its ends
    reported: int  # by calls
    booked: int  # for settled holds that no report tells of

    @property
    def differ(self) -> bool:
        return admission.differs(max(self.reported, 0), self.settled)

    @property
    def missing(self) -> int:
        return self.settled - self.reported

    @property
    def by_expired(self) -> int:
        """What is reported and no other hold accounts for: at least so much is of calls whose holds expired."""
        return max(self.reported - self.settled - self.maybe_reported, 0)


def count(budget: Budget, period: Period, rows: Sequence[Settled]) -> Counts:
    """`rows`: its sums, locked, so that no hold is settled in between.

    The ledger has a call in the minute in which it ended, a hold is settled a little later: one that was made before
    the period may be reported in the one before, and cannot be compared with either.
    """
    settled, booked = sum(row.nano for row in rows), sum(row.repaired_nano for row in rows)
    from_before = rows[0].from_before_nano if rows else 0
    parts = HoldPart.objects.filter(budget=budget.id, hold__made_at__lt=period.until)
    ends_later = Q(state=Hold.State.OPEN) | Q(state=Hold.State.SETTLED, ended_at__gte=period.until)
    return Counts(
        settled=settled - from_before,
        maybe_reported=from_before + caps.sum_of(parts.filter(ends_later)),
        reported=ledger.spent(budget.rule, *period).nano - booked - caps.sum_of(expired_in(budget, period)),
        booked=booked,
    )


def expired_in(budget: Budget, period: Period) -> QuerySet[HoldPart]:
    """Their lines stand where they were made."""
    expired = HoldPart.objects.filter(budget=budget.id, state=Hold.State.EXPIRED)
    return expired.filter(hold__made_at__gte=period.since, hold__made_at__lt=period.until)


def repair(budget: Budget, rows: Sequence[Settled], nano: int, now: datetime) -> None:
    """So much of what was settled is missing in reports: it is booked, and what was booked before is taken back."""
    before = sum(row.repaired_nano for row in rows)
    if nano == before:
        return
    take_back(budget, rows)
    if nano:
        line = {"at": rows[-1].newest_at.isoformat(), **_in_common(budget)}
        _book(budget, nano, line)
        rows[-1].note_repair(nano, line)
    if nano < before:
        _record(budget, before, nano, now, why="reports tell of the calls")
    else:
        _record(budget, before, nano, now, why="holds were settled at them, and no report tells of them")


def take_back(budget: Budget, rows: Sequence[Settled]) -> None:
    for row in rows:
        if row.repaired_nano:
            _book(budget, -row.repaired_nano, row.repaired_as)
            row.note_repair(0, {})


def start_over(budget: Budget, *, has_other_calls: bool, now: datetime) -> None:
    """Before its scope, period or zone changes: what holds came to was of other calls, or of another time."""
    rows = list(Settled.objects.select_for_update().filter(budget=budget.id))
    booked = sum(row.repaired_nano for row in rows)
    take_back(budget, rows)
    if booked:
        _record(budget, booked, 0, now, why="the budget changed, and counts anew from here on")
    Settled.objects.filter(budget=budget.id).delete()
    if has_other_calls:
        HoldPart.objects.filter(budget=budget.id).exclude(state=Hold.State.OPEN).delete()


@transaction.atomic
def net_expired(budget: Budget, period: Period, counts: Counts, now: datetime) -> None:
    """A hold that expired was booked whole. What calls of it were reported is taken back from that, never more."""
    if not counts.by_expired:
        return
    parts = expired_in(budget, period)
    holds = Hold.objects.select_for_update().filter(pk__in=parts.values("hold"), state=Hold.State.EXPIRED)
    found = list(holds.order_by("id"))
    booked = sum(hold.booked_nano for hold in found)
    left = spare = min(counts.by_expired - (sum(hold.nano for hold in found) - booked), booked)
    for hold in found:
        if left > 0 and (nano := min(hold.booked_nano, left)):
            holding.take_back(hold, nano)
            left -= nano
    if spare > 0:
        _record(budget, booked, booked - spare, now, why="reports tell of calls whose holds had expired")


def _record(budget: Budget, before: int, after: int, now: datetime, *, why: str) -> None:
    did = "taken back" if after < before else "booked as estimated"
    about = {"budget": budget.id} | ({"route": budget.route} if budget.route else {})
    journal.record(
        "budget.counts_repaired",
        environment=budget.environment,
        by=WORKER,
        because=f"${nano_to_text(abs(after - before))} are {did} for {budget.words}: {why}.",
        about=about,
        now=now,
        before={"booked_usd": nano_to_text(before)},
        after={"booked_usd": nano_to_text(after)},
    )


def _book(budget: Budget, nano: int, line: Mapping[str, str]) -> None:
    facts = {name: value for name, value in line.items() if name not in ("at", "rollout")}
    booking.book_estimate(
        environment=budget.environment,
        at=datetime.fromisoformat(line["at"]),
        nano=nano,
        calls=0,
        rule=booking.UNREPORTED_HOLDS,
        trial=line.get("rollout", ""),
        **facts,
    )


def _in_common(budget: Budget) -> dict[str, str]:
    """What is the same of all calls that were held under this cap lately."""
    parts = HoldPart.objects.filter(budget=budget.id, state=Hold.State.SETTLED).order_by("-id")[:FEW_HOLDS]
    facts: list[dict[str, str]] = [part.hold.scope for part in parts.select_related("hold")] or [{}]
    same = {name: value for name, value in facts[0].items() if all(one.get(name) == value for one in facts)}
    return {**same, **budget.scope}
