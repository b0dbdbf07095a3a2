"""One call's line of the ledger is what a line of many calls says of it."""

from datetime import UTC, datetime

import pytest

from apps.telemetry.domain.batch import Call
from apps.telemetry.domain.lines import line_sums, sums_of_one, tokens_of
from apps.telemetry.domain.pricing import OF_ROUTE, Priced, Rule

AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "tokens",
    [
        {},
        {"input_tokens": 100, "output_tokens": 10},
        {"input_tokens": 100, "cached_input_tokens": 40, "output_tokens": 10},
        {"input_tokens": 100, "cached_input_tokens": 101, "output_tokens": 10},
        {"input_tokens": 100, "cached_input_tokens": 40, "cache_write_tokens": 30, "cache_write_1h_tokens": 20},
        {"input_tokens": 100, "cached_input_tokens": 80, "cache_write_tokens": 30},
    ],
)
@pytest.mark.parametrize(
    "price",
    [
        Priced(7, 0, False, Rule.PRICE_BOOK),
        Priced(0, 0, True, Rule.NO_PRICE),
        Priced(0, 9, False, Rule.USUAL_CALL + OF_ROUTE, "", 50, 5),
    ],
)
def test_a_line_of_one_call_is_the_line_of_many_that_are_one(tokens, price):
    call = Call("c", AT, "route", 100.0, **tokens)

    assert sums_of_one(call, price) == line_sums([call], [price], tokens_of([call]))
