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
class Rates:
    """For calls of more input tokens than `above`: nano-USD a token, and a request."""

    above: int
    input: Decimal
    cached_input: Decimal
    output: Decimal
    request: Decimal

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        return cls(
            above=int(told["above"]),
            input=Decimal(told["input_usd_per_million"]) * 1000,
            cached_input=Decimal(told["cached_input_usd_per_million"]) * 1000,
            output=Decimal(told["output_usd_per_million"]) * 1000,
            request=Decimal(told["request_usd"]) * NANO,
        )


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

    def most(self, input_tokens: int | None, max_tokens: int | None) -> tuple[int, int | None]:
        """(nano-USD, max_tokens) that a call may come to. Its max_tokens are cut to what `max_cost` allows."""
        rates = None if input_tokens is None else self.rates_of(input_tokens)
        if rates is None or input_tokens is None:
            if self.max_cost is None:
                raise ValueError("nobody knows what this call may cost: say usd, or give its variant a max_cost_usd")
            return self.max_cost, max_tokens
        prompt = input_tokens * rates.input + rates.request
        if self.max_cost is not None and rates.output:
            fits = int((self.max_cost - prompt) // rates.output)
            if fits < 1:
                raise BudgetExceeded({"detail": "The prompt alone costs more than the variant's max_cost_usd."})
            max_tokens = fits if max_tokens is None else min(max_tokens, fits)
        if max_tokens is None:
            raise ValueError("an answer without an end may cost anything: say max_tokens, or usd")
        return int((prompt + max_tokens * rates.output).to_integral_value(ROUND_CEILING)), max_tokens

    def cost(self, input_tokens: int, cached_input_tokens: int, output_tokens: int) -> int | None:
        if (rates := self.rates_of(input_tokens)) is None:
            return None
        fresh = input_tokens - cached_input_tokens
        nano = fresh * rates.input + cached_input_tokens * rates.cached_input + output_tokens * rates.output
        return int((nano + rates.request).to_integral_value(ROUND_HALF_EVEN))
