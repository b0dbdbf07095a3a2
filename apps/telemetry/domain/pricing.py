"""What one call cost, and how sure we are.

In: a call, the price of its model, what its route's calls usually are. Out: nano-USD, confirmed or estimated, or
"unpriced", with the rule that said so. Unknown is never free: a call that reached its provider and came back without
token counts is estimated, and one that nobody can price is counted as unpriced.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

from apps.catalog.domain.pricing import Price
from apps.telemetry.domain.batch import Call

REFUSED = frozenset({"rate_limited", "auth", "invalid_request", "connection"})  # never billed by a provider
REMEMBERED = 501  # calls; an odd number has a middle


class Rule:
    SENDER = "sender"  # the sender knows what it cost
    REFUSED = "refused"  # the provider did not take the call
    PRICE_BOOK = "price_book"  # tokens times price
    USUAL_OUTPUT = "usual_output"  # its own input, the route's median output
    USUAL_CALL = "usual_call"  # the route's median input and output
    CAP = "cap"  # no history yet: the most that the variant allows for a request
    NO_PRICE = "no_price"  # but its tokens are known: a price that comes later can be applied
    NO_PRICE_NO_USAGE = "no_usage"
    NO_HISTORY = "no_history"
    REPRICED = "repriced"  # what a new price adds to or takes from lines that are already there


class Priced(NamedTuple):
    confirmed_nano: int
    estimated_nano: int
    is_unpriced: bool
    rule: str


class TokenHistory:
    """Token counts of a route's newest complete calls: what a call of unknown size is taken for."""

    __slots__ = ("inputs", "outputs")

    def __init__(self, inputs: Iterable[int] = (), outputs: Iterable[int] = ()) -> None:
        self.inputs = deque(inputs, maxlen=REMEMBERED)
        self.outputs = deque(outputs, maxlen=REMEMBERED)

    def learn(self, input_tokens: int, output_tokens: int) -> None:
        self.inputs.append(input_tokens)
        self.outputs.append(output_tokens)

    @property
    def usual_input(self) -> int | None:
        return median(self.inputs)

    @property
    def usual_output(self) -> int | None:
        return median(self.outputs)


def median(numbers: deque[int]) -> int | None:
    """The lower one of the two in the middle: a number that was really seen."""
    return sorted(numbers)[(len(numbers) - 1) // 2] if numbers else None


def price_call(call: Call, price: Price | None, history: TokenHistory, variant: object) -> Priced:
    if call.cost_usd is not None:
        nano = int(call.cost_usd.scaleb(9).to_integral_value(ROUND_HALF_EVEN))
        return Priced(nano, 0, False, Rule.SENDER)
    if call.error in REFUSED:
        return Priced(0, 0, False, Rule.REFUSED)
    inputs, outputs = call.input_tokens, call.output_tokens
    if price is None:
        has_usage = inputs is not None and outputs is not None
        return Priced(0, 0, True, Rule.NO_PRICE if has_usage else Rule.NO_PRICE_NO_USAGE)
    if inputs is not None and outputs is not None:
        cached = call.cached_input_tokens or 0
        nano = price.cost_nano(inputs, cached if cached <= inputs else 0, outputs)
        return Priced(nano, 0, False, Rule.PRICE_BOOK)
    return estimate(call, price, history, cap_of(variant))


def estimate(call: Call, price: Price, history: TokenHistory, cap_nano: int | None) -> Priced:
    """The prompt at the input price, without a discount for what may have been cached, and the usual output."""
    inputs = call.input_tokens if call.input_tokens is not None else history.usual_input
    outputs = call.output_tokens if call.output_tokens is not None else history.usual_output
    if inputs is not None and outputs is not None:
        rule = Rule.USUAL_CALL if call.input_tokens is None else Rule.USUAL_OUTPUT
        return Priced(0, price.cost_nano(inputs, 0, outputs), False, rule)
    if cap_nano is not None:
        return Priced(0, cap_nano, False, Rule.CAP)
    return Priced(0, 0, True, Rule.NO_HISTORY)


def cap_of(variant: object) -> int | None:
    """`max_cost_usd` of a route's variant, in nano-USD."""
    cap = variant.get("max_cost_usd") if isinstance(variant, dict) else None
    if cap is None or isinstance(cap, bool):
        return None
    try:
        nano = Decimal(str(cap)).scaleb(9)
        return int(nano.to_integral_value(ROUND_HALF_EVEN)) if nano.is_finite() and nano >= 0 else None
    except ArithmeticError:
        return None
