"""What one call cost, and how sure we are."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from apps.catalog.domain.pricing import Band, Price, Rates
from apps.telemetry.domain.pricing import (
    Priced,
    Rule,
    TokenHistory,
    Usual,
    cap_of,
    parse_rate,
    price_call,
    tokens_source,
)
from tests.telemetry.make_telemetry import call, plain_calls

PRICE = Price("openai", "gpt-4.1", datetime(2025, 1, 1, tzinfo=UTC), Rates(Decimal(2), Decimal(8), Decimal("0.5")))
MODEL, THINKER = "openai/gpt-4.1", "openai/gpt-5"
USUAL = TokenHistory([900, 1000, 1100], [10, 100, 5000], {MODEL: [10, 100, 5000]})


def price(history=USUAL, price=PRICE, variant_value=None, everywhere=None, model=MODEL, **fields):
    (one,) = plain_calls(call(**fields))
    return price_call(one, price, lambda: Usual(history, everywhere or TokenHistory(), model), variant_value)


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

    assert found == Priced(0, 2000 * 2000 + 100 * 8000, False, Rule.USUAL_OUTPUT, "", 0, 100)


def test_a_model_that_thinks_a_lot_is_taken_for_its_own_usual_answer():
    """The route's median is that of the other model: it would say a twentieth."""
    history = TokenHistory(USUAL.inputs, [100] * 50 + [2100] * 5, {MODEL: [100] * 50, THINKER: [2100] * 5})

    found = price(history, model=THINKER, error="timeout", input_tokens=1000, output_tokens=None)

    assert (found.estimated_nano, found.rule) == (1000 * 2000 + 2100 * 8000, Rule.USUAL_OUTPUT)


def test_a_model_that_is_new_on_a_route_is_taken_for_what_it_is_elsewhere():
    everywhere = TokenHistory([], [], {THINKER: [2000, 2100, 2200]})
    unknown = {"model": THINKER, "error": "timeout", "input_tokens": 1000, "output_tokens": None}

    assert price(everywhere=everywhere, **unknown).rule == "usual_output_of_model"
    assert price(everywhere=everywhere, **unknown).assumed_output == 2100
    assert price(**unknown) == Priced(0, 1000 * 2000 + 100 * 8000, False, "usual_output_of_route", "", 0, 100)


def test_a_stream_that_broke_off_is_billed_for_what_had_come():
    found = price(error="cancelled", input_tokens=1000, output_tokens=None, output_chars=401)

    assert found == Priced(0, 1000 * 2000 + 101 * 8000, False, Rule.STREAMED, "", 0, 101)


@pytest.mark.parametrize("source", ["counted", "estimated"])
def test_tokens_that_the_sender_counted_are_no_confirmation(source):
    found = price(tokens_source=source)

    assert (found.confirmed_nano, found.estimated_nano, found.rule) == (0, 2_800_000, Rule.COUNTED)
    assert price(tokens_source="reported").confirmed_nano == 2_800_000


@pytest.mark.parametrize(
    ("rule", "source"),
    [(Rule.PRICE_BOOK, "reported"), (Rule.SENDER, "reported"), (Rule.COUNTED, "counted"), (Rule.STREAMED, "estimated"),
     (Rule.USUAL_CALL, "estimated"), ("usual_output_of_route", "estimated"), (Rule.CAP, "estimated")],
)  # fmt: skip
def test_each_rule_says_whose_tokens_they_were(rule, source):
    assert tokens_source(rule) == source


def test_what_was_written_to_a_cache_has_its_own_price():
    dear = replace(PRICE, rates=replace(PRICE.rates, cache_write=Decimal(4), cache_write_1h=Decimal(6)))

    found = price(price=dear, input_tokens=1000, cache_write_tokens=300, cache_write_1h_tokens=100, output_tokens=0)

    assert found.confirmed_nano == 700 * 2000 + 200 * 4000 + 100 * 6000
    assert price(price=dear, input_tokens=1000, cache_write_tokens=1001, output_tokens=0).confirmed_nano == 2_000_000


def test_the_rate_of_a_price_is_told_with_its_band():
    banded = replace(PRICE, service_tier="flex", bands=(Band(200_000, PRICE.rates),))

    assert price(price=banded, input_tokens=200_000, output_tokens=1).rate == "flex>0"
    assert price(price=banded, input_tokens=200_001, output_tokens=1).rate == "flex>200000"
    assert [parse_rate(rate) for rate in ("", "flex", ">0", "flex>200000")] == [
        ("", None), ("flex", None), ("", 0), ("flex", 200_000),
    ]  # fmt: skip


def test_a_call_of_unknown_size_is_taken_for_the_usual_one():
    found = price(error="timeout", input_tokens=None, output_tokens=None)

    assert found == Priced(0, 1000 * 2000 + 100 * 8000, False, Rule.USUAL_CALL, "", 1000, 100)


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
        history.learn([size], [size], MODEL)

    assert (len(history.inputs), len(history.models[MODEL])) == (501, 101)
    assert (history.usual_input, history.usual_output_of(MODEL)) == (1749, 1949)


def test_models_that_are_not_used_any_more_are_forgotten():
    history = TokenHistory()
    for number in [*range(60), 20]:
        history.learn([1], [1], f"model-{number}")

    assert len(history.models) == 50
    assert list(history.models)[-1] == "model-20"
    assert TokenHistory(*history.plain()).plain() == history.plain()


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
