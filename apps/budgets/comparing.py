"""Each minute: does the ledger know what holds were settled at?

Reports that stay more than 1 % behind for five minutes are told, and what is missing is booked as an estimated line, so
that every page shows the same sum as the cap. Reports that come later take as much of that line back, in a period that
is over too, as long as calls may still be reported. Narrow budgets come first: what was booked for a route is known
when its owner's budget is looked at.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from apps.budgets import caps, conditions, faults, ledger, repairing
from apps.budgets.conditions import COUNTS, UNVERIFIED
from apps.budgets.domain.admission import MAY_DIFFER
from apps.budgets.domain.periods import Period
from apps.budgets.models import Budget, Hold, HoldPart, Settled
from apps.budgets.repairing import Counts
from apps.core.money import nano_to_text

DIFFERS_AFTER = timedelta(minutes=5)  # clients keep reports back while the door is away
QUIET = timedelta(minutes=10)


def compare(*, now: datetime) -> list[str]:
    """The ids of budgets whose calls are not reported; they go on counting what was settled."""
    found = []
    hard = {budget.id: budget for budget in Budget.objects.hard()}
    over = _over(hard, now)
    for budget in sorted([*hard.values(), *(over.keys() - hard.values())], key=lambda one: (-len(one.scope), one.id)):
        with faults.kept_apart(budget):
            for period in sorted(over.get(budget, ())):
                _compare_in(budget, period, now)
            if budget.id in hard:
                _close_unverified(budget, now)
                if _is_behind(budget, now):
                    found.append(budget.id)
    return found


def _over(hard: dict[str, Budget], now: datetime) -> dict[Budget, set[Period]]:
    """Periods that are over, of whose calls reports may still come, where holds alone told of some. The budget may have
    been ended since, or be a soft one now."""
    lately = now - ledger.CALLS_COME
    is_odd = ~Q(repaired_nano=0) | Q(differs_since__isnull=False) | Q(newest_at__gte=now - QUIET)
    sums = Settled.objects.filter(is_odd, newest_at__gte=lately).values_list("budget", "newest_at")
    expired = HoldPart.objects.filter(hold__state=Hold.State.EXPIRED, hold__expires_at__gte=lately, nano__gt=0)
    asked = {*sums, *expired.values_list("budget", "hold__made_at")}
    budgets = hard | Budget.objects.light().in_bulk({id for id, _ in asked} - hard.keys())
    found: dict[Budget, set[Period]] = {}
    for id, at in asked:
        if (budget := budgets.get(id)) is None:
            continue  # deleted by hand
        with faults.kept_apart(budget):
            if id not in hard or at < caps.counted_period(budget, now).since:
                found.setdefault(budget, set()).add(caps.counted_period(budget, at))
    return found


def _is_behind(budget: Budget, now: datetime) -> bool:
    """Whether reports of the present period have been missing for longer than they may. Told, and told when over."""
    counts, is_behind = _compare_in(budget, caps.counted_period(budget, now), now)
    is_told = conditions.is_told(budget, COUNTS)
    if counts is None or not counts.differ:
        if is_told:
            sentence = f"The ledger knows what was settled for {budget.words}."
            conditions.tell(
                budget, "budget.counts_agree", COUNTS, effect="closes", severity="info", sentence=sentence, now=now
            )
    elif is_behind and not is_told:
        amounts = f"${nano_to_text(counts.settled)} were settled, reports tell of ${nano_to_text(counts.reported)}"
        sentence = f"Calls under the cap of {budget.words} are not reported: {amounts}."
        conditions.tell(
            budget, "budget.counts_differ", COUNTS, effect="opens", severity="error", sentence=sentence, now=now
        )
    return is_behind


def _compare_in(budget: Budget, period: Period, now: datetime) -> tuple[Counts | None, bool]:
    """What is counted in that period, and whether reports have been missing for longer than they may."""
    if not caps.settled_in(budget, period).exists() and not repairing.expired_in(budget, period).exists():
        return None, False
    counts, is_behind = _compare_sums(budget, period, now)
    repairing.net_expired(budget, period, counts, now)
    return counts, is_behind


@transaction.atomic
def _compare_sums(budget: Budget, period: Period, now: datetime) -> tuple[Counts, bool]:
    rows = list(caps.settled_in(budget, period).select_for_update().order_by("period_from"))
    counts = repairing.count(budget, period, rows)
    if not counts.differ:
        for row in rows:
            row.note_difference(None)
        repairing.repair(budget, rows, 0, now)
        return counts, False
    since = min((row.differs_since for row in rows if row.differs_since), default=None)
    if since is None:
        rows[-1].note_difference(now)
    if since is None or now - since < DIFFERS_AFTER:
        return counts, False
    if abs(counts.missing - counts.booked) > counts.settled * MAY_DIFFER:
        repairing.repair(budget, rows, counts.missing, now)
    return counts, True


def _close_unverified(budget: Budget, now: datetime) -> None:
    if conditions.is_told(budget, UNVERIFIED) and not _unverified_lately(budget, now):
        sentence = f"Calls under the cap of {budget.words} ask for room again."
        conditions.tell(
            budget, "budget.spend_verified", UNVERIFIED, effect="closes", severity="info", sentence=sentence, now=now
        )


def _unverified_lately(budget: Budget, now: datetime) -> bool:
    lately = HoldPart.objects.filter(
        budget=budget.id, state=Hold.State.SETTLED, ended_at__gte=now - QUIET, hold__is_unverified=True
    )
    return lately.exists()
