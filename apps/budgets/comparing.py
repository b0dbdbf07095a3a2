"""Each minute: does the ledger know what holds were settled at?

Reports that stay more than 1 % behind for five minutes are told, and what is missing is booked as an estimated line, so
that every page shows the same sum as the cap. Reports that come later take as much of that line back. Narrow budgets
come first: what was booked for a route is known when its owner's budget is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.db import transaction

from apps.budgets import caps, conditions, ledger
from apps.budgets.conditions import COUNTS, UNVERIFIED
from apps.budgets.domain import admission
from apps.budgets.models import Budget, Hold, HoldPart, Settled
from apps.core.actors import WORKER
from apps.core.money import nano_to_text
from apps.journal import services as journal
from apps.telemetry import booking

DIFFERS_AFTER = timedelta(minutes=5)  # clients keep reports back while the door is away
QUIET = timedelta(minutes=10)
FEW_HOLDS = 500


def compare(*, now: datetime) -> list[str]:
    """The ids of budgets whose calls are not reported; they go on counting what was settled."""
    found = []
    for budget in sorted(Budget.objects.hard(), key=lambda one: (-len(one.scope), one.id)):
        if conditions.is_told(budget, UNVERIFIED) and not _unverified_lately(budget, now):
            sentence = f"Calls under the cap of {budget.rule.scope_words} ask for room again."
            conditions.tell(
                budget,
                "budget.spend_verified",
                UNVERIFIED,
                effect="closes",
                severity="info",
                sentence=sentence,
                now=now,
            )
        if _compare_one(budget, now):
            found.append(budget.id)
    return found


@transaction.atomic
def _compare_one(budget: Budget, now: datetime) -> bool:
    """Whether reports have been missing for longer than they may."""
    period = caps.period_of(budget, now)
    rows = list(caps.settled_in(budget, period).select_for_update().order_by("period_from"))
    if not rows:
        _close_if_told(budget, now)
        return False
    settled, booked = sum(row.nano for row in rows), sum(row.repaired_nano for row in rows)
    reported = ledger.spent(budget.rule, *period).nano - booked
    if not admission.differs(reported, settled):
        for row in rows:
            row.note_difference(None)
        _close_if_told(budget, now)
        _repair(budget, rows, 0, now)
        return False
    newest, since = rows[-1], min((row.differs_since for row in rows if row.differs_since), default=None)
    if since is None:
        newest.note_difference(now)
    if since is None or now - since < DIFFERS_AFTER:
        return False
    if not conditions.is_told(budget, COUNTS):
        amounts = f"${nano_to_text(settled)} were settled, reports tell of ${nano_to_text(reported)}"
        sentence = f"Calls under the cap of {budget.rule.scope_words} are not reported: {amounts}."
        conditions.tell(
            budget, "budget.counts_differ", COUNTS, effect="opens", severity="error", sentence=sentence, now=now
        )
    missing = settled - reported
    if abs(missing - booked) > settled * admission.MAY_DIFFER:
        _repair(budget, rows, missing, now)
    return True


def _close_if_told(budget: Budget, now: datetime) -> None:
    if conditions.is_told(budget, COUNTS):
        sentence = f"The ledger knows what was settled for {budget.rule.scope_words}."
        conditions.tell(
            budget, "budget.counts_agree", COUNTS, effect="closes", severity="info", sentence=sentence, now=now
        )


def _repair(budget: Budget, rows: Sequence[Settled], nano: int, now: datetime) -> None:
    """So much of what was settled is missing in reports: it is booked, and what was booked before is taken back."""
    before = sum(row.repaired_nano for row in rows)
    if nano == before:
        return
    for row in rows:
        if row.repaired_nano:
            _book(budget, -row.repaired_nano, row.repaired_as)
            row.note_repair(0, {})
    if nano:
        line = {"at": rows[-1].newest_at.isoformat(), **_in_common(budget)}
        _book(budget, nano, line)
        rows[-1].note_repair(nano, line)
    did, why = "booked as estimated", "holds were settled at them, and no report tells of them"
    if nano < before:
        did, why = "taken back", "reports tell of the calls"
    journal.record(
        "budget.counts_repaired",
        environment=budget.environment,
        by=WORKER,
        because=f"${nano_to_text(abs(nano - before))} are {did} for {budget.rule.scope_words}: {why}.",
        about={"budget": budget.id} | ({"route": budget.scope["route"]} if "route" in budget.scope else {}),
        now=now,
        before={"booked_usd": nano_to_text(before)},
        after={"booked_usd": nano_to_text(nano)},
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


def _unverified_lately(budget: Budget, now: datetime) -> bool:
    lately = HoldPart.objects.filter(
        budget=budget.id, state=Hold.State.SETTLED, ended_at__gte=now - QUIET, hold__is_unverified=True
    )
    return lately.exists()
