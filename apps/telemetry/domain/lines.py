"""What calls come to in a line of the ledger. In: calls whose price has the same rule, with their prices. Out: sums."""

from __future__ import annotations

from collections.abc import Sequence

from apps.telemetry.domain.batch import Call
from apps.telemetry.domain.pricing import ESTIMATED, Priced, cached_part, tokens_source, written_part
from apps.telemetry.domain.sums import LedgerSum

Tokens = tuple[int, int, int]  # input, cached, output


def line_sums(calls: Sequence[Call], prices: Sequence[Priced], tokens: Tokens) -> LedgerSum:
    """With the tokens by which they were priced: assumed ones as well. `tokens`: `tokens_of` the calls."""
    inputs, cached, outputs = tokens
    written = written_of(calls)
    if tokens_source(prices[0].rule) == ESTIMATED:
        inputs += sum([price.assumed_input for price in prices])
        outputs += sum([price.assumed_output for price in prices])
        cached, written = 0, (0, 0)  # an estimate knows no discount
    confirmed, estimated = [price.confirmed_nano for price in prices], [price.estimated_nano for price in prices]
    unpriced = len(calls) if prices[0].is_unpriced else 0
    return LedgerSum(len(calls), sum(confirmed), sum(estimated), unpriced, inputs, cached, outputs, *written)


def sums_of_one(call: Call, price: Priced) -> LedgerSum:
    """The same of a single call, for doors whose calls have a line each."""
    inputs, cached, outputs = call.input_tokens or 0, cached_part(call), call.output_tokens or 0
    written, for_1h = written_part(call) if call.cache_write_tokens else (0, 0)
    if tokens_source(price.rule) == ESTIMATED:
        inputs += price.assumed_input
        outputs += price.assumed_output
        cached = written = for_1h = 0  # an estimate knows no discount
    return LedgerSum(
        1, price.confirmed_nano, price.estimated_nano, int(price.is_unpriced), inputs, cached, outputs, written, for_1h
    )


def tokens_of(calls: Sequence[Call]) -> Tokens:
    """Cached is a part of the input: a larger one means something else."""
    inputs = cached = outputs = 0
    for call in calls:
        of_call, part = call.input_tokens or 0, call.cached_input_tokens or 0
        inputs += of_call
        outputs += call.output_tokens or 0
        if part <= of_call:
            cached += part
    return inputs, cached, outputs


def written_of(calls: Sequence[Call]) -> tuple[int, int]:
    """Tokens written to a cache, and those of them that stay for an hour."""
    if not any([call.cache_write_tokens for call in calls]):
        return 0, 0
    parts = [written_part(call) for call in calls]
    return sum([written for written, _ in parts]), sum([for_1h for _, for_1h in parts])
