"""What a call costs.

In: token counts of one call, and a price in USD per million tokens. Out: whole nano-USD, exact, rounded half-even once.
Cached tokens and tokens written to a cache are parts of the input tokens, reasoning tokens of the output tokens. Above
a tier's edge the *whole* call has that tier's rates, as the providers bill it. All arithmetic is on integers: a rate is
kept as 10^-9 USD per million tokens, so tokens times rate is in units of 10^-15 USD.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from decimal import Decimal

from apps.catalog.domain.names import STANDARD, maker_of, normalised, service_tier_of, spellings

PER_NANO = 10**6  # 10^-15 USD in a nano-USD
MOST_NAMES = 10_000  # spellings that a book remembers
ZERO = Decimal(0)
Key = tuple[str, str]  # provider, model


@dataclass(frozen=True, slots=True)
class Rates:
    """USD per million tokens; `per_request` in USD."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None  # None: a cached token costs as much as any other
    cache_write: Decimal | None = None  # None: a written one too
    cache_write_1h: Decimal | None = None  # None: as long as any other written one
    per_request: Decimal = ZERO
    scaled: tuple[int, int, int, int, int, int] = field(init=False, repr=False, compare=False)  # as integers

    def __post_init__(self) -> None:
        cached = self.input if self.cached_input is None else self.cached_input
        written = self.input if self.cache_write is None else self.cache_write
        for_1h = written if self.cache_write_1h is None else self.cache_write_1h
        per_token = (_scale(self.input), _scale(cached), _scale(self.output), _scale(written), _scale(for_1h))
        object.__setattr__(self, "scaled", (*per_token, _scale(self.per_request) * 10**6))


@dataclass(frozen=True, slots=True)
class Band:
    """Rates of calls with more input tokens than `above`."""

    above: int
    rates: Rates


@dataclass(frozen=True, slots=True)
class Price:
    provider: str
    model: str
    valid_from: datetime
    rates: Rates
    bands: tuple[Band, ...] = ()  # the lowest edge first
    valid_to: datetime | None = None
    service_tier: str = STANDARD  # or flex, batch, priority …
    hours: tuple[time, time] | None = None  # of each day, UTC; may pass midnight
    source: str = ""

    def cost_nano(
        self,
        input_tokens: int,
        cached_input_tokens: int,
        output_tokens: int,
        cache_write_tokens: int = 0,
        cache_write_1h_tokens: int = 0,
        *,
        calls: int = 1,
        edge: int | None = None,
    ) -> int:
        """`cache_write_1h_tokens` are a part of `cache_write_tokens`. The sum of several calls is priced at the edge
        that they all had."""
        rates = self.rates
        if self.bands:
            rates = self.rates_at(self.edge_of(input_tokens) if edge is None else edge)
        inputs, cached, outputs, written, for_1h, fee = rates.scaled
        units = (input_tokens - cached_input_tokens) * inputs + cached_input_tokens * cached + output_tokens * outputs
        if cache_write_tokens:
            units += cache_write_tokens * (written - inputs) + cache_write_1h_tokens * (for_1h - written)
        return _rounded(units + calls * fee)

    def edge_of(self, input_tokens: int) -> int:
        """The edge above which a call of so many input tokens lies; 0: above none."""
        return max((band.above for band in self.bands if input_tokens > band.above), default=0)

    def rates_at(self, edge: int) -> Rates:
        """Rates of calls that lie above that edge, and above no higher one."""
        rates = self.rates
        for band in self.bands:
            if band.above <= edge:
                rates = band.rates
        return rates

    @property
    def edges(self) -> tuple[int, ...]:
        return tuple(band.above for band in self.bands)

    def is_valid(self, at: datetime) -> bool:
        if at < self.valid_from or (self.valid_to is not None and at >= self.valid_to):
            return False
        if self.hours is None:
            return True
        begin, end = self.hours
        moment = at.astimezone(UTC).time()
        return begin <= moment < end if begin <= end else moment >= begin or moment < end


def _scale(usd_per_million: Decimal) -> int:
    scaled = usd_per_million.scaleb(9)
    if scaled != scaled.to_integral_value():
        raise ValueError(f"a rate has nine decimals at most: {usd_per_million}")
    return int(scaled)


def _rounded(units: int) -> int:
    whole, rest = divmod(units, PER_NANO)
    if rest * 2 > PER_NANO or (rest * 2 == PER_NANO and whole & 1):
        whole += 1
    return whole


Resolve = Callable[[str, str], Key | None]
History = tuple[Price, ...]  # of those that are valid at a moment the last one counts


class PriceBook:
    """All prices of all models. Own prices win over those `beneath`, from their own moment on.

    `aliases`: models that have the prices of another one. `resolve` knows more spellings: its answer is a key.
    """

    def __init__(
        self,
        prices: Iterable[Price],
        *,
        version: str = "",
        beneath: PriceBook | None = None,
        aliases: Mapping[Key, Key] | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        self.version = version
        self.aliases: dict[Key, Key] = {**(beneath.aliases if beneath else {}), **(aliases or {})}
        self.resolve: Resolve | None = resolve or (beneath.resolve if beneath else None)
        of_model: dict[Key, list[Price]] = {}
        for price in sorted(prices, key=lambda price: (price.hours is not None, price.valid_from)):
            of_model.setdefault((price.provider, price.model), []).append(price)
        self.by_model: dict[Key, History] = {key: tuple(found) for key, found in of_model.items()}
        if beneath is not None:
            for key, found in beneath.by_model.items():
                self.by_model[key] = (*found, *self.by_model.get(key, ()))
        self.providers_of: dict[str, set[str]] = {}
        for provider, model in self.by_model:
            self.providers_of.setdefault(model, set()).add(provider)
        self._asked: dict[tuple[str | None, str | None, str | None], History] = {}

    def find(
        self, provider: str | None, model: str | None, at: datetime, service_tier: str | None = None
    ) -> Price | None:
        """The price of a model at a moment. Before its first known price, that one; None: nobody knows the model."""
        asked = (provider, model, service_tier)
        history = self._asked.get(asked)
        if history is None:
            history = self.history(provider, model, service_tier)
            if len(self._asked) < MOST_NAMES:
                self._asked[asked] = history
        for price in reversed(history):
            if price.is_valid(at):
                return price
        first = next((price for price in history if price.service_tier == STANDARD), None)
        return first if first is not None and at < first.valid_from else None

    def history(self, provider: str | None, model: str | None, service_tier: str | None = None) -> History:
        """All prices of a model at the standard tier, and after them those of the tier that is asked for."""
        whole, tier = self.all_of(provider, model), service_tier_of(service_tier)
        standard = tuple(price for price in whole if price.service_tier == STANDARD)
        return standard if tier == STANDARD else standard + tuple(p for p in whole if p.service_tier == tier)

    def all_of(self, provider: str | None, model: str | None) -> History:
        """Where no provider is told: those of the model's maker, else of the only one who has it."""
        if not model:
            return ()
        if found := self.by_model.get(((provider or "").lower(), model.lower())):
            return found
        named, model = normalised(provider, model)
        owner = named or maker_of(model)
        for name in spellings(named, model):  # a dated name first: it may have a price of its own
            key = self.aliases.get((owner, name), (owner, name))
            if found := self.by_model.get(key) or (() if named else self._of_the_only_one(name)):
                return found
        resolved = self.resolve(owner, model) if self.resolve and len(self._asked) < MOST_NAMES else None
        return self.by_model.get(resolved, ()) if resolved else ()

    def _of_the_only_one(self, model: str) -> History:
        """Prices of a model that one provider alone has."""
        providers = self.providers_of.get(model, set())
        return self.by_model[next(iter(providers)), model] if len(providers) == 1 else ()
