"""What one call cost, and how sure we are.

In: a call, the price of its model, what calls of its route and model usually are. Out: nano-USD, confirmed or
estimated, or "unpriced", with the rule that said so. Unknown is never free: a call that reached its provider and came
back without token counts is estimated, and one that nobody can price is counted as unpriced.

An estimate takes the prompt at the input price, without a discount for what may have been cached. The answer of a call
that broke off is what had been streamed, four characters a token; that of one which timed out is the usual one, which
the provider finishes and bills: the model's own on this route, since a model that thinks writes a hundred times as much
as one that does not, else the model's on any route, else the route's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

from msgspec import Struct

from apps.catalog.domain.names import service_tier_of
from apps.catalog.domain.pricing import Price
from apps.telemetry.domain.batch import Call

REFUSED = frozenset({"rate_limited", "auth", "invalid_request", "connection"})  # never billed by a provider
REMEMBERED = 501  # calls; an odd number has a middle
OF_A_MODEL = 101
MOST_MODELS = 50  # of one history: the least used one makes way
EVERYWHERE = ""  # the route of a history of all routes
CHARACTERS = 4  # of a token


class Rule:
    SENDER = "sender"  # the sender knows what it cost
    REFUSED = "refused"  # the provider did not take the call
    PRICE_BOOK = "price_book"  # tokens times price
    METRIC = "metric"  # the same, of calls that only metrics tell of
    COUNTED = "counted"  # the same, but the sender counted or guessed the tokens
    STREAMED = "streamed"  # what came before the stream broke off
    USUAL_OUTPUT = "usual_output"  # its own input, the usual output of its model on this route
    USUAL_CALL = "usual_call"  # the route's median input, and that output
    CAP = "cap"  # no history yet: the most that the variant allows for a request
    NO_PRICE = "no_price"  # but its tokens are known: a price that comes later can be applied
    NO_PRICE_NO_USAGE = "no_usage"
    NO_HISTORY = "no_history"
    REPRICED = "repriced"  # what a new price adds to or takes from lines that are already there
    REPRICED_ESTIMATE = "repriced_estimate"  # and from estimated ones


GUESSES = (Rule.USUAL_OUTPUT, Rule.USUAL_CALL, Rule.STREAMED, Rule.CAP, Rule.REPRICED_ESTIMATE)
HOLD = "hold_"  # of money set aside for a call that nobody told the end of
OF_MODEL, OF_ROUTE = "_of_model", "_of_route"  # after the usual ones: whose output it was, if not the model's own here
REPORTED, COUNTED, ESTIMATED = "reported", "counted", "estimated"


_ESTIMATES = (*GUESSES, HOLD)


def tokens_source(rule: str) -> str:
    """Whose numbers the tokens behind a line are: reported by the provider, counted by the sender, or estimated."""
    if rule == Rule.COUNTED:
        return COUNTED
    return ESTIMATED if rule.startswith(_ESTIMATES) else REPORTED


class Priced(Struct, frozen=True, gc=False):
    """`rate`: which of the price's rates it was. The assumed tokens are those that nobody reported."""

    confirmed_nano: int
    estimated_nano: int
    is_unpriced: bool
    rule: str
    rate: str = ""
    assumed_input: int = 0
    assumed_output: int = 0


class TokenHistory:
    """Token counts of the newest complete calls of a route: what a call of unknown size is taken for."""

    __slots__ = ("_medians", "inputs", "models", "outputs")

    def __init__(
        self,
        inputs: Iterable[int] = (),
        outputs: Iterable[int] = (),
        models: Mapping[str, Iterable[int]] | None = None,
    ) -> None:
        self.inputs = deque(inputs, maxlen=REMEMBERED)
        self.outputs = deque(outputs, maxlen=REMEMBERED)
        self.models = {model: deque(told, maxlen=OF_A_MODEL) for model, told in (models or {}).items()}
        self._medians: dict[str, int | None] = {}

    def learn(self, inputs: Sequence[int], outputs: Sequence[int], model: str) -> None:
        """Calls of one model."""
        self.inputs.extend(inputs)
        self.outputs.extend(outputs)
        of_model = self.models.pop(model, None) or deque(maxlen=OF_A_MODEL)
        of_model.extend(outputs)
        self.models[model] = of_model  # the newest stands last
        if len(self.models) > MOST_MODELS:
            del self.models[next(iter(self.models))]
        self._medians.clear()

    def plain(self) -> tuple[list[int], list[int], dict[str, list[int]]]:
        return list(self.inputs), list(self.outputs), {model: list(told) for model, told in self.models.items()}

    @property
    def usual_input(self) -> int | None:
        return self._median("<", self.inputs)

    @property
    def usual_output(self) -> int | None:
        return self._median(">", self.outputs)

    def usual_output_of(self, model: str) -> int | None:
        return self._median(model, self.models.get(model))

    def _median(self, name: str, numbers: deque[int] | None) -> int | None:
        """The lower one of the two in the middle: a number that was really seen. Worked out once for many calls."""
        if name not in self._medians:
            self._medians[name] = sorted(numbers)[(len(numbers) - 1) // 2] if numbers else None
        return self._medians[name]


class Usual(NamedTuple):
    """What a call of this model on this route is taken for."""

    route: TokenHistory
    everywhere: TokenHistory
    model: str

    def output(self) -> tuple[int | None, str]:
        """With whose it is."""
        for history, of in ((self.route, ""), (self.everywhere, OF_MODEL)):
            if (own := history.usual_output_of(self.model)) is not None:
                return own, of
        return self.route.usual_output, OF_ROUTE


def is_complete(call: Call) -> bool:
    """Whether something can be learnt from it: an answered call whose tokens its provider told."""
    told = call.input_tokens is not None and call.output_tokens is not None
    return told and not call.error and call.tokens_source in (None, REPORTED)


def written_part(call: Call) -> tuple[int, int]:
    """Tokens written to a cache, and those for an hour. A part that is larger than its whole means something else."""
    inputs, cached, written = call.input_tokens or 0, cached_part(call), call.cache_write_tokens or 0
    if cached + written > inputs:
        return 0, 0
    return written, min(call.cache_write_1h_tokens or 0, written)


def cached_part(call: Call) -> int:
    cached = call.cached_input_tokens or 0
    return cached if cached <= (call.input_tokens or 0) else 0


def price_call(call: Call, price: Price | None, usual: Callable[[], Usual], variant: object) -> Priced:
    """`usual` is asked for where an estimate needs it: most calls need none."""
    if call.cost_usd is not None:
        nano = int(call.cost_usd.scaleb(9).to_integral_value(ROUND_HALF_EVEN))
        return Priced(nano, 0, False, Rule.SENDER)
    if call.error in REFUSED:
        return Priced(0, 0, False, Rule.REFUSED)
    inputs, outputs = call.input_tokens, call.output_tokens
    if price is None:
        has_usage = inputs is not None and outputs is not None
        rule = Rule.NO_PRICE if has_usage else Rule.NO_PRICE_NO_USAGE
        return Priced(0, 0, True, rule, service_tier_of(call.service_tier))
    if inputs is None or outputs is None:
        return estimate(call, price, usual(), cap_of(variant))
    written, for_1h = written_part(call) if call.cache_write_tokens else (0, 0)
    nano = price.cost_nano(inputs, cached_part(call), outputs, written, for_1h)
    rate = rate_of(price, inputs)
    if call.tokens_source in (None, REPORTED):
        return Priced(nano, 0, False, Rule.PRICE_BOOK, rate)
    return Priced(0, nano, False, Rule.COUNTED, rate)


def estimate(call: Call, price: Price, usual: Usual, cap_nano: int | None) -> Priced:
    inputs = call.input_tokens if call.input_tokens is not None else usual.route.usual_input
    outputs, of = call.output_tokens, ""
    rule = Rule.USUAL_OUTPUT if call.input_tokens is not None else Rule.USUAL_CALL
    if outputs is None and call.output_chars is not None:
        outputs, rule = -(-call.output_chars // CHARACTERS), Rule.STREAMED
    elif outputs is None:
        outputs, of = usual.output()
    if inputs is not None and outputs is not None:
        assumed = (inputs - (call.input_tokens or 0), outputs - (call.output_tokens or 0))
        nano = price.cost_nano(inputs, 0, outputs)
        return Priced(0, nano, False, rule + of, rate_of(price, inputs), *assumed)
    if cap_nano is not None:
        return Priced(0, cap_nano, False, Rule.CAP)
    return Priced(0, 0, True, Rule.NO_HISTORY)


def rate_of(price: Price, input_tokens: int) -> str:
    """`flex>200000`: the service tier, and above which edge the call lies; `>0` below all of them."""
    if not price.bands:
        return price.service_tier
    return f"{price.service_tier}>{price.edge_of(input_tokens)}"


def parse_rate(rate: str) -> tuple[str, int | None]:
    """The service tier and the edge; None: of a price that had none."""
    tier, has_bands, edge = rate.partition(">")
    return tier, int(edge) if has_bands else None


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
