"""Senders tell in many ways what was written to a cache and which service tier answered: each has its own price."""

import json

import pytest

from apps.telemetry.domain import intake, litellm, otlp_json
from apps.telemetry.domain.attributes import fields_of
from apps.telemetry.domain.usage import usage_of
from tests.telemetry.make_otlp import CALL, SECOND, span, traces
from tests.telemetry.make_telemetry import NOW

NOW_NANO = int(NOW.timestamp()) * SECOND


@pytest.mark.parametrize(
    ("attributes", "written"),
    [
        ({"gen_ai.usage.cache_write.input_tokens": 300}, (300, None)),
        ({"gen_ai.usage.cache_creation.input_tokens": 300}, (300, None)),
        ({"gen_ai.usage.cache_creation_input_tokens": 300}, (300, None)),
        ({"llm.token_count.prompt_details.cache_write": 300}, (300, None)),
        ({"gen_ai.usage.raw": '{"cache_creation_input_tokens": 300,'
          ' "cache_creation": {"ephemeral_1h_input_tokens": 100}}'}, (300, 100)),
        ({"metadata.usage_object": "{'prompt_tokens_details': {'cache_write_tokens': 300}}"}, (300, None)),
        ({"metadata.usage_object": "{'prompt_tokens_details': {'cache_write_tokens': None}}"}, (None, None)),
        ({}, (None, None)),
    ],
)  # fmt: skip
def test_written_tokens_have_many_names(attributes, written):
    usage = usage_of(fields_of(attributes), [])

    assert (usage.written, usage.written_1h) == written


@pytest.mark.parametrize("name", ["openai.response.service_tier", "gen_ai.openai.response.service_tier"])
def test_a_span_tells_what_was_written_and_which_tier_answered(name):
    body = traces(span(CALL | {name: "flex", "gen_ai.usage.cache_creation.input_tokens": 300}))

    (call,) = intake.of_body(otlp_json.read_traces(body), environment="production", now=NOW_NANO).calls

    assert (call.cache_write_tokens, call.service_tier) == (300, "flex")


def test_a_gateways_row_tells_them_too():
    row = {
        "litellm_call_id": "c-1", "startTime": NOW.timestamp() - 2, "endTime": NOW.timestamp() - 1, "model": "gpt-5",
        "prompt_tokens": 1000, "completion_tokens": 10, "cost_breakdown": {"service_tier": "priority"},
        "metadata": {"usage_object": {"cache_creation_input_tokens": 300}},
    }  # fmt: skip

    (call,) = litellm.read(json.dumps([row]).encode(), NOW_NANO).calls
    (broken,) = litellm.read(json.dumps([row | {"cost_breakdown": "?"}]).encode(), NOW_NANO).calls

    assert (call.cache_write_tokens, call.service_tier, broken.service_tier) == (300, "priority", "")
