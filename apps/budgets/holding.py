"""Holds on hard caps: money is set aside before a call is made, and settled once it is known what the call cost.

Who holds locks the rows of all hard budgets that count the call, in one order, looks, and writes: all of them or none,
so parallel requests never see the same room twice. A hold ends once, by compare and swap. One that nobody settled
becomes an estimated line of the ledger: the call may well have been made. What is spent is always asked of the ledger;
there is no counter that could be lost, leak, or be seeded twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from apps.budgets import caps, conditions, refusing
from apps.budgets.conditions import UNVERIFIED
from apps.budgets.domain import admission
from apps.budgets.domain.admission import Cap
from apps.budgets.models import Budget, Hold, HoldPart, Settled
from apps.catalog import queries as catalog
from apps.catalog.domain.pricing import Price
from apps.core.money import nano_to_text
from apps.core.refusals import Invalid, NotFound, Refused
from apps.flags import queries as flags
from apps.telemetry import booking
from apps.telemetry.domain.pricing import cap_of

FACTS = ("route", "variant", "model", "provider", "owner", "tag", "rollout", "arm")
LONGEST = timedelta(hours=24)
HOLDS_STAY = timedelta(days=7)
SUMS_STAY = timedelta(days=35)  # no period is longer
TOLD_LATE = timedelta(hours=1)  # a call that was made without asking, after it was made
AT_ONCE = 500


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


@dataclass(frozen=True, slots=True)
class Terms:
    """What a caller must know to hold money by itself: the hard caps that count a call, and what it may cost."""

    caps: tuple[Budget, ...]
    price: Price | None
    max_cost_nano: int | None  # of a request to this variant; of the dearest one where no variant is named


def terms(*, environment: str, scope: Mapping[str, str], now: datetime, service_tier: str = "") -> Terms:
    facts = _checked(environment, scope, 0, now + LONGEST, now)
    budgets = tuple(row for row in Budget.objects.hard().of(environment) if caps.may_count(row, facts))
    views = flags.routes(environment, [facts["route"]]) if "route" in facts else []
    variants = views[0].variants if views else {}
    named = [variants[facts["variant"]]] if facts.get("variant") in variants else variants.values()
    costs = [cost for variant in named if (cost := cap_of(variant)) is not None]
    return Terms(
        budgets,
        catalog.price_book().find(facts.get("provider"), facts.get("model"), now, service_tier),
        max(costs) if len(costs) == len(named) and costs else None,
    )


def reserve(
    *,
    environment: str,
    hold: str,
    scope: Mapping[str, str],
    nano: int,
    expires_at: datetime,
    owner: str,
    now: datetime,
    is_slice: bool = False,
) -> Held:
    """All caps that count a call of that scope, or none. The same hold again is answered as the first time.

    `is_slice`: room for more calls like this one is given at once, where there is enough (`admission.slice_nano`).
    """
    facts = _checked(environment, scope, nano, expires_at, now)
    with refusing.noted(now), transaction.atomic():
        budgets = [row for row in caps.locked(environment) if caps.may_count(row, facts)]
        known = Hold.objects.filter(environment=environment, key=hold).first()
        if known is not None:
            if known.state != Hold.State.OPEN or (known.nano < nano if is_slice else known.nano != nano):
                raise HoldIsThere(key=hold, usd=f"${nano_to_text(known.nano)}", state=known.state)
            return Held(known, tuple(caps.cap_of(row, now) for row in budgets), is_repeat=True)
        found = caps.admit(budgets, nano, now)
        refusing.passed(budgets, now)
        given = admission.slice_nano(found, nano) if is_slice else nano
        row = Hold.objects.create(
            environment=environment, key=hold, owner=owner, scope=facts, nano=given, made_at=now, expires_at=expires_at
        )
        parts = (HoldPart(hold=row, budget=cap.budget, state=row.state, nano=given) for cap in found)
        HoldPart.objects.bulk_create(parts)
        return Held(row, tuple(found))


def extend(*, environment: str, hold: str, nano: int | None, expires_at: datetime | None, now: datetime) -> Held:
    """More time, or more money under the same caps: all of it or none."""
    with refusing.noted(now), transaction.atomic():
        row = _hold(environment, hold)
        if row.state != Hold.State.OPEN:
            raise HoldHasEnded(key=hold, state=row.state, usd=f"${nano_to_text(row.settled_nano or 0)}")
        until, more = expires_at or row.expires_at, (nano or row.nano) - row.nano
        _checked(environment, row.scope, row.nano + more, until, now)
        parts = set(row.parts.values_list("budget", flat=True))
        budgets = [budget for budget in caps.locked(environment) if budget.id in parts]
        found = caps.admit(budgets, more, now) if more > 0 else [caps.cap_of(budget, now) for budget in budgets]
        row.extend(nano=row.nano + more, expires_at=until)
        return Held(row, tuple(found))


@transaction.atomic
def settle(*, environment: str, hold: str, nano: int | None, now: datetime) -> Hold:
    """Once. `nano` None: the call was made, and nobody knows its price; it is settled at all that was held."""
    row = _hold(environment, hold)
    actual = row.nano if nano is None else nano
    if row.state == Hold.State.SETTLED:
        if row.settled_nano == actual:
            return row  # the answer was lost: the same again
        raise HoldHasEnded(key=hold, state=row.state, usd=f"${nano_to_text(row.settled_nano or 0)}")
    was, booked = Hold.State(row.state), row.booked_nano
    if not row.end(Hold.State.SETTLED, was=was, nano=actual, now=now, is_unpriced=nano is None):
        raise HoldHasEnded(key=hold, state="ended", usd="another amount")
    if was == Hold.State.EXPIRED:  # it was given up too early: what was booked for it is taken back
        _book(row, -booked, calls=-1 if booked else 0, rule=booking.EXPIRED_HOLD)
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
    budgets = [budget for budget in Budget.objects.hard().of(environment) if caps.may_count(budget, facts)]
    HoldPart.objects.bulk_create(
        HoldPart(hold=row, budget=budget.id, state=row.state, nano=nano, ended_at=now) for budget in budgets
    )
    _add_settled(row, nano, now)
    for budget in budgets:
        if not conditions.is_told(budget, UNVERIFIED):
            spent, words = f"${nano_to_text(nano)}", budget.words
            sentence = f"{spent} were spent under the cap of {words} without asking for room."
            conditions.tell(
                budget,
                "budget.spend_unverified",
                UNVERIFIED,
                effect="opens",
                severity="warning",
                sentence=sentence,
                now=now,
            )
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


def take_back(row: Hold, nano: int) -> None:
    """Of what was booked for a hold as it expired: reports tell of its calls. In the transaction that locked it."""
    row.take_back(nano)
    _book(row, -nano, calls=0 if row.booked_nano else -1, rule=booking.EXPIRED_HOLD)


def forget_ended(*, now: datetime) -> None:
    """Ended holds go after a week; what they were settled at stays in the sums of their budgets' periods."""
    Settled.objects.filter(newest_at__lt=now - SUMS_STAY).delete()
    while True:
        gone = Hold.objects.exclude(state=Hold.State.OPEN).filter(ended_at__lt=now - HOLDS_STAY).order_by("id")
        piece = list(gone.values_list("id", flat=True)[:AT_ONCE])
        HoldPart.objects.filter(hold__in=piece).delete()
        Hold.objects.filter(pk__in=piece).delete()
        if len(piece) < AT_ONCE:
            return


# --- parts --------------------------------------------------------------------------------------------------------


def _checked(
    environment: str, scope: Mapping[str, str], nano: int, expires_at: datetime, now: datetime
) -> dict[str, str]:
    if unknown := sorted(set(scope) - set(FACTS)):
        raise Invalid(f"{unknown[0]} says nothing about a call.", scope=f"Use {', '.join(FACTS)}.")
    if nano < 0:
        raise Invalid("A hold holds something.", usd="Give an amount of 0 or more.")
    if not now < expires_at <= now + LONGEST:
        raise Invalid("A hold ends within a day.", expires_at="Give a moment in the next 24 hours.")
    return completed(environment, {name: str(value) for name, value in scope.items() if value})


def completed(environment: str, facts: dict[str, str]) -> dict[str, str]:
    """With what the route says of a call: its owner, the rollout that runs, the model of its variant."""
    view = next(iter(flags.routes(environment, [facts["route"]])), None) if "route" in facts else None
    if view is None:
        return facts
    known = {"owner": view.owner, "rollout": view.trial, "model": view.model(facts.get("variant", ""))}
    return {name: value for name, value in known.items() if value} | facts


def _hold(environment: str, key: str) -> Hold:
    row = Hold.objects.select_for_update().filter(environment=environment, key=key).first()
    if row is None:
        raise NotFound(what="hold", key=key)
    return row


def _add_settled(row: Hold, nano: int, now: datetime) -> None:
    ids = list(row.parts.order_by("budget").values_list("budget", flat=True))
    made_at = row.made_at - TOLD_LATE if row.is_unverified else row.made_at
    for budget in Budget.objects.light().filter(pk__in=ids).order_by("id"):
        if budget.is_sound:  # else nobody knows in which period that is
            caps.settled_row(budget, now).add(nano, made_at, now)


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
