"""Prices of the price library that is installed with us: real ones, dated, without a network and without a database.

Only text tokens at the standard service tier are taken over. Prices that depend on the time of day are left out: a
model that we would price wrongly is better unpriced, since unpriced calls are counted and shown.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from importlib import metadata

from genai_prices import types
from genai_prices.data_snapshot import get_snapshot

from apps.catalog.domain.pricing import Price, PriceBook, Rates

NINE_PLACES = Decimal("0.000000001")
ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


@cache
def source() -> str:
    """Asked for with every price: the package's metadata are a file."""
    return f"genai-prices {metadata.version('genai-prices')}"


@cache
def price_book() -> PriceBook:
    """Every model of the library. A fifth of a second at the first call."""
    return PriceBook(all_prices(), version=source())


def all_prices() -> Iterator[Price]:
    for provider in get_snapshot().providers:
        for model in provider.models:
            yield from prices_of(provider.id, model)


def prices_of(provider: str, model: types.ModelInfo) -> Iterator[Price]:
    dated = model.prices if isinstance(model.prices, list) else [types.ConditionalPrice(prices=model.prices)]
    if any(isinstance(entry.constraint, types.TimeOfDateConstraint) for entry in dated):
        return
    for entry in dated:
        valid_from = ALWAYS
        if isinstance(entry.constraint, types.StartDateConstraint):
            valid_from = datetime.combine(entry.constraint.start_date, datetime.min.time(), UTC)
        price = one_price(provider, model.id, valid_from, entry.prices)
        if price is not None:
            yield price


def one_price(provider: str, model: str, valid_from: datetime, prices: types.ModelPrice) -> Price | None:
    per_token = (prices.input_mtok, prices.cache_read_mtok, prices.output_mtok)
    if prices.input_mtok is None and prices.output_mtok is None:
        return None
    edges = sorted({tier.start for value in per_token if isinstance(value, types.TieredPrices) for tier in value.tiers})
    if len(edges) > 1:
        return None
    above = edges[0] if edges else None
    return Price(
        provider=provider,
        model=model.lower(),
        valid_from=valid_from,
        rates=rates(*(base(value) for value in per_token)),
        above=above,
        rates_above=rates(*(top(value) for value in per_token)) if above is not None else None,
        source=source(),
    )


def base(value: Decimal | types.TieredPrices | None) -> Decimal | None:
    return value.base if isinstance(value, types.TieredPrices) else value


def top(value: Decimal | types.TieredPrices | None) -> Decimal | None:
    return value.tiers[-1].price if isinstance(value, types.TieredPrices) else value


def rates(input: Decimal | None, cached: Decimal | None, output: Decimal | None) -> Rates:
    return Rates(
        input=clean(input) if input is not None else Decimal(0),
        output=clean(output) if output is not None else Decimal(0),
        cached_input=clean(cached) if cached is not None else None,
    )


def clean(rate: Decimal) -> Decimal:
    """The library has a few rates like 0.18000000000000002."""
    return rate.quantize(NINE_PLACES).normalize()
