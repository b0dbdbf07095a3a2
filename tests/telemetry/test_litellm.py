"""LiteLLM's webhook: which of its rows are calls at a provider, and how they meet LiteLLM's spans."""

import itertools
import json

import pytest

from apps.core.actors import WORKER
from apps.telemetry import meeting, queries, shadows, trace_rows
from apps.telemetry.models import SuspectedShadow, Trace
from tests.telemetry.make_otlp import CALL, TRACES, evaluation, span, traces
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


def test_rows_come_in_an_array_alone_or_one_a_line_and_each_call_id_counts_once(key):
    one, other, third = row(), row(), row()
    bodies = [json.dumps(one), json.dumps([one, other]), f"{json.dumps(one)}\n{json.dumps(third)}\n", "[]"]
    answers = [post("/api/v1/telemetry/litellm", body.encode(), key) for body in bodies]
    again = one | {"trace_id": "another", "request_tags": []}

    assert [(told.status, told.json["accepted"], told.json["duplicates"]) for told in answers] == [
        (202, 1, 0), (202, 1, 1), (202, 1, 1), (202, 0, 0)
    ]  # fmt: skip
    assert send(key, again, again)["duplicates"] == 2
    assert spent().calls == 3


def test_a_prompt_that_was_cut_in_the_middle_of_a_character_costs_no_row_its_money(key):
    told = json.dumps([row(messages="\ud83d"), row()])

    assert post("/api/v1/telemetry/litellm", told.encode(), key).json == {"accepted": 2, "duplicates": 0, "rejected": 0}


CLIENT = CALL | {"gen_ai.usage.input_tokens": 812, "gen_ai.usage.output_tokens": 64}


def client_span(key, response_id, **fields):
    """Of a service that calls through the gateway, and is instrumented itself."""
    told = CLIENT | {"gen_ai.response.id": response_id}
    assert post(TRACES, traces(span(told, **fields)), key).status == 200


@pytest.mark.parametrize("first", ["row", "span"])
@pytest.mark.parametrize("is_known", [False, True])
def test_a_call_that_the_gateway_and_its_client_tell_is_one_call_and_the_gateway_has_the_money(key, first, is_known):
    if is_known:
        send(key, row())
    told = row(id="chatcmpl-x", prompt_tokens=1000, request_tags=[])
    ways = [lambda: send(key, told), lambda: client_span(key, "chatcmpl-x", seconds_ago=10.1, took=0.6)]

    for tell in ways if first == "row" else reversed(ways):
        tell()

    before = COST if is_known else 0
    assert (spent().calls, spent().confirmed_nano) == (1 + is_known, before + 1000 * 2000 + 64 * 8000)
    assert spent(route=ROUTE).calls == 1 + is_known  # the gateway did not say the route, and its client did
    assert heard("covered") == 1
    assert sum(line.calls for line in queries.windows("production", ROUTE, NOW.replace(hour=0), NOW)) == 1 + is_known


@pytest.mark.parametrize("before", [0, 2, 3])
def test_of_all_traces_that_tell_of_one_call_its_row_counts_though_some_came_before_a_gateway_was_known(key, before):
    ways = [lambda: client_span(key, "chatcmpl-x", seconds_ago=10.1, took=0.6)] * 3
    ways.insert(before, lambda: send(key, row(id="chatcmpl-x")))

    for tell in ways:
        tell()

    assert (spent().calls, spent().confirmed_nano, heard("covered")) == (1, COST, 3)


FAILED = {name: held for name, held in CALL.items() if "usage" not in name} | {"error.type": "Timeout"}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_failed_call_is_met_by_the_gateways_id_if_its_client_tells_it(key, order):
    """The gateway answers with `x-litellm-call-id`, whether the call failed or not."""
    failure = {"status": "failure", "error_information": {"error_class": "Timeout"}, "request_tags": []}
    told = row(prompt_tokens=0, completion_tokens=0, **failure)
    nameless = FAILED | {"changeover.route": "", "litellm.call_id": told["litellm_call_id"]}
    gateway, client = span(nameless), span(nameless | {"changeover.route": ROUTE}, seconds_ago=10.1, took=0.6)
    ways = [lambda: send(key, told), lambda: post(TRACES, traces(gateway, service__name="litellm"), key),
            lambda: post(TRACES, traces(client), key)]  # fmt: skip

    for _ in range(2):
        for number in order:
            ways[number]()

    assert (spent(route=ROUTE).calls, spent().calls, heard("covered")) == (1, 1, 2)


def test_a_route_that_comes_late_over_a_flag_above_the_clients_span_is_the_routes_of_the_gateways_row(key):
    root = span({}, seconds_ago=12, took=5, events=[evaluation(seconds_ago=11)])
    told = {name: held for name, held in CLIENT.items() if name != "changeover.route"}
    told = span(told | {"gen_ai.response.id": "chatcmpl-x"}, traceId=root["traceId"], parentSpanId=root["spanId"])
    send(key, row(id="chatcmpl-x", request_tags=[]))
    post(TRACES, traces(told), key)
    assert spent(route=ROUTE).calls == 0

    post(TRACES, traces(root), key)

    assert spent(route=ROUTE, variant="flash-lite").calls == spent().calls == 1


def test_clients_of_answers_from_the_cache_are_told_from_those_of_the_paid_answer(key):
    for seconds_ago, cache_hit in ((40, False), (20, True), (10, True)):
        at = NOW.timestamp() - seconds_ago
        send(key, row(id="chatcmpl-x", startTime=at, endTime=at + 0.4, cache_hit=cache_hit))
        client_span(key, "chatcmpl-x", seconds_ago=seconds_ago + 3, took=0.6)  # by a clock of its own

    assert (spent().calls, spent().confirmed_nano, heard("gateway_cache_hit")) == (1, COST, 2)


def test_an_answer_that_the_cache_repeats_all_day_makes_no_endless_trace(key, monkeypatch):
    monkeypatch.setattr(meeting, "MOST_OF_ONE", 4)
    for number in range(6):
        at = NOW.timestamp() - 60 + 5 * number
        send(key, row(id="chatcmpl-x", startTime=at, endTime=at + 0.4, cache_hit=number > 0))
        client_span(key, "chatcmpl-x", seconds_ago=60 - 5 * number, took=0.5)

    assert (spent().calls, spent().confirmed_nano) == (1, COST)
    send(key, *(row(id="chatcmpl-x", cache_hit=True) for _ in range(9)))
    assert max(len(trace_rows.decode(bytes(one.body)).calls) for one in Trace.objects.all()) <= 4


def test_a_mirrored_call_is_found_again_where_its_trace_was_taken(key):
    mirrored = row(trace_id="r-1", model_group="other", startTime=NOW.timestamp() - 9.9)
    send(key, row(trace_id="r-1"), mirrored)
    client_span(key, "chatcmpl-x")
    send(key, row(trace_id="r-1", id="chatcmpl-x"))  # the request is told in the client's trace from here on

    shadows.settle(
        environment="production", call_id=mirrored["litellm_call_id"], said="shadow", by=WORKER, because="", now=NOW
    )

    assert (spent(arm="shadow").calls, spent().calls) == (1, 3)


def test_two_calls_that_only_share_a_trace_of_their_client_are_not_taken_for_mirrored(key):
    spans = [span(CLIENT | {"gen_ai.response.id": f"chatcmpl-{name}"}, traceId="7" * 32) for name in "ab"]
    post(TRACES, traces(*spans), key)
    send(key, row(id="chatcmpl-a"), row(id="chatcmpl-b", model_group="other"))

    assert spent().calls == 2
    assert not SuspectedShadow.objects.exists()
