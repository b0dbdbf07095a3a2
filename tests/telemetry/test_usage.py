"""However a sender tells of a call's tokens, each is counted once and has its own price."""

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage as LibrarysUsage
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.catalog import shipped
from apps.telemetry.domain import aliases
from apps.telemetry.domain.attributes import fields_of
from apps.telemetry.domain.batch import Call
from apps.telemetry.domain.endings import error_class
from apps.telemetry.domain.pricing import Rule, price_call
from apps.telemetry.domain.spans import describe
from apps.telemetry.domain.usage import Usage, usage_of

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
RAW, REPR, DETAILS = "gen_ai.usage.raw", "metadata.usage_object", "langfuse.observation.usage_details"
MODELS = [
    ("anthropic", "claude-sonnet-4-5", ""), ("anthropic", "claude-haiku-4-5", ""), ("openai", "gpt-5", ""),
    ("openai", "gpt-5", "flex"), ("openai", "gpt-5", "priority"), ("google", "gemini-2.5-pro", ""),
    ("aws", "amazon.nova-pro-v1:0", ""),
]  # fmt: skip


@dataclass(frozen=True)
class Truth:
    """Numbers that share nothing."""

    fresh: int
    read: int
    written_5m: int
    written_1h: int
    outputs: int

    @property
    def written(self):
        return self.written_5m + self.written_1h

    @property
    def inputs(self):
        return self.fresh + self.read + self.written


sizes = st.one_of(st.integers(0, 3_000), st.integers(0, 300_000))
truths = st.builds(Truth, sizes, sizes, sizes, sizes, sizes)


def of_openai(told):
    return {"prompt_tokens": told.inputs, "completion_tokens": told.outputs,
            "total_tokens": told.inputs + told.outputs, "prompt_tokens_details": {"cached_tokens": told.read},
            "completion_tokens_details": {"reasoning_tokens": told.outputs // 2}}  # fmt: skip


def of_responses(told):
    return {"input_tokens": told.inputs, "output_tokens": told.outputs,
            "input_tokens_details": {"cached_tokens": told.read},
            "output_tokens_details": {"reasoning_tokens": told.outputs // 2}}  # fmt: skip


def of_anthropic(told):
    return {"input_tokens": told.fresh, "cache_read_input_tokens": told.read,
            "cache_creation_input_tokens": told.written, "output_tokens": told.outputs,
            "cache_creation": {"ephemeral_5m_input_tokens": told.written_5m,
                               "ephemeral_1h_input_tokens": told.written_1h}}  # fmt: skip


def of_litellm(told):
    return of_openai(told) | {"cache_read_input_tokens": told.read, "cache_creation_input_tokens": told.written}


def of_langfuse(told):
    return {"input": told.fresh, "cache_read_input_tokens": told.read, "cache_creation_input_tokens": told.written,
            "output": told.outputs - told.outputs // 2, "output_reasoning_tokens": told.outputs // 2,
            "total": told.inputs + told.outputs}  # fmt: skip


def of_langchain(told):
    return {"input": told.fresh, "input_cache_read": told.read, "input_cache_creation": told.written,
            "output": told.outputs}  # fmt: skip


def attributes(told, inputs, outputs, read="", written=""):
    named = {inputs: told.inputs, outputs: told.outputs, read: told.read, written: told.written}
    return {name: n for name, n in named.items() if name}


NEW = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
OLD = ("gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens")
NOTHING, WRITTEN, FOR_1H = 0, 1, 2  # of what was written to a cache, a dialect tells
DIALECTS = {
    "G4": (WRITTEN, lambda told: attributes(told, *NEW, "gen_ai.usage.cache_read.input_tokens",
                                            "gen_ai.usage.cache_write.input_tokens")),
    "G3": (WRITTEN, lambda told: attributes(told, *NEW, "gen_ai.usage.cache_read.input_tokens",
                                            "gen_ai.usage.cache_creation.input_tokens")),
    "G1": (WRITTEN, lambda told: attributes(told, *OLD, "gen_ai.usage.cache_read_input_tokens",
                                            "gen_ai.usage.cache_creation_input_tokens")),
    "OpenInference": (WRITTEN, lambda told: attributes(
        told, "llm.token_count.prompt", "llm.token_count.completion",
        "llm.token_count.prompt_details.cache_read", "llm.token_count.prompt_details.cache_write")),
    "Logfire, OpenAI": (NOTHING, lambda told: attributes(told, *NEW) | {RAW: json.dumps(of_openai(told))}),
    "Logfire, Responses": (NOTHING, lambda told: attributes(told, *NEW) | {RAW: json.dumps(of_responses(told))}),
    "Logfire, Anthropic": (FOR_1H, lambda told: attributes(told, *NEW) | {RAW: json.dumps(of_anthropic(told))}),
    "LiteLLM": (WRITTEN, lambda told: attributes(told, *NEW) | {REPR: repr(of_litellm(told))}),
    "Langfuse, OpenAI": (NOTHING, lambda told: {DETAILS: json.dumps(of_openai(told))}),
    "Langfuse, Responses": (NOTHING, lambda told: {DETAILS: json.dumps(of_responses(told))}),
    "Langfuse, Anthropic": (FOR_1H, lambda told: {DETAILS: json.dumps(of_anthropic(told))}),
    "Langfuse, its own": (WRITTEN, lambda told: {DETAILS: json.dumps(of_langfuse(told))}),
    "Langfuse, LangChain": (WRITTEN, lambda told: {DETAILS: json.dumps(of_langchain(told))}),
}  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=40, deadline=None)
@given(told=truths, model=st.sampled_from(MODELS))
def test_a_call_costs_what_the_price_library_calculates_in_whatever_dialect_it_is_told(dialect, told, model):
    tells, attributes_of = DIALECTS[dialect]
    written, written_1h = told.written if tells else 0, told.written_1h if tells == FOR_1H else 0
    provider, name, tier = model

    span = describe(fields_of(attributes_of(told)), "call", source="span", begin=1, end=2)
    call = Call(
        "c-1", AT, "r-1", 1.0, provider=provider, model=name, input_tokens=span.input_tokens,
        cached_input_tokens=span.cached_input_tokens, output_tokens=span.output_tokens,
        cache_write_tokens=span.cache_write_tokens, cache_write_1h_tokens=span.cache_write_1h_tokens,
    )  # fmt: skip
    found = price_call(call, shipped.price_book().find(provider, name, AT, tier), lambda: None, None)

    known, owner = library_model(provider, name)
    usage = LibrarysUsage(
        input_tokens=told.inputs, cache_read_tokens=told.read, output_tokens=told.outputs,
        cache_write_tokens=written, cache_write_1h_tokens=written_1h,
    )  # fmt: skip
    context = {"service_tier": tier} if tier else None
    theirs = known.calc_price(usage, owner, genai_request_timestamp=AT, price_context=context).total_price * 10**9
    assert (found.rule, found.estimated_nano) == (Rule.PRICE_BOOK, 0)
    assert abs(found.confirmed_nano - theirs) <= Decimal("0.500001")


def library_model(provider, name):
    found, known = get_snapshot().find_provider_model(name, None, provider, None)
    return known, found


numbers = st.one_of(st.integers(-5, 20_000), st.none(), st.booleans(), st.floats(), st.sampled_from(["7", "many"]))
keys = [*of_litellm(Truth(1, 1, 1, 1, 1)), *of_anthropic(Truth(1, 1, 1, 1, 1)), "input", "output", "input_cache_read"]
names = [*NEW, *OLD, "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_creation.input_tokens"]


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(names), numbers), st.dictionaries(st.sampled_from(keys), numbers),
       st.sampled_from([RAW, REPR, DETAILS]))  # fmt: skip
def test_cached_tokens_are_a_part_of_the_input_whatever_comes(attributes, usage, where):
    found = usage_of(fields_of(attributes | {where: usage}), [])

    assert (found.cached or 0) <= (found.inputs or 0)


ODD = st.sampled_from([
    "{[1]: 2}", "{'a': {1}: 2}", "{" * 500, "{'a':" * 3000, '{"input": 1, "output": 1e400}', "{3: 5, 'input': 4}",
    f'{{"a": {"9" * 400}}}', f'{{"total": {"9" * 400}}}', "{'prompt_tokens': " + "9" * 5000 + "}", "{'input': 1j}",
    '{"input_tokens_details": [1]}', '{"cache_creation": 5}', '{"model": {}}', "{**{}}", "²", "٣", "\0", "http://[",
    "9999-12-31T23:59:59+14:00", "2026-13-40", 10**400, -1, True, math.nan, math.inf, [], [None], {}, {"a": {}},
])  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(aliases.KEPT)), ODD, min_size=1, max_size=6))
def test_whatever_stands_in_an_attribute_costs_itself_and_not_its_call(attributes):
    assert describe(fields_of(attributes), "call", source="span", begin=1, end=2).source == "span"


@pytest.mark.parametrize(
    ("attributes", "usage"),
    [
        ({NEW[0]: 9_150, RAW: '{"input_tokens": 150, "cache_read_input_tokens": 9000}'}, Usage(9_150, 9_000)),
        ({DETAILS: '{"input_tokens": 50, "cache_read_input_tokens": 9000, "output_tokens": 7}'},
         Usage(9_050, 9_000, 7)),
        ({DETAILS: '{"input_tokens": 50, "cache_read_input_tokens": null}'}, Usage(50)),
        ({DETAILS: '{"prompt_tokens": 50, "cache_read_input_tokens": 40}'}, Usage(50, 40)),
        ({NEW[0]: 50, "gen_ai.usage.cache_read.input_tokens": 51}, Usage(50)),
        ({NEW[0]: 5, DETAILS: '{"input": 50, "output": 6}'}, Usage(5, None, 6)),
        ({RAW: "not packed"}, Usage()),
    ],
)  # fmt: skip
def test_the_keys_say_whether_an_input_includes_what_was_cached(attributes, usage):
    assert usage_of(fields_of(attributes), []) == usage


@pytest.mark.parametrize(
    ("name", "code", "kind"),
    [(None, 200, ""), (None, 201, ""), (None, "204", ""), (None, "", ""), (None, None, ""), (None, 302, "other"),
     (None, 418, "other"), (None, 429, "rate_limited"), ("openai.APITimeoutError", 201, "timeout"),
     ("MyOwnError", 200, "MyOwnError"), ("botocore.errorfactory.ThrottlingException", None, "rate_limited"),
     ("google.api_core.exceptions.ResourceExhausted", None, "rate_limited"), ("UNAVAILABLE", 503, "overloaded"),
     ("google.genai.errors.ClientError", 429, "rate_limited"), ("httpx.ConnectTimeout", None, "connection"),
     ("httpx.ReadTimeout", None, "timeout"), ("AccessDeniedException", 400, "auth")],
)  # fmt: skip
def test_errors_have_our_classes_and_a_success_of_any_code_is_none(name, code, kind):
    assert error_class(name, code) == kind
