"""What a call costs.

In: token counts of one call, and a price in USD per million tokens. Out: whole nano-USD, exact, rounded half-even once.
Cached tokens are part of the input tokens. Where a price has a second rate above a number of input tokens, the *whole*
call is at that rate, as the providers bill it. All arithmetic is on integers: a rate is kept as 10^-9 USD per million
tokens, so tokens times rate is in units of 10^-15 USD.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import lru_cache

PER_NANO = 10**6  # 10^-15 USD in a nano-USD
MOST_NAMES = 10_000  # spellings that a book remembers
_MODEL_DATE = re.compile(r"[-@](\d{4}-\d{2}-\d{2}|\d{8}|\d{4}|\d{3}|latest)$")


@dataclass(frozen=True, slots=True)
class Rates:
    """USD per million tokens."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None  # None: a cached token costs as much as any other
    scaled: tuple[int, int, int] = field(init=False, repr=False, compare=False)  # the three as integers

    def __post_init__(self) -> None:
        cached = self.input if self.cached_input is None else self.cached_input
        object.__setattr__(self, "scaled", (_scale(self.input), _scale(cached), _scale(self.output)))


@dataclass(frozen=True, slots=True)
class Price:
    provider: str
    model: str
    valid_from: datetime
    rates: Rates
    above: int | None = None  # more input tokens than this: the other rates
    rates_above: Rates | None = None
    source: str = ""

    def cost_nano(self, input_tokens: int, cached_input_tokens: int, output_tokens: int) -> int:
        rates = self.rates
        if self.above is not None and self.rates_above is not None and input_tokens > self.above:
            rates = self.rates_above
        inputs, cached, outputs = rates.scaled
        fresh = input_tokens - cached_input_tokens
        return _rounded(fresh * inputs + cached_input_tokens * cached + output_tokens * outputs)


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


class PriceBook:
    """All prices of all models. `beneath` answers where this one does not know the model: own prices win."""

    def __init__(self, prices: Iterable[Price], *, version: str = "", beneath: PriceBook | None = None) -> None:
        self.version = version
        self.beneath = beneath
        self.by_model: dict[tuple[str, str], list[Price]] = {}
        for price in sorted(prices, key=lambda price: price.valid_from):
            self.by_model.setdefault((price.provider, price.model), []).append(price)
        self._asked: dict[tuple[str | None, str | None], list[Price]] = {}
        self.providers_of: dict[str, set[str]] = {}
        for provider, model in self.by_model:
            self.providers_of.setdefault(model, set()).add(provider)

    def find(self, provider: str | None, model: str | None, at: datetime) -> Price | None:
        """The price of a model at a moment. Before its first known price, that one; None: nobody knows the model."""
        history = self._asked.get((provider, model))
        if history is None:
            history = self.history(provider, model)
            if len(self._asked) < MOST_NAMES:
                self._asked[provider, model] = history
        if len(history) < 2:
            return history[0] if history else None
        position = bisect_right(history, at, key=lambda price: price.valid_from)
        return history[max(position - 1, 0)]

    def history(self, provider: str | None, model: str | None) -> list[Price]:
        if not model:
            return []
        provider, model = normalised(provider, model)
        for name in (model, _MODEL_DATE.sub("", model)):  # a dated name first: it may have a price of its own
            history = self._of(provider, name)
            if history:
                return history
        return self.beneath.history(provider, model) if self.beneath else []

    def _of(self, provider: str, model: str) -> list[Price]:
        if not provider:
            providers = self.providers_of.get(model, set())
            if len(providers) != 1:
                return []
            provider = next(iter(providers))
        return self.by_model.get((provider, model), [])


PROVIDERS = {
    "gemini": "google",
    "vertex_ai": "google",
    "vertexai": "google",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "gcp.gen_ai": "google",
    "az.ai.openai": "azure",
    "azure.ai.openai": "azure",
    "azure_ai": "azure",
    "aws.bedrock": "aws",
    "bedrock": "aws",
    "mistral_ai": "mistral",
    "xai": "x-ai",
    "x_ai": "x-ai",
    "moonshot_ai": "moonshotai",
}


@lru_cache(maxsize=MOST_NAMES)
def normalised(provider: str | None, model: str) -> tuple[str, str]:
    """`("", "openai/GPT-4.1")` and `("openai", "gpt-4.1")` are the same model."""
    provider = (provider or "").lower()
    provider = PROVIDERS.get(provider, provider)
    model = model.lower().removeprefix("models/")
    head, slash, tail = model.partition("/")
    if slash and (not provider or provider == PROVIDERS.get(head, head)):
        provider, model = PROVIDERS.get(head, head), tail.removeprefix("models/")
    return provider, model
