"""Which models there are, and what they cost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet

from apps.catalog import shipped
from apps.catalog.domain import differences
from apps.catalog.domain.contenders import ALIASES, RELEASED_AT
from apps.catalog.domain.differences import Difference
from apps.catalog.domain.pricing import History, Price, PriceBook
from apps.catalog.models import Model, PriceList, prices_of
from apps.catalog.models import Price as PriceRow
from apps.core.refusals import NotFound


@dataclass(frozen=True, slots=True)
class ModelView:
    """A contender with what it costs, the oldest price first."""

    model: Model
    prices: History

    def begins(self, price: Price) -> datetime:
        """The library dates only prices that follow another one: the first one came with the model."""
        return max(price.valid_from, RELEASED_AT.get(self.model.key, price.valid_from))


def models() -> list[ModelView]:
    book = price_book()
    return [ModelView(row, book.all_of(row.provider, row.model_id)) for row in Model.objects.order_by("key")]


def model(key: str) -> ModelView:
    row = Model.objects.filter(key=key).first()
    if row is None:
        raise NotFound(what="model", key=key)
    return ModelView(row, price_book().all_of(row.provider, row.model_id))


def price_version() -> str:
    """Changes with every list that comes into force and every own price: cheap to ask before a book is loaded again."""
    return version_of(PriceList.objects.in_force(), own_prices())


def version_of(in_force: PriceList | None, own: Sequence[Price]) -> str:
    named = f"{in_force.source} {in_force.id[-6:]}" if in_force else shipped.source()
    return f"{named}+{len(own)}.{differences.digest(own)[:6]}" if own else named


def own_prices() -> Sequence[Price]:
    return prices_of(PriceRow.objects.own().in_order())


_books: dict[str, PriceBook] = {}  # the newest, by its version


def price_book() -> PriceBook:
    """Our own prices, and beneath them those of the list in force for every other model and moment.

    Before the first list was taken in, which a worker does at its start: the one that is installed with us.
    """
    in_force, own = PriceList.objects.in_force(), own_prices()
    version = version_of(in_force, own)
    book = _books.get(version)
    if book is None:
        beneath = book_of(listed(in_force)) if in_force else shipped.price_book()
        book = PriceBook(own, version=version, beneath=beneath)
        _books.clear()
        _books[version] = book
    return book


def book_with(prices: Iterable[Price]) -> PriceBook:
    """As it would be with these prices in force."""
    return PriceBook(own_prices(), beneath=book_of(prices))


def book_of(prices: Iterable[Price]) -> PriceBook:
    return PriceBook(prices, aliases=ALIASES, resolve=shipped.resolve)


def listed(price_list: PriceList | None) -> Sequence[Price]:
    """What a list says; without one, what is installed with us."""
    return prices_of(price_list.prices.in_order()) if price_list else list(shipped.all_prices())


def price_list(id: str) -> PriceList:
    row = PriceList.objects.filter(pk=id).first()
    if row is None:
        raise NotFound(what="price list", key=id)
    return row


def price_lists() -> "QuerySet[PriceList]":
    return PriceList.objects.order_by("-proposed_at", "-id")


def difference_of(prices: Iterable[Price], now: datetime) -> list[Difference]:
    """What they would change of the list in force."""
    return differences.differences(listed(PriceList.objects.in_force()), prices, now)


def difference(proposed: PriceList, now: datetime) -> list[Difference]:
    """Nothing is left of one that was refused."""
    return difference_of(listed(proposed), now) if proposed.state == PriceList.State.PROPOSED else []
