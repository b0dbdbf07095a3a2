"""What one call cost, and how sure we are."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from apps.catalog.domain.pricing import Price, Rates
from apps.telemetry.domain.pricing import Priced, Rule, TokenHistory, cap_of, price_call
from tests.telemetry.make_telemetry import call, plain_calls

PRICE = Price("openai", "gpt-4.1", datetime(2025, 1, 1, tzinfo=UTC), Rates(Decimal(2), Decimal(8), Decimal("0.5")))
USUAL = TokenHistory([900, 1000, 1100], [10, 100, 5000])


def price(history=USUAL, price=PRICE, variant_value=None, **fields):
    (one,) = plain_calls(call(**fields))
    return price_call(one, price, history, variant_value)


def test_tokens_times_price_is_confirmed():
    assert price(input_tokens=1000, output_tokens=100) == Priced(2_800_000, 0, False, Rule.PRICE_BOOK)


def test_cached_tokens_are_not_charged_twice():
    assert price(input_tokens=1000, cached_input_tokens=1000, output_tokens=0).confirmed_nano == 500_000


def test_more_cached_than_input_tokens_means_something_else():
    assert price(input_tokens=1000, cached_input_tokens=1001, output_tokens=0).confirmed_nano == 2_000_000


@pytest.mark.parametrize("told", ["0.01", 0.01, "0.0100000004"])
def test_the_senders_own_cost_is_confirmed(told):
    assert price(cost_usd=told, input_tokens=None) == Priced(10_000_000, 0, False, Rule.SENDER)


def test_a_failed_call_costs_what_its_sender_says():
    assert price(cost_usd="0.5", error="rate_limited").confirmed_nano == 500_000_000


@pytest.mark.parametrize("error", ["rate_limited", "auth", "invalid_request", "connection"])
def test_a_refused_call_costs_nothing(error):
    assert price(error=error, input_tokens=5000, output_tokens=None) == Priced(0, 0, False, Rule.REFUSED)


def test_a_timeout_is_billed_for_its_prompt_and_the_usual_answer():
    found = price(error="timeout", input_tokens=2000, output_tokens=None)

    assert found == Priced(0, 2000 * 2000 + 100 * 8000, False, Rule.USUAL_OUTPUT)


def test_a_call_of_unknown_size_is_taken_for_the_usual_one():
    found = price(error="timeout", input_tokens=None, output_tokens=None)

    assert found == Priced(0, 1000 * 2000 + 100 * 8000, False, Rule.USUAL_CALL)


def test_a_success_without_tokens_is_estimated_too():
    assert price(output_tokens=None).estimated_nano == 1000 * 2000 + 100 * 8000


def test_zero_is_zero_and_not_unknown():
    assert price(error="timeout", input_tokens=0, output_tokens=0) == Priced(0, 0, False, Rule.PRICE_BOOK)


def test_without_history_a_call_costs_at_most_what_its_variant_allows():
    assert price(TokenHistory(), variant_value={"max_cost_usd": "0.02"}, error="timeout", output_tokens=None) == Priced(
        0, 20_000_000, False, Rule.CAP
    )


def test_without_history_and_cap_it_is_unpriced_and_not_free():
    assert price(TokenHistory(), error="timeout", output_tokens=None) == Priced(0, 0, True, Rule.NO_HISTORY)


def test_a_model_that_nobody_knows_is_unpriced_and_not_free():
    assert price(price=None) == Priced(0, 0, True, Rule.NO_PRICE)


def test_only_the_newest_calls_are_remembered():
    history = TokenHistory()
    for size in range(2000):
        history.learn(size, 1)

    assert len(history.inputs) == 501
    assert history.usual_input == 1749


@pytest.mark.parametrize(
    ("variant", "nano"),
    [
        ({"max_cost_usd": "0.02"}, 20_000_000),
        ({"max_cost_usd": 0.02}, 20_000_000),
        ({"max_cost_usd": "much"}, None),
        ({"max_cost_usd": "NaN"}, None),
        ({"max_cost_usd": True}, None),
        ({}, None),
        ("text", None),
        (None, None),
    ],
)
def test_a_cap_is_read_from_the_variant(variant, nano):
    assert cap_of(variant) == nano
