"""What spans and log events are counted as: once, under which route, with which tokens and at which price."""

import json
from datetime import timedelta

import pytest

from apps.telemetry import queries, trace_rows
from apps.telemetry.domain import traces as kept
from apps.telemetry.models import Instance, LedgerLine, Mapping
from tests.telemetry.make_otlp import (
    CALL,
    COST,
    TRACES,
    durations,
    evaluation,
    flag_log,
    logs,
    metrics,
    nanos,
    pairs,
    span,
    traces,
)
from tests.telemetry.make_telemetry import NOW, ROUTE, heard, make_route, spent
from tests.telemetry.otlp_samples import JSON, PROTOBUF, as_protobuf, post

pytestmark = pytest.mark.django_db(transaction=True)
NAMELESS = {name: held for name, held in CALL.items() if name != "changeover.route"}


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_an_hour_off_loses_no_money(key, hours):
    post(TRACES, traces(span(seconds_ago=-3600 * hours, took=0.7)), key)

    assert (spent().calls, spent().confirmed_nano) == (1, COST)
    rows = queries.windows("production", ROUTE, NOW - timedelta(hours=2), NOW + timedelta(minutes=1))
    assert rows[0].latency.quantile(0.5) == pytest.approx(0.7, rel=0.022)
    assert heard("clock_ahead") == (1 if hours == 1 else 0)
    assert rows[0].late == (1 if hours == -1 else 0)


def test_a_span_that_ends_before_it_begins_has_no_latency_and_is_counted(key):
    post(TRACES, traces(span(took=-2)), key)

    assert spent().calls == 1
    assert heard("ends_before_it_begins") == 1


@pytest.mark.parametrize(
    ("told", "inputs"),
    [(1_000_000_000, 1_000_000_000), (1_000_000_001, 0), (-5, 0), (float("nan"), 0), (float("inf"), 0), ("many", 0)],
)
def test_numbers_of_tokens_that_cannot_be_are_unknown_not_zero(key, told, inputs):
    post(TRACES, traces(span(CALL | {"gen_ai.usage.input_tokens": told})), key)

    whole = spent()
    assert (whole.calls, whole.input_tokens) == (1, inputs)
    assert whole.unpriced == (0 if inputs else 1)  # no history: nobody can say what it cost
    if inputs:
        assert whole.confirmed_nano == inputs * 2000 + 100 * 8000


def test_cached_tokens_are_a_part_of_the_input(key):
    post(TRACES, traces(span(CALL | {"gen_ai.usage.cache_read.input_tokens": 600})), key)
    post(TRACES, traces(span(CALL | {"gen_ai.usage.cache_read.input_tokens": 1001})), key)

    assert spent().input_tokens == 2000
    assert spent().confirmed_nano == (400 * 2000 + 600 * 500 + 100 * 8000) + COST
    assert heard("cached_too_large") == 1


def test_an_unknown_model_is_never_free(key):
    post(TRACES, traces(span(CALL | {"gen_ai.request.model": "nobody-knows-it"})), key)

    assert (spent().calls, spent().confirmed_nano, spent().unpriced) == (1, 0, 1)


@pytest.mark.parametrize("operation", ["invoke_agent", "execute_tool", "create_agent", "invoke_workflow", "retrieval"])
def test_what_repeats_its_childrens_tokens_is_not_priced(key, operation):
    post(TRACES, traces(span(CALL | {"gen_ai.operation.name": operation})), key)

    assert spent().calls == 0


def test_stacked_instrumentations_are_one_call(key):
    inner = span()
    outer = span(traceId=inner["traceId"], took=0.5)
    inner["parentSpanId"] = outer["spanId"]
    for body in (traces(outer), traces(inner)):
        post(TRACES, body, key)

    assert (spent().calls, spent().confirmed_nano) == (1, COST)
    assert heard("covered") == 1


def test_the_nearest_ancestor_decides_and_of_its_evaluations_the_latest_before_the_call(key):
    make_route("other", now=NOW - timedelta(days=1))
    root = span({}, seconds_ago=20, events=[evaluation("other", seconds_ago=19)])
    near = span({}, seconds_ago=15, traceId=root["traceId"], parentSpanId=root["spanId"],
                events=[evaluation(variant="gpt-4.1", seconds_ago=14), evaluation(seconds_ago=12),
                        evaluation("no-route-of-ours"), evaluation(variant="late", seconds_ago=1)])  # fmt: skip
    leaf = span(NAMELESS, traceId=root["traceId"], parentSpanId=near["spanId"])
    for body in (traces(leaf), traces(root), traces(near)):
        post(TRACES, body, key)

    assert spent(route=ROUTE, variant="flash-lite").confirmed_nano == spent().confirmed_nano == COST
    assert LedgerLine.objects.filter(calls=-1).count() == 1  # moved by a line, never edited


def test_a_log_event_of_the_same_trace_gives_the_route(key):
    call = span(NAMELESS)
    post(TRACES, traces(call), key)
    told = evaluation()
    record = {"eventName": told["name"], "timeUnixNano": told["timeUnixNano"], "traceId": call["traceId"],
              "attributes": told["attributes"]}  # fmt: skip

    assert post("/otlp/v1/logs", logs(record), key).status == 200

    assert spent(route=ROUTE, variant="flash-lite").calls == 1
    assert queries.unassigned("production") == []


def test_a_flag_that_was_logged_on_a_span_above_goes_before_one_logged_elsewhere_in_the_trace(key):
    make_route("other", now=NOW - timedelta(days=1))
    root = span({}, seconds_ago=30)
    trace = root["traceId"]
    mine, others = (span({}, traceId=trace, parentSpanId=root["spanId"], seconds_ago=20) for _ in range(2))
    call = span(NAMELESS, traceId=trace, parentSpanId=mine["spanId"])
    records = [flag_log(ROUTE, "flash-lite", 19, traceId=trace, spanId=mine["spanId"]),
               flag_log("other", "gpt-4.1", 15, traceId=trace, spanId=others["spanId"])]  # fmt: skip

    post("/otlp/v1/logs", logs(*records), key)
    post(TRACES, traces(call, mine, others, root), key)

    assert spent(route=ROUTE, variant="flash-lite").calls == spent().calls == 1


@pytest.mark.parametrize(("model", "expected"), [("gpt-4.1", ROUTE), ("gemini-2.5-flash-lite", "other")])
def test_of_two_flags_that_are_equally_near_the_calls_own_model_decides_and_it_is_counted(key, model, expected):
    make_route("other", now=NOW - timedelta(days=1))
    root = span({}, seconds_ago=20, events=[evaluation(ROUTE, "gpt-4.1", seconds_ago=19),
                                            evaluation("other", "flash-lite", seconds_ago=18)])  # fmt: skip
    call = NAMELESS | {"gen_ai.request.model": model, "gen_ai.provider.name": ""}
    post(TRACES, traces(span(call, traceId=root["traceId"], parentSpanId=root["spanId"]), root), key)

    assert spent(route=expected).calls == spent().calls == 1
    assert heard("attribution_conflict") == 1


@pytest.mark.parametrize(
    ("planned", "called", "n"),
    [
        ("openai/gpt-4.1-2025-04-14", {}, 0),
        ("openai/gpt-4.1", {"gen_ai.response.model": "gpt-4.1-2025-04-14"}, 0),
        ("openai/gpt-4.1", {"gen_ai.response.model": "gpt-4.1-mini"}, 1),
    ],
)
def test_a_model_with_a_date_is_no_conflict_with_one_without(key, planned, called, n):
    make_route("dated", variants={"on": {"model": planned}}, default_variant="on", fallback_variant="on",
               now=NOW - timedelta(days=1))  # fmt: skip
    post(TRACES, traces(span(CALL | called | {"changeover.route": "dated", "changeover.variant": "on"})), key)

    assert spent(route="dated").calls == 1
    assert heard("attribution_conflict") == n


@pytest.mark.parametrize("where", [{}, {"traceId": "5" * 32}])
def test_a_call_that_was_logged_without_a_span_is_counted_once(key, where):
    record = {"eventName": "gen_ai.client.inference.operation.details", "timeUnixNano": span()["endTimeUnixNano"],
              "attributes": pairs(CALL)} | where  # fmt: skip
    other = record | {"timeUnixNano": str(int(record["timeUnixNano"]) + 10**6)}
    for body in (logs(record), logs(other, record)):
        post("/otlp/v1/logs", body, key)

    assert (spent(route=ROUTE).calls, spent().confirmed_nano) == (2, 2 * COST)


@pytest.mark.parametrize(
    ("told", "n"), [("ot=th:c", 1), ("vendor=x,ot=rv:1;th:8", 1), ("ot=th:0", 0), ("ot=rv:th", 0), ("x=ot:th:c", 0)]
)
def test_sampled_traces_are_counted_as_such_and_their_money_is_not_scaled(key, told, n):
    post(TRACES, traces(span(traceState=told)), key)

    assert heard("sampled") == n
    assert spent().confirmed_nano == COST


def test_retries_of_openais_clients_are_attempts(key):
    header = "http.request.header.x-stainless-retry-count"
    post(TRACES, traces(span(CALL | {header: ["2"]}), span(CALL | {header: "0"})), key)

    assert heard("with_attempts") == 2


def test_numbers_that_share_nothing_are_added_up_and_the_providers_own_are_not(key):
    langfuse = {"langfuse.observation.type": "generation", "langfuse.observation.model.name": "gpt-4.1",
                "langfuse.trace.tags": [f"route:{ROUTE}"]}  # fmt: skip
    disjoint = {"input": 400, "cache_read_input_tokens": 600, "output": 60, "output_reasoning_tokens": 40}
    shared = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100,
              "prompt_tokens_details": {"cached_tokens": 600},
              "completion_tokens_details": {"reasoning_tokens": 40}}  # fmt: skip
    for usage in (disjoint, shared):
        told = langfuse | {"langfuse.observation.usage_details": json.dumps(usage)}
        post(TRACES, traces(span(told)), key)

    assert (spent().input_tokens, spent().cached_input_tokens, spent().output_tokens) == (2000, 1200, 200)
    assert spent().confirmed_nano == 2 * (400 * 2000 + 600 * 500 + 100 * 8000)


@pytest.mark.parametrize(("tier", "factor"), [("default", 1), ("flex", 0.5), ("priority", 2)])
def test_a_service_tier_has_its_own_price(key, tier, factor):
    post(TRACES, traces(span(CALL | {"gen_ai.request.model": "gpt-5", "openai.response.service_tier": tier})), key)

    assert spent().confirmed_nano == (1000 * 1250 + 100 * 10_000) * factor


def test_tags_name_the_route_the_variant_and_a_shadow(key):
    tags = [f"route:{ROUTE}", "variant:flash-lite", "arm:shadow", "team:search"]
    post(TRACES, traces(span(NAMELESS | {"langfuse.trace.tags": tags})), key)

    assert spent(route=ROUTE, variant="flash-lite", arm="shadow").calls == spent().calls == 1


def test_the_resource_may_name_the_route(key):
    post(TRACES, traces(span(NAMELESS), changeover__route=ROUTE), key)

    assert spent(route=ROUTE).calls == 1


def test_an_openai_compatible_server_elsewhere_is_not_openai(key):
    post(TRACES, traces(span(CALL | {"server.address": "llm.example.com"})), key)
    post(TRACES, traces(span(CALL | {"server.address": "api.deepseek.com"})), key)
    post(TRACES, traces(span(CALL | {"server.address": "10.1.2.3"})), key)

    providers = [
        row.keys["provider"] for row in queries.spend("production", NOW - timedelta(hours=1), NOW, ["provider"])
    ]
    assert providers == ["deepseek", "llm.example.com", "openai"]


def test_a_mapping_of_one_model_takes_it_in_every_spelling(key):
    """What people wrote down, and what senders say, in spans as in metrics."""
    for service in ("payments", "search"):
        told = {"service": service, "model": "openai/GPT-4.1", "route": ROUTE, "by": "alice", "at": NOW}
        Mapping.objects.create(id=service, environment="production", **told)
    for name in ("gpt-4.1", "openai/gpt-4.1", "GPT-4.1", "gpt-4o"):
        asked = {"gen_ai.request.model": name, "changeover.route": ""}
        post(TRACES, traces(span(CALL | asked)), key)
        body = metrics(durations({0: 1}, [1.0], seconds_ago=1, **asked), service__name="search")
        post("/otlp/v1/metrics", body, key)

    assert spent(route=ROUTE).calls == 3 + 3
    assert {(one.name, one.model) for one in queries.unassigned("production")} == {
        ("payments: gpt-4o", "gpt-4o"), ("search: gpt-4o", "gpt-4o")
    }  # fmt: skip


def test_an_outer_span_that_was_counted_before_its_inner_one_came_is_not_counted_twice(key):
    inner = span(NAMELESS)
    outer = span(CALL | {"gen_ai.cost.total_cost": 0.5}, traceId=inner["traceId"], took=0.5)
    inner["parentSpanId"] = outer["spanId"]
    for body in (traces(outer), traces(inner), traces(span(traceId=inner["traceId"]))):
        post(TRACES, body, key)

    rows = queries.windows("production", ROUTE, NOW - timedelta(hours=1), NOW)
    assert (spent(route=ROUTE).calls, sum(row.calls for row in rows), sum(row.requests for row in rows)) == (2, 2, 2)
    assert (heard("covered"), heard("told_nano")) == (1, 5 * 10**8)


def test_calls_beyond_what_a_trace_holds_are_counted_by_what_is_known_of_them(key, monkeypatch):
    monkeypatch.setattr(kept, "MOST_CALLS", 2)
    root = span({}, seconds_ago=30, events=[evaluation(seconds_ago=20)])
    calls = [span(NAMELESS, traceId=root["traceId"], parentSpanId=root["spanId"]) for _ in range(5)]
    body = traces(root, *calls)
    for sent in (body, body, traces(*calls[3:])):
        post(TRACES, sent, key)

    assert spent(route=ROUTE, variant="flash-lite").calls == spent().calls == 5
    assert sum(row.calls for row in queries.windows("production", ROUTE, NOW - timedelta(hours=1), NOW)) == 5
    assert heard("beyond_its_trace") == 3
    assert len(trace_rows.load([("production", root["traceId"])])["production", root["traceId"]].calls) == 2


def test_logged_calls_with_ids_of_nothing_but_zeros_are_not_one_call(key):
    record = {"eventName": "gen_ai.client.inference.operation.details", "traceId": "0" * 32, "spanId": "0" * 16}
    ends = [str(int(span()["endTimeUnixNano"]) + n) for n in range(3)]
    for kind in (PROTOBUF, JSON):
        body = json.loads(logs(*(record | {"timeUnixNano": end, "attributes": pairs(CALL)} for end in ends)))
        post("/otlp/v1/logs", as_protobuf(body, "logs") if kind == PROTOBUF else json.dumps(body).encode(), key, kind)

    assert spent(route=ROUTE).calls == 3


@pytest.mark.parametrize("hours", [-1, 0, 1])
def test_metrics_of_a_clock_that_is_an_hour_off_lose_nothing_and_count_nothing_twice(key, hours):
    def told(calls, seconds_ago, temporality):
        point = durations({0: calls}, [1.0], seconds_ago=seconds_ago - 3600 * hours, temporality=temporality)
        point["histogram"]["dataPoints"][0]["startTimeUnixNano"] = str(nanos(120 - 3600 * hours))
        return metrics(point, service__instance__id=f"pod-{temporality}")

    Instance.objects.create(
        environment="production", service="payments", instance="pod-2", first_at=NOW - timedelta(hours=3), last_at=NOW
    )
    bodies = [told(3, 30, 1), told(3, 30, 2), told(5, 10, 2)]
    for body in (*bodies, *(body + b" " for body in bodies)):  # once more in other bodies
        assert post("/otlp/v1/metrics", body, key).body == b"{}"

    assert spent(route=ROUTE).calls == 3 + 5
    assert (heard("clock_ahead") > 0, heard("reset")) == (hours == 1, 0)


def test_a_metric_finds_its_route_by_a_flag_of_its_resource(key):
    told = {"feature_flag__key": ROUTE, "feature_flag__result__variant": "flash-lite"}
    nameless = durations({0: 1}, [1.0], seconds_ago=1, **{"changeover.route": ""})
    post("/otlp/v1/metrics", metrics(nameless, **told), key)
    post("/otlp/v1/metrics", metrics(nameless, **told | {"feature_flag__key": "new-ui"}), key)

    assert spent(route=ROUTE, variant="flash-lite").calls == 1
    assert [(one.name, one.calls) for one in queries.unassigned("production")] == [("payments: gpt-4.1", 1)]


def test_a_flag_of_something_else_on_a_span_leaves_its_metrics_only_for_comparison(key):
    other = {"feature_flag.key": "new-ui", "feature_flag.result.variant": "on"}
    post(TRACES, traces(span(NAMELESS | other), changeover__route=ROUTE), key)
    post("/otlp/v1/metrics", metrics(durations({0: 1}, [1.0], seconds_ago=1)), key)

    assert spent(route=ROUTE).calls == spent().calls == 1
