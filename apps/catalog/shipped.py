"""Prices of the price library that is installed with us: real ones, dated, without a network and without a database.

Only what is counted in text tokens and requests is taken over, with every tier of prompt size, service tier and hour of
the day. A model that is billed by something else, or by nothing, has no price here: its calls are better unpriced than
free, since unpriced calls are counted and shown.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from importlib import metadata
from typing import Any

from genai_prices import types
from genai_prices.data_snapshot import get_snapshot

from apps.catalog.domain.contenders import ALIASES
from apps.catalog.domain.names import STANDARD
from apps.catalog.domain.pricing import Band, Key, Price, PriceBook, Rates

NINE_PLACES = Decimal("0.000000001")
ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
PER_TOKEN = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
}
PER_THOUSAND = "requests_kcount"
SERVICE_TIERS = (("service_tier", "flex"), ("processing", "batch"), ("service_tier", "priority"),
                 ("service_tier", "fast"), ("speed", "fast"))  # fmt: skip
Dated = tuple[datetime, types.ModelPrice]
Prices = Mapping[str, Any]


@cache
def source() -> str:
    """Asked for with every price: the package's metadata are a file."""
    return f"genai-prices {metadata.version('genai-prices')}"


@cache
def price_book() -> PriceBook:
    """Every model of the library. A fifth of a second at the first call."""
    return PriceBook(all_prices(), version=source(), aliases=ALIASES, resolve=resolve)


def resolve(provider: str, model: str) -> Key | None:
    """The library's id of a model, by its own rules of matching: `azure` also serves what `openai` has a price of."""
    if not provider:
        return None
    try:
        found, known = get_snapshot().find_provider_model(model, None, provider, None)
    except LookupError:
        return None
    owner = found.id if any(one is known for one in found.models) else owner_of(known)
    return owner, known.id.lower()


def owner_of(model: types.ModelInfo) -> str:
    return next(provider.id for provider in get_snapshot().providers if any(one is model for one in provider.models))


def all_prices() -> Iterator[Price]:
    for provider in get_snapshot().providers:
        for model in provider.models:
            yield from prices_of(provider.id, model)


def prices_of(provider: str, model: types.ModelInfo) -> Iterator[Price]:
    every = model.prices if isinstance(model.prices, list) else [types.ConditionalPrice(prices=model.prices)]
    dated = [(begin_of(one.constraint), one.prices) for one in every if not has_hours(one.constraint)]
    for begin, prices in dated:
        yield from one_price(provider, model.id, begin, prices.__dict__)
    for one in every:
        if isinstance(one.constraint, types.TimeOfDateConstraint):
            hours = (one.constraint.start_time.replace(tzinfo=None), one.constraint.end_time.replace(tzinfo=None))
            yield from one_price(provider, model.id, ALWAYS, one.prices.__dict__, hours=hours)
    for tier in {name: None for _, name in SERVICE_TIERS}:
        for begin, of_tier in tier_prices(model, tier, dated):
            yield from one_price(provider, model.id, begin, of_tier, service_tier=tier)


def has_hours(constraint: object) -> bool:
    return isinstance(constraint, types.TimeOfDateConstraint)


def begin_of(constraint: object) -> datetime:
    if isinstance(constraint, types.StartDateConstraint):
        return datetime.combine(constraint.start_date, datetime.min.time(), UTC)
    return ALWAYS


def tier_prices(model: types.ModelInfo, tier: str, dated: list[Dated]) -> Iterator[tuple[datetime, Prices]]:
    """What a service tier changes stands over the standard prices of the same moment, key by key."""
    mine = [variant for variant in model.price_variants or () if {*variant.when.items()} <= {*SERVICE_TIERS}
            and [*variant.when.values()] == [tier]]  # fmt: skip
    for moment in sorted({begin for begin, _ in dated} | {begin_of(one.constraint) for one in mine}) if mine else ():
        active = [told(one.prices) for one in mine if begin_of(one.constraint) <= moment]
        if active:
            standard = [prices for begin, prices in dated if begin <= moment][-1]
            yield moment, {key: value for layer in (told(standard), *reversed(active)) for key, value in layer.items()}


def told(prices: types.ModelPrice) -> Prices:
    return {key: value for key, value in prices.__dict__.items() if value is not None}


def one_price(
    provider: str, model: str, valid_from: datetime, prices: Prices, *, service_tier: str = STANDARD, hours: Any = None
) -> Iterator[Price]:
    if prices.get("input_mtok") is None and prices.get("output_mtok") is None:
        return
    tiered = [value for name in PER_TOKEN.values() if isinstance(value := prices.get(name), types.TieredPrices)]
    edges = sorted({tier.start for value in tiered for tier in value.tiers})
    yield Price(
        provider=provider,
        model=model.lower(),
        valid_from=valid_from,
        rates=rates_above(-1, prices),
        bands=tuple(Band(edge, rates_above(edge, prices)) for edge in edges),
        service_tier=service_tier,
        hours=hours,
        source=source(),
    )


def rates_above(edge: int, prices: Prices) -> Rates:
    found = {name: rate_above(edge, prices.get(key)) for name, key in PER_TOKEN.items()}
    fee = clean((prices.get(PER_THOUSAND) or Decimal(0)).scaleb(-3))
    return Rates(
        **{name: rate for name, rate in found.items() if name not in ("input", "output")},
        input=found["input"] or Decimal(0),
        output=found["output"] or Decimal(0),
        per_request=fee,
    )


def rate_above(edge: int, price: Decimal | types.TieredPrices | None) -> Decimal | None:
    if isinstance(price, types.TieredPrices):
        price = next((tier.price for tier in reversed(price.tiers) if tier.start <= edge), price.base)
    return clean(price) if price is not None else None


def clean(rate: Decimal) -> Decimal:
    """The library has a few rates like 0.18000000000000002."""
    return rate.quantize(NINE_PLACES).normalize()
