"""What calls that were counted together cost by another price. In: their tokens, the rate they had. Out: nano-USD.

Costs are linear in tokens within one band of prompt size, so a sum of calls can be priced as one. Of which band calls
were is told by their rate; where a price has other bands than theirs had, only the size of the whole can tell.
"""

from __future__ import annotations

from typing import Protocol

from apps.catalog.domain.pricing import Price
from apps.telemetry.domain.pricing import COUNTED, GUESSES, Rule, parse_rate, tokens_source

CONFIRMED_RULES = (Rule.PRICE_BOOK, Rule.NO_PRICE, Rule.METRIC, Rule.REPRICED)
OTHER_BANDS = "sums of calls do not tell in which of its bands of prompt size each of them was"


class Counted(Protocol):
    """Calls of one model and rate, with the tokens by which they were priced."""

    @property
    def calls(self) -> int: ...
    @property
    def input_tokens(self) -> int: ...
    @property
    def cached_input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def cache_write_tokens(self) -> int: ...
    @property
    def cache_write_1h_tokens(self) -> int: ...


def is_estimate(rule: str) -> bool:
    return rule.startswith(GUESSES) or tokens_source(rule) == COUNTED


def can_be_priced_again(rule: str) -> bool:
    """Not what a sender said, nor what was refused, nor the cap of a variant: these come from no tokens."""
    return rule in CONFIRMED_RULES or (is_estimate(rule) and rule != Rule.CAP)


def cost_again(price: Price, of: Counted, rate: str) -> int | None:
    """None: nobody can tell."""
    edge = edge_by(price, of, rate)
    if edge is None:
        return None
    return price.cost_nano(
        of.input_tokens,
        of.cached_input_tokens,
        of.output_tokens,
        of.cache_write_tokens,
        of.cache_write_1h_tokens,
        calls=of.calls,
        edge=edge,
    )


def edge_by(price: Price, of: Counted, rate: str) -> int | None:
    """The edge of this price above which all of these calls lie, and above no higher one."""
    had = parse_rate(rate)[1]
    if not price.bands or had in (0, *price.edges):
        return had or 0
    if of.calls == 1:
        return price.edge_of(of.input_tokens)
    return 0 if of.input_tokens <= price.edges[0] else None
