"""The price library's data on its way into our rows: proposed with its difference, approved by another person.

The first list comes with the product and waits for nobody: nothing was priced before it. Whatever the library says
later, in a newer version of it, is a proposal.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from apps.catalog import queries, services, shipped
from apps.catalog.domain import differences
from apps.catalog.domain.pricing import Price as PlainPrice
from apps.catalog.models import Price, PriceList, rows_of
from apps.core.actors import WORKER, Actor
from apps.core.refusals import Forbidden, NotFound, Refused
from apps.journal import services as journal

State = PriceList.State
EVERYWHERE = ""


class NothingNew(Refused):
    code = "nothing_new"
    sentence = "The price library ({source}) says what is in force already."
    status = 409


class AnotherWaits(Refused):
    code = "another_list_waits"
    sentence = "The price list that {by} proposed still waits. Approve, reject or withdraw it first."
    status = 409


class IsDecided(Refused):
    code = "is_decided"
    sentence = "This price list is {state}: nothing waits here any more."
    status = 409


class OwnProposal(Refused):
    code = "own_request"
    sentence = "{who} proposed this price list: another person approves it."
    status = 403


def draft(*, now: datetime, prices: Sequence[PlainPrice] | None = None) -> list[PlainPrice]:
    """What the installed library says (or `prices`), and what it has no more: the past of that stays."""
    said = list(shipped.all_prices()) if prices is None else list(prices)
    return [*said, *differences.gone(queries.listed(PriceList.objects.in_force()), said, now)]


@transaction.atomic
def propose(*, by: Actor, because: str, now: datetime, prices: Sequence[PlainPrice] | None = None) -> PriceList:
    """A list that waits. Raises NothingNew, AnotherWaits."""
    in_force = PriceList.objects.select_for_update().in_force() or take_first(now=now)
    waits = PriceList.objects.waiting().first()
    if waits is not None:
        raise AnotherWaits(by=waits.proposed_by)
    prices = draft(now=now, prices=prices)
    found = differences.differences(queries.listed(in_force), prices, now)
    if not found:
        raise NothingNew(source=source_of(prices))
    row = insert(prices, State.PROPOSED, by=by, because=because, now=now)
    tell("prices.proposed", row, by=by, because=because, now=now, after=differences.counted(found))
    return row


@transaction.atomic
def approve(*, id: str, by: Actor, now: datetime, because: str = "") -> PriceList:
    """From now on calls are priced by it. What was booked before stays: re-pricing is an act of its own."""
    row = waiting(id)
    if by.kind != "person":
        raise Forbidden(who=str(by), role="approver", environment="all environments")
    if str(by) == row.proposed_by:
        raise OwnProposal(who=str(by))
    before = PriceList.objects.select_for_update().in_force()
    if before is not None:
        before.make_way()
    row.decide(State.IN_FORCE, by=str(by), at=now, word=because)
    tell("prices.approved", row, by=by, because=because or row.because, now=now)
    return row


def reject(*, id: str, by: Actor, because: str, now: datetime) -> PriceList:
    return end(id, State.REJECTED, "prices.rejected", by=by, because=because, now=now)


def withdraw(*, id: str, by: Actor, because: str, now: datetime) -> PriceList:
    return end(id, State.WITHDRAWN, "prices.withdrawn", by=by, because=because, now=now)


@transaction.atomic
def keep_up(*, now: datetime) -> PriceList | None:
    """The worker's part: takes in the first list, and proposes what a newer library says, once."""
    if PriceList.objects.in_force() is None:
        take_first(now=now)
    prices = list(shipped.all_prices())
    if PriceList.objects.filter(digest=differences.digest(prices)).exists() or PriceList.objects.waiting().exists():
        return None
    try:
        return propose(by=WORKER, because=f"{shipped.source()} is installed.", now=now, prices=prices)
    except NothingNew:
        return None


@transaction.atomic
def take_first(*, now: datetime) -> PriceList:
    """With the contenders that it is the price list of."""
    services.ensure_contenders(now=now)
    row = insert(list(shipped.all_prices()), State.IN_FORCE, by=WORKER, because="Comes with the product.", now=now)
    tell("prices.taken_in", row, by=WORKER, because=row.because, now=now)
    return row


def insert(prices: Sequence[PlainPrice], state: State, *, by: Actor, because: str, now: datetime) -> PriceList:
    row = PriceList.objects.create(
        source=source_of(prices),
        digest=differences.digest(price for price in prices if price.valid_to is None),
        state=state,
        because=because,
        proposed_by=str(by),
        proposed_at=now,
    )
    Price.objects.bulk_create([band for price in prices for band in rows_of(price, row)], batch_size=500)
    return row


def source_of(prices: Sequence[PlainPrice]) -> str:
    return prices[0].source if prices else shipped.source()


def waiting(id: str) -> PriceList:
    row = PriceList.objects.select_for_update().filter(pk=id).first()
    if row is None:
        raise NotFound(what="price list", key=id)
    if row.state != State.PROPOSED:
        raise IsDecided(state=row.get_state_display().lower())
    return row


@transaction.atomic
def end(id: str, state: State, kind: str, *, by: Actor, because: str, now: datetime) -> PriceList:
    row = waiting(id)
    row.decide(state, by=str(by), at=now, word=because)
    row.prices.all().delete()  # its difference stands in the journal
    tell(kind, row, by=by, because=because, now=now)
    return row


def tell(kind: str, row: PriceList, *, by: Actor, because: str, now: datetime, after: object = None) -> None:
    told = {"price_list": row.id, "source": row.source}
    journal.record(kind, environment=EVERYWHERE, by=by, because=because, about=told, now=now, after=after)
