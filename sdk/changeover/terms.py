"""What a call may cost at most, and which hard caps count it: pure, told by the control plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from typing import Any, Self

CLOSED, CUT, FINISH = "closed", "cut", "finish"
NANO = Decimal(10) ** 9


def nano_of(usd: Decimal | str | float) -> int:
    return int((Decimal(str(usd)) * NANO).to_integral_value(ROUND_HALF_EVEN))


class BudgetExceeded(Exception):
    """There is no room under a cap. Asking again changes nothing before somebody settles, or the period ends."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        super().__init__(str(told.get("detail", "The budget is exceeded.")))
        self.budget = told.get("budget")
        self.spent_usd, self.reserved_usd = told.get("spent_usd"), told.get("reserved_usd")
        self.limit_usd, self.left_usd = told.get("limit_usd"), told.get("left_usd")
        self.period_to = told.get("period_to")


class BudgetUnverifiable(Exception):
    """Nobody can say whether there is room, and a budget that counts the call is closed to such calls."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a call. What was read from a cache and what was written to one are parts of the input."""

    input: int
    output: int
    cached: int = 0
    written: int = 0
    written_1h: int = 0  # a part of what was written


@dataclass(frozen=True, slots=True)
class Rates:
    """For calls of more input tokens than `above`: nano-USD a token, and a request."""

    above: int
    input: Decimal
    cached_input: Decimal
    cache_write: Decimal
    cache_write_1h: Decimal
    output: Decimal
    request: Decimal

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        def rate(name: str) -> Decimal:
            return Decimal(told.get(f"{name}_usd_per_million", told["input_usd_per_million"])) * 1000  # if it is older

        return cls(
            above=int(told["above"]),
            input=rate("input"),
            cached_input=rate("cached_input"),
            cache_write=rate("cache_write"),
            cache_write_1h=rate("cache_write_1h"),
            output=rate("output"),
            request=Decimal(told["request_usd"]) * NANO,
        )

    def most_of_prompt(self, input_tokens: int, cache_write_tokens: int | None) -> Decimal:
        """Without knowing how much of it is written to a cache, all of it may be, and may stay there for an hour."""
        written = input_tokens if cache_write_tokens is None else min(cache_write_tokens, input_tokens)
        plain = max(self.input, self.cached_input)
        per_written = max(plain, self.cache_write, self.cache_write_1h)
        return (input_tokens - written) * plain + written * per_written + self.request


@dataclass(frozen=True, slots=True)
class Terms:
    """Which hard caps count a call, and what it may cost. Without any cap nothing need be held."""

    is_capped: bool = True
    closed: tuple[str, ...] = ()  # names of caps that are closed to calls nobody can verify
    at_cap: str = FINISH
    rates: tuple[Rates, ...] = ()  # the lowest edge first
    max_cost: int | None = None  # nano-USD, of a request

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        caps, most = told["caps"], told["max_cost_usd"]
        return cls(
            is_capped=bool(caps),
            closed=tuple(cap["name"] for cap in caps if cap["on_unreachable"] == CLOSED),
            at_cap=CUT if any(cap["at_cap"] == CUT for cap in caps) else FINISH,
            rates=tuple(map(Rates.of, told["rates"])),
            max_cost=None if most is None else nano_of(most),
        )

    def rates_of(self, input_tokens: int) -> Rates | None:
        return next((rates for rates in reversed(self.rates) if input_tokens > rates.above or not rates.above), None)

    def most(
        self, input_tokens: int | None, max_tokens: int | None, cache_write_tokens: int | None = None
    ) -> tuple[int, int | None]:
        """(nano-USD, max_tokens) that a call may come to. Its max_tokens are cut to what `max_cost` allows."""
        rates = None if input_tokens is None else self.rates_of(input_tokens)
        if rates is None or input_tokens is None:
            if self.max_cost is None:
                raise ValueError("nobody knows what this call may cost: say usd, or give its variant a max_cost_usd")
            return self.max_cost, max_tokens
        prompt = rates.most_of_prompt(input_tokens, cache_write_tokens)
        if self.max_cost is not None and rates.output:
            fits = int((self.max_cost - prompt) // rates.output)
            if fits < 1:
                raise BudgetExceeded({"detail": "The prompt alone costs more than the variant's max_cost_usd."})
            max_tokens = fits if max_tokens is None else min(max_tokens, fits)
        if max_tokens is None:
            raise ValueError("an answer without an end may cost anything: say max_tokens, or usd")
        return int((prompt + max_tokens * rates.output).to_integral_value(ROUND_CEILING)), max_tokens

    def cost(self, usage: Usage) -> int | None:
        if (rates := self.rates_of(usage.input)) is None:
            return None
        nano = (
            (usage.input - usage.cached - usage.written) * rates.input
            + usage.cached * rates.cached_input
            + (usage.written - usage.written_1h) * rates.cache_write
            + usage.written_1h * rates.cache_write_1h
            + usage.output * rates.output
            + rates.request
        )
        return int(nano.to_integral_value(ROUND_HALF_EVEN))
