import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from genai_prices import Usage
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given
from hypothesis import strategies as st

from apps.catalog import shipped
from apps.catalog.domain.names import MAKERS, PROVIDERS, maker_of, normalised
from apps.catalog.domain.pricing import Price, PriceBook, Rates

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
tokens = st.integers(min_value=0, max_value=2_000_000)


def price(input="2", output="8", cached="0.5", valid_from=NOW, model="gpt-4.1"):
    return Price("openai", model, valid_from, Rates(Decimal(input), Decimal(output), cached and Decimal(cached)))


def test_the_article_adds_up():
    book = shipped.price_book()

    large = book.find("openai", "gpt-4.1", NOW).cost_nano(6_000, 0, 800)
    small = book.find("google", "gemini-2.5-flash-lite", NOW).cost_nano(6_000, 0, 800)

    assert large * 1000 == 18_400_000_000
    assert small * 1000 == 920_000_000


def test_cached_tokens_are_part_of_the_input():
    assert price().cost_nano(1000, 1000, 0) == 500_000
    assert price().cost_nano(1000, 400, 10) == 600 * 2000 + 400 * 500 + 10 * 8000


def test_without_a_cached_rate_cached_tokens_cost_as_much_as_any():
    assert price(cached=None).cost_nano(1000, 400, 0) == price(cached=None).cost_nano(1000, 0, 0)


def test_cheap_calls_do_not_round_to_zero():
    assert price(input="0.02").cost_nano(9, 0, 0) == 180


@pytest.mark.parametrize(("rate", "nano"), [("0.0005", 0), ("0.0015", 2), ("0.0025", 2), ("0.0026", 3)])
def test_a_call_is_rounded_half_even_once(rate, nano):
    assert price(input=rate).cost_nano(1, 0, 0) == nano


@given(tokens, tokens, tokens, st.decimals(min_value=0, max_value=1000, places=9, allow_nan=False))
def test_integers_say_the_same_as_decimals(inputs, cached, outputs, rate):
    cached = min(cached, inputs)
    exact = (Decimal(inputs - cached) * rate + Decimal(cached) * rate / 2 + Decimal(outputs) * rate) * 1000
    half = (rate / 2).quantize(Decimal("0.000000001"))
    sure = half * 2 == rate

    nano = Price("p", "m", NOW, Rates(rate, rate, half)).cost_nano(inputs, cached, outputs)

    assert not sure or nano == int(exact.to_integral_value("ROUND_HALF_EVEN"))


def test_the_whole_call_is_dearer_above_the_edge():
    sonnet = shipped.price_book().find("anthropic", "claude-sonnet-4-5", NOW)

    assert sonnet.cost_nano(200_000, 0, 1_000) == 615_000_000
    assert sonnet.cost_nano(200_001, 0, 1_000) == 1_222_506_000


def test_a_call_has_the_price_of_the_moment_it_began():
    before, after = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)
    book = PriceBook([price(input="4", valid_from=after), price(input="2", valid_from=before)])

    assert book.find("openai", "gpt-4.1", datetime(2026, 5, 31, tzinfo=UTC)).rates.input == 2
    assert book.find("openai", "gpt-4.1", after).rates.input == 4
    assert book.find("openai", "gpt-4.1", datetime(2025, 1, 1, tzinfo=UTC)).rates.input == 2


def test_own_prices_win_over_the_library():
    book = PriceBook([price(input="1")], beneath=shipped.price_book())

    assert book.find("openai", "gpt-4.1", NOW).rates.input == 1
    assert book.find("openai", "gpt-5", NOW).rates.input == Decimal("1.25")


def test_nobody_knows_an_unknown_model():
    book = shipped.price_book()

    assert book.find("openai", "gpt-99", NOW) is None
    assert book.find("openai", None, NOW) is None


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4.1"),
        (None, "openai/gpt-4.1"),
        ("openai", "openai/gpt-4.1"),
        ("OpenAI", "GPT-4.1"),
        ("openai", "gpt-4.1-2025-04-14"),
    ],
)
def test_one_model_has_many_spellings(provider, model):
    found = shipped.price_book().find(provider, model, NOW)

    assert (found.provider, found.model) == ("openai", "gpt-4.1")


@pytest.mark.parametrize(
    ("provider", "ours"),
    [("gcp.gemini", "google"), ("Azure.AI.Inference", "azure"), ("az.ai.inference", "azure"), ("mistralai", "mistral"),
     ("fireworks_ai", "fireworks"), ("bedrock_converse", "aws"), ("somebody", "somebody")],
)  # fmt: skip
def test_providers_have_other_names_in_the_field(provider, ours):
    assert normalised(provider, "models/m-1") == (ours, "m-1")
    assert normalised(None, f"{provider}/m-1") == (ours, "m-1")


@pytest.mark.parametrize(
    ("model", "key"),
    [
        ("claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
        ("claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4-5"),
        ("Claude-Haiku-4-5", "anthropic/claude-haiku-4-5"),
        ("claude-3-opus-20240229", "anthropic/claude-3-opus-latest"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws/regional.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("gpt-5-mini", "openai/gpt-5-mini"),
        ("chatgpt-4.1", "openai/gpt-4.1"),
        ("o3-mini", "openai/o3-mini"),
        ("text-embedding-3-small", "openai/text-embedding-3-small"),
        ("models/gemini-3.5-flash", "google/gemini-3.5-flash"),
        ("command-r-plus-08-2024", "cohere/command-r-plus"),
        ("grok-4", "x-ai/grok-4-0709"),
        ("mistral-large-latest", "mistral/mistral-large"),
        ("llama-3.3-70b", "cerebras/llama-3.3-70b"),  # the only one who has it
    ],
)
def test_a_model_without_a_provider_is_its_makers(model, key):
    found = shipped.price_book().find(None, model, NOW)

    assert f"{found.provider}/{found.model}" == key


def test_all_names_of_providers_and_makers_lead_to_one_that_has_prices():
    priced = {provider for provider, _ in shipped.price_book().by_model}

    assert {*PROVIDERS.values(), *MAKERS.values()} <= priced


def test_who_makes_a_model_is_asked_before_those_who_resell_it():
    book = shipped.price_book()

    for provider, model in book.by_model:
        if provider != "aws" and provider == maker_of(model):
            assert book.find(None, model, NOW) is book.find(provider, model, NOW)


def test_a_model_of_many_resellers_and_no_known_maker_has_no_price():
    assert shipped.price_book().find(None, "r1-1776", NOW) is None


def test_an_own_model_that_is_named_like_somebody_elses_keeps_its_own_price():
    own = replace(price(input="1", model="gpt-5-mini-invoices"), provider="internal")

    assert PriceBook([own], beneath=shipped.price_book()).find(None, "gpt-5-mini-invoices", NOW) == own


def test_a_router_keeps_its_slashes():
    assert normalised("openrouter", "openai/gpt-4.1") == ("openrouter", "openai/gpt-4.1")


def test_tokens_written_to_a_cache_are_part_of_the_input():
    rates = Rates(Decimal(3), Decimal(15), Decimal("0.30"), Decimal("3.75"), Decimal(6))
    sonnet = Price("anthropic", "claude", NOW, rates)

    assert sonnet.cost_nano(1000, 200, 0, 300) == 500 * 3000 + 200 * 300 + 300 * 3750
    assert sonnet.cost_nano(1000, 0, 0, 300, 300) == 700 * 3000 + 300 * 6000
    assert price().cost_nano(1000, 0, 0, 300) == 1000 * 2000  # where writing has no rate of its own


@given(tokens, tokens, tokens, tokens)
def test_parts_of_the_input_are_never_added_to_it(inputs, cached, written, for_1h):
    """At one rate for all of them it does not matter how many were cached or written."""
    cached = min(cached, inputs)
    written = min(written, inputs - cached)
    same = Price("p", "m", NOW, Rates(Decimal(3), Decimal(9), Decimal(3), Decimal(3), Decimal(3)))

    assert same.cost_nano(inputs, cached, 7, written, min(for_1h, written)) == inputs * 3000 + 7 * 9000


@given(st.lists(st.tuples(tokens, tokens), min_size=1, max_size=30), st.randoms())
def test_calls_add_up_to_the_same_in_any_order(calls, chance):
    model = price(input="0.0000005", output="0.3")  # so that each call is rounded
    once = sum(model.cost_nano(inputs, 0, outputs) for inputs, outputs in calls)
    chance.shuffle(calls)

    assert sum(model.cost_nano(inputs, 0, outputs) for inputs, outputs in calls) == once


def test_a_request_may_have_a_fee():
    sonar = shipped.price_book().find("perplexity", "sonar", NOW)

    assert sonar.cost_nano(0, 0, 0) == 12_000_000
    assert sonar.cost_nano(1000, 0, 0, calls=2) == 24_000_000 + 1_000_000


def test_a_model_may_have_several_edges():
    coder = shipped.price_book().find("openrouter", "qwen/qwen3-coder-flash", NOW)

    assert len(coder.edges) == 2
    assert [coder.edge_of(n) for n in (1, coder.edges[0], coder.edges[0] + 1, coder.edges[1] + 1)] == [
        0, 0, coder.edges[0], coder.edges[1],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("tier", "rate"),
    [("flex", "0.625"), ("BATCH", "0.625"), ("priority", "2.5"), ("auto", "1.25"), (None, "1.25"), ("new", "1.25")],
)
def test_a_service_tier_has_its_own_rates(tier, rate):
    assert shipped.price_book().find("openai", "gpt-5", NOW, tier).rates.input == Decimal(rate)


def test_some_models_are_dearer_in_some_hours_of_the_day():
    book = shipped.price_book()
    noon, night = (book.find("deepseek", "deepseek-chat", NOW.replace(hour=hour)) for hour in (12, 20))

    assert noon.rates.input == 2 * night.rates.input
    in_tokyo = NOW.replace(hour=12).astimezone(ZoneInfo("Asia/Tokyo"))  # 21:00 there
    assert book.find("deepseek", "deepseek-chat", in_tokyo) == noon


def test_an_own_price_wins_from_its_own_moment_on():
    book = PriceBook([price(input="1", valid_from=NOW)], beneath=shipped.price_book())

    assert book.find("openai", "gpt-4.1", NOW - timedelta(seconds=1)).rates.input == 2
    assert book.find("openai", "gpt-4.1", NOW).rates.input == 1


def test_a_price_that_has_ended_prices_nothing_more():
    ended = PriceBook([replace(price(), valid_to=NOW + timedelta(days=1))])

    assert ended.find("openai", "gpt-4.1", NOW) is not None
    assert ended.find("openai", "gpt-4.1", NOW + timedelta(days=1)) is None


def test_a_provider_serves_what_another_one_has_a_price_of():
    assert shipped.price_book().find("azure", "gpt-5-2025-08-07", NOW).rates.output == 10


CONTEXTS = {"": None, "flex": {"service_tier": "flex"}, "batch": {"processing": "batch"},
            "priority": {"service_tier": "priority"}, "default": {"service_tier": "default"}}  # fmt: skip


def test_our_rows_give_what_the_library_calculates():
    """All its models, over three years, at every service tier, to the nano-USD."""
    chance, book, compared = random.Random(7), shipped.price_book(), 0
    for provider, model in [(one, model) for one in get_snapshot().providers for model in one.models]:
        for tier, context in CONTEXTS.items() if model.price_variants else [("", None)]:
            at = datetime(2024, 6, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(3 * 365 * 86_400))
            inputs = chance.choice([chance.randrange(5_000), chance.randrange(1_000_000)])
            cached = chance.randrange(inputs + 1)
            written = chance.randrange(inputs - cached + 1)
            for_1h, outputs = chance.randrange(written + 1), chance.randrange(20_000)
            usage = Usage(
                input_tokens=inputs, cache_read_tokens=cached, cache_write_tokens=written,
                cache_write_1h_tokens=for_1h, output_tokens=outputs,
            )  # fmt: skip
            priced = model.calc_price(usage, provider, genai_request_timestamp=at, price_context=context)
            theirs, ours = priced.total_price * 10**9, book.find(provider.id, model.id, at, tier)
            if ours is None:  # billed by something else than tokens, or by nothing
                assert theirs == 0
            else:
                compared += 1
                nano = ours.cost_nano(inputs, cached, outputs, written, for_1h)
                assert abs(nano - theirs) <= Decimal("0.500001"), (provider.id, ours, usage)
    assert compared > 2_300
