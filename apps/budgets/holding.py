"""Holds on hard caps: money is set aside before a call is made, and settled once it is known what the call cost.

Who holds locks the rows of all hard budgets that count the call, in one order, looks, and writes: all of them or none,
so parallel requests never see the same room twice. A hold ends once, by compare and swap. One that nobody settled
becomes an estimated line of the ledger: the call may well have been made. What is spent is always asked of the ledger;
there is no counter that could be lost, leak, or be seeded twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import DatabaseError, transaction
from django.db.models import Sum

from apps.budgets import ledger
from apps.budgets.domain import admission, periods
from apps.budgets.domain.admission import Cap
from apps.budgets.models import Budget, Hold, HoldPart, Settled
from apps.core.actors import WORKER
from apps.core.money import nano_to_text
from apps.core.refusals import Invalid, NotFound, Refused
from apps.flags import queries as flags
from apps.journal import services as journal
from apps.journal.models import Entry
from apps.journal.services import Condition
from apps.telemetry import booking

log = structlog.get_logger()
FACTS = ("route", "variant", "model", "provider", "owner", "tag", "rollout", "arm")
LONGEST = timedelta(hours=24)
LEDGER_STAYS = timedelta(seconds=5)
TELEMETRY_TAKES = timedelta(seconds=15)  # from the end of a call until the ledger has it
DIFFERS_AFTER = timedelta(minutes=5)  # clients keep reports back while the door is away
QUIET = timedelta(minutes=10)
COUNTS, UNVERIFIED = "counts", "unverified"  # conditions of a budget
HOLDS_STAY = timedelta(days=7)
AT_ONCE = 500


class BudgetExceeded(Refused):
    code = "budget_exceeded"
    sentence = "{name} has {left} left of {limit}; {asked} were asked for. {spent} are spent and {reserved} reserved."
    status = 429

    def __init__(self, cap: Cap, nano: int) -> None:
        self.cap = cap
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


class HoldIsThere(Refused):
    code = "hold_is_there"
    sentence = "There is a hold {key} of {usd} already, and it is {state}."


class HoldHasEnded(Refused):
    code = "hold_has_ended"
    sentence = "The hold {key} was {state} at {usd}."


@dataclass(frozen=True, slots=True)
class Held:
    """A hold, and what is left under each cap that counts it."""

    hold: Hold
    caps: tuple[Cap, ...]
    is_repeat: bool = False


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


@transaction.atomic
def reserve(
    *, environment: str, hold: str, scope: Mapping[str, str], nano: int, expires_at: datetime, owner: str, now: datetime
) -> Held:
    """All caps that count a call of that scope, or none. The same hold again is answered as the first time."""
    facts = _checked(environment, scope, nano, expires_at, now)
    budgets = [row for row in _locked(environment) if ledger.covers(row.scope, facts)]
    known = Hold.objects.filter(environment=environment, key=hold).first()
    if known is not None:
        if known.state != Hold.State.OPEN or known.nano != nano:
            raise HoldIsThere(key=hold, usd=f"${nano_to_text(known.nano)}", state=known.state)
        return Held(known, tuple(cap_of(row, now) for row in budgets), is_repeat=True)
    caps = _admit(budgets, nano, now)
    row = Hold.objects.create(
        environment=environment, key=hold, owner=owner, scope=facts, nano=nano, made_at=now, expires_at=expires_at
    )
    HoldPart.objects.bulk_create(HoldPart(hold=row, budget=cap.budget, state=row.state, nano=nano) for cap in caps)
    return Held(row, tuple(caps))


@transaction.atomic
def extend(*, environment: str, hold: str, nano: int | None, expires_at: datetime | None, now: datetime) -> Held:
    """More time, or more money under the same caps: all of it or none."""
    row = _hold(environment, hold)
    if row.state != Hold.State.OPEN:
        raise HoldHasEnded(key=hold, state=row.state, usd=f"${nano_to_text(row.settled_nano or 0)}")
    until, more = expires_at or row.expires_at, (nano or row.nano) - row.nano
    _checked(environment, row.scope, row.nano + more, until, now)
    parts = set(row.parts.values_list("budget", flat=True))
    budgets = [budget for budget in _locked(environment) if budget.id in parts]
    caps = _admit(budgets, more, now) if more > 0 else [cap_of(budget, now) for budget in budgets]
    row.extend(nano=row.nano + more, expires_at=until)
    return Held(row, tuple(caps))


@transaction.atomic
def settle(*, environment: str, hold: str, nano: int | None, now: datetime) -> Hold:
    """Once. `nano` None: the call was made, and nobody knows its price; it is settled at all that was held."""
    row = _hold(environment, hold)
    actual = row.nano if nano is None else nano
    if row.state == Hold.State.SETTLED:
        if row.settled_nano == actual:
            return row  # the answer was lost: the same again
        raise HoldHasEnded(key=hold, state=row.state, usd=f"${nano_to_text(row.settled_nano or 0)}")
    was = Hold.State(row.state)
    if not row.end(Hold.State.SETTLED, was=was, nano=actual, now=now, is_unpriced=nano is None):
        raise HoldHasEnded(key=hold, state="ended", usd="another amount")
    if was == Hold.State.EXPIRED:  # it was given up too early: what was booked for it is taken back
        _book(row, -row.nano, calls=-1, rule=booking.EXPIRED_HOLD)
    if nano is None:  # the report of the call brings no price, so it cannot be booked twice
        _book(row, row.nano, calls=0, rule=booking.UNPRICED_HOLD)
    _add_settled(row, actual, now)
    return row


@transaction.atomic
def settle_unverified(
    *, environment: str, hold: str, scope: Mapping[str, str], nano: int, owner: str, now: datetime
) -> Hold:
    """A call that was made while nobody could be asked, told afterwards: it counts, and people are told."""
    facts = _checked(environment, scope, nano, now + timedelta(seconds=1), now)
    row, is_new = Hold.objects.get_or_create(
        environment=environment,
        key=hold,
        defaults={
            "owner": owner,
            "scope": facts,
            "nano": nano,
            "state": Hold.State.SETTLED,
            "made_at": now,
            "expires_at": now,
            "ended_at": now,
            "settled_nano": nano,
            "is_unverified": True,
        },
    )
    if not is_new:
        return settle(environment=environment, hold=hold, nano=nano, now=now)
    budgets = [budget for budget in Budget.objects.hard().of(environment) if ledger.covers(budget.scope, facts)]
    HoldPart.objects.bulk_create(
        HoldPart(hold=row, budget=budget.id, state=row.state, nano=nano, ended_at=now) for budget in budgets
    )
    _add_settled(row, nano, now)
    for budget in budgets:
        if not _is_told(budget, UNVERIFIED):
            sentence = f"Calls under the cap of {budget.rule.scope_words} were made without asking for room."
            _tell(budget, "budget.spend_unverified", UNVERIFIED, "opens", "warning", sentence, now)
    return row


def expire(*, now: datetime) -> int:
    """Holds that nobody settled in time: their money counts as spent, estimated, until somebody knows better."""
    due = list(Hold.objects.due(now)[:AT_ONCE])
    return sum(_expire_one(row, now) for row in due)


@transaction.atomic
def _expire_one(row: Hold, now: datetime) -> bool:
    if not row.end(Hold.State.EXPIRED, was=Hold.State.OPEN, nano=row.nano, now=now):
        return False
    _book(row, row.nano, calls=1, rule=booking.EXPIRED_HOLD)
    return True


def forget_ended(*, now: datetime) -> None:
    """Ended holds go after a week; what they were settled at stays in the sums of their budgets' periods."""
    while True:
        gone = Hold.objects.exclude(state=Hold.State.OPEN).filter(ended_at__lt=now - HOLDS_STAY).order_by("id")
        piece = list(gone.values_list("id", flat=True)[:AT_ONCE])
        HoldPart.objects.filter(hold__in=piece).delete()
        Hold.objects.filter(pk__in=piece).delete()
        if len(piece) < AT_ONCE:
            return


def compare(*, now: datetime) -> list[str]:
    """Each minute: does the ledger know what was settled? More than 1 % less for 5 minutes is told, once. The ids of
    budgets that differ; they go on counting what was settled."""
    found = []
    for budget in Budget.objects.hard():
        if _is_told(budget, UNVERIFIED) and not _unverified_lately(budget, now):
            sentence = f"Calls under the cap of {budget.rule.scope_words} ask for room again."
            _tell(budget, "budget.spend_verified", UNVERIFIED, "closes", "info", sentence, now)
        if not periods.is_rolling(budget.period) and _differs(budget, now):
            found.append(budget.id)
    return found


def _differs(budget: Budget, now: datetime) -> bool:
    period = periods.period_at(budget.rule.period, now, budget.rule.zone)
    row = Settled.objects.filter(budget=budget.id, period_from=period.since).first()
    known = ledger.spent(budget.rule, *period).nano if row is not None else 0
    if row is None or not admission.differs(known, row.nano):
        if row is not None and row.differs_since is not None:
            row.note_difference(None)
        if _is_told(budget, COUNTS):
            sentence = f"The ledger knows what was settled for {budget.rule.scope_words}."
            _tell(budget, "budget.counts_agree", COUNTS, "closes", "info", sentence, now)
        return False
    if row.differs_since is None:
        row.note_difference(now)
        return False
    if now - row.differs_since < DIFFERS_AFTER:
        return False
    if not _is_told(budget, COUNTS):
        amounts = f"${nano_to_text(row.nano)} were settled, reports tell of ${nano_to_text(known)}"
        sentence = f"Calls under the cap of {budget.rule.scope_words} are not reported: {amounts}."
        _tell(budget, "budget.counts_differ", COUNTS, "opens", "error", sentence, now)
    return True


def _unverified_lately(budget: Budget, now: datetime) -> bool:
    lately = HoldPart.objects.filter(
        budget=budget.id, state=Hold.State.SETTLED, ended_at__gte=now - QUIET, hold__is_unverified=True
    )
    return lately.exists()


# --- parts --------------------------------------------------------------------------------------------------------


def cap_of(budget: Budget, now: datetime) -> Cap:
    """What this cap has, as far as it can be read. What the ledger said stays for some seconds: what holds came to
    since then is added."""
    rule = budget.rule
    rolls = periods.is_rolling(rule.period)
    period = periods.period_at(rule.period, now, rule.zone)
    row = _settled(budget, now)
    try:
        with transaction.atomic():
            if row.ledger_at is None or not timedelta(0) <= now - row.ledger_at < LEDGER_STAYS:
                row.note_ledger(ledger.spent(rule, *period).nano, now)
    except DatabaseError:
        log.exception("holds.ledger_unreadable", budget=budget.id)
        row.ledger_nano, row.ledger_at = None, None
    parts = HoldPart.objects.filter(budget=budget.id)
    asked_at = row.ledger_at or now
    reported_later = parts.filter(state=Hold.State.SETTLED, ended_at__gte=asked_at - TELEMETRY_TAKES)
    booked_later = parts.filter(state=Hold.State.EXPIRED, ended_at__gt=asked_at)
    unpriced = parts.filter(state=Hold.State.SETTLED, hold__is_unpriced=True)  # booked when they were settled
    lately = _sum(reported_later.filter(hold__is_unpriced=False)) + _sum(booked_later)
    return Cap(
        budget=budget.id,
        name=budget.name or rule.scope_words,
        limit_nano=budget.limit_nano,
        reserved_nano=_sum(parts.filter(state=Hold.State.OPEN)),
        ledger_nano=row.ledger_nano,
        settled_lately_nano=lately + _sum(unpriced.filter(ended_at__gt=asked_at)),
        settled_nano=0 if rolls else row.nano,
        period_to=None if rolls else period.until,
        on_unreachable=budget.on_unreachable,
        at_cap=budget.at_cap,
    )


def _settled(budget: Budget, now: datetime) -> Settled:
    """The row of a hard cap's present period; a rolling one has a single row."""
    rule = budget.rule
    rolls = periods.is_rolling(rule.period)
    since = ledger.EPOCH if rolls else periods.period_at(rule.period, now, rule.zone).since
    row, _ = Settled.objects.get_or_create(budget=budget.id, period_from=since, defaults={"newest_at": now})
    return row


def _admit(budgets: Sequence[Budget], nano: int, now: datetime) -> list[Cap]:
    caps = [cap_of(row, now) for row in budgets]
    refusal = admission.refused_by(caps, nano)
    if refusal is None:
        return caps
    if refusal.is_unverifiable:
        raise BudgetUnverifiable(refusal.cap)
    raise BudgetExceeded(refusal.cap, nano)


def _locked(environment: str) -> list[Budget]:
    """In one order for everybody: two that reserve under the same caps queue, and never wait for each other."""
    return list(Budget.objects.hard().of(environment).select_for_update())


def _checked(
    environment: str, scope: Mapping[str, str], nano: int, expires_at: datetime, now: datetime
) -> dict[str, str]:
    if unknown := sorted(set(scope) - set(FACTS)):
        raise Invalid(f"{unknown[0]} says nothing about a call.", scope=f"Use {', '.join(FACTS)}.")
    if nano < 0:
        raise Invalid("A hold holds something.", usd="Give an amount of 0 or more.")
    if not now < expires_at <= now + LONGEST:
        raise Invalid("A hold ends within a day.", expires_at="Give a moment in the next 24 hours.")
    facts = {name: str(value) for name, value in scope.items() if value}
    if "owner" not in facts and "route" in facts:
        views = flags.routes(environment, [facts["route"]])
        if views and views[0].owner:
            facts["owner"] = views[0].owner
    return facts


def _hold(environment: str, key: str) -> Hold:
    row = Hold.objects.select_for_update().filter(environment=environment, key=key).first()
    if row is None:
        raise NotFound(what="hold", key=key)
    return row


def _add_settled(row: Hold, nano: int, now: datetime) -> None:
    ids = list(row.parts.order_by("budget").values_list("budget", flat=True))
    for budget in Budget.objects.filter(pk__in=ids).order_by("id"):
        _settled(budget, now).add(nano, now)


def _book(row: Hold, nano: int, *, calls: int, rule: str) -> None:
    facts = row.scope
    booking.book_estimate(
        environment=row.environment,
        route=facts.get("route", ""),
        variant=facts.get("variant", ""),
        provider=facts.get("provider", ""),
        model=facts.get("model", ""),
        owner=facts.get("owner", ""),
        arm=facts.get("arm", "live"),
        trial=facts.get("rollout", ""),
        tag=facts.get("tag", ""),
        rule=rule,
        nano=nano,
        calls=calls,
        at=row.made_at,
    )


def _sum(parts: Any) -> int:
    return int(parts.aggregate(nano=Sum("nano"))["nano"] or 0)


def _is_told(budget: Budget, name: str) -> bool:
    entries = Entry.objects.of_environment(budget.environment).filter(condition=f"budget:{budget.id}:{name}")
    newest = entries.newest_first().first()
    return newest is not None and newest.effect == Entry.Effect.OPENS


def _tell(budget: Budget, kind: str, key: str, effect: Any, severity: Any, sentence: str, now: datetime) -> None:
    route = budget.scope.get("route", "")
    journal.record(
        kind,
        environment=budget.environment,
        by=WORKER,
        because=sentence,
        about={"budget": budget.id} | ({"route": route} if route else {}),
        now=now,
        condition=Condition(
            key=f"budget:{budget.id}:{key}",
            effect=effect,
            severity=severity,
            sentence=sentence,
            route=route,
            owner=budget.owner,
            link="/b/",
        ),
    )
