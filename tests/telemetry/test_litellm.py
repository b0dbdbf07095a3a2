"""LiteLLM's webhook: which of its rows are calls at a provider, and how they meet LiteLLM's spans."""

import itertools
import json

import pytest

from apps.telemetry import queries
from apps.telemetry.models import SuspectedShadow
from tests.telemetry.make_telemetry import NOW, ROUTE, heard, spent
from tests.telemetry.otlp_samples import post

pytestmark = pytest.mark.django_db(transaction=True)
numbers = itertools.count(1)
COST = 812 * 2000 + 64 * 8000  # nano-USD of such a row


def row(**fields):
    number = next(numbers)
    ordinary = {
        "id": f"chatcmpl-{number}", "litellm_call_id": f"call-{number}", "trace_id": f"request-{number}",
        "call_type": "acompletion", "status": "success", "model": "openai/gpt-4.1", "model_group": "ok",
        "custom_llm_provider": "openai", "prompt_tokens": 812, "completion_tokens": 64, "cache_hit": None,
        "startTime": NOW.timestamp() - 10, "endTime": NOW.timestamp() - 9.6, "response_cost": 0.002136,
        "request_tags": [f"route:{ROUTE}"],
    }  # fmt: skip
    return ordinary | fields


def send(key, *rows):
    answer = post("/api/v1/telemetry/litellm", json.dumps(rows).encode(), key)
    assert answer.status == 202, answer.body
    return answer.json


@pytest.mark.parametrize("cache_hit", [None, False, True, "True"])
def test_an_answer_from_the_gateways_cache_is_no_call_at_a_provider_though_it_repeats_its_usage(key, cache_hit):
    told = row(cache_hit=cache_hit, response_cost=0.0, id="chatcmpl-first")
    send(key, row(id="chatcmpl-first"), told)

    calls = 1 if cache_hit else 2
    assert (spent().calls, spent().confirmed_nano) == (calls, calls * COST)
    assert sum(line.calls for line in queries.windows("production", ROUTE, NOW.replace(hour=0), NOW)) == calls
    assert heard("gateway_cache_hit") == (1 if cache_hit else 0)


def test_an_answer_from_the_cache_is_not_taken_for_a_mirrored_call(key):
    send(key, row(trace_id="r-1"), row(trace_id="r-1", model_group="other", cache_hit=True))

    assert not SuspectedShadow.objects.exists()


@pytest.mark.parametrize(
    ("call_type", "calls"),
    [
        ("completion", 1), ("aresponses", 1), ("anthropic_messages", 1), ("agenerate_content_stream", 1),
        ("aimage_generation", 1), ("pass_through_endpoint", 1), ("", 1), (None, 1), ("aget_responses", 0),
        ("amoderation", 0), ("afile_list", 0), ("acreate_batch", 0), ("call_mcp_tool", 0),
    ],
)  # fmt: skip
def test_only_inference_is_a_call_and_the_rest_is_noted(key, call_type, calls):
    receipt = send(key, row(call_type=call_type))

    assert (receipt["accepted"], receipt["rejected"], spent().calls) == (calls, 0, calls)
    assert heard(f"not_a_call:{call_type}") == 1 - calls


def test_what_is_passed_through_without_tokens_was_no_call(key):
    send(key, row(call_type="pass_through_endpoint", prompt_tokens=0, completion_tokens=0))

    assert (spent().calls, heard("not_a_call:pass_through_endpoint")) == (0, 1)
