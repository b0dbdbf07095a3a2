"""The OTLP doors, as exporters find them: what they answer, what they refuse, and what is never kept."""

import asyncio
import base64
import gzip
import json
import logging
import zlib
from datetime import timedelta

import pytest
import time_machine
from django.db import OperationalError, connection
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from apps.access import services as access_services
from apps.access import serving as access
from apps.core.actors import WORKER
from apps.telemetry import queries, services, serving
from apps.telemetry.domain import otlp_json, otlp_protobuf
from apps.telemetry.models import Heard, LedgerLine
from tests.telemetry.make_otlp import CALL, evaluation, event, logs, metrics, pairs, span, tokens, traces
from tests.telemetry.make_telemetry import NOW, ROUTE, make_environment, make_route
from tests.telemetry.otlp_samples import JSON, PROTOBUF, as_protobuf, ask, post

pytestmark = pytest.mark.django_db(transaction=True)
TRACES = "/otlp/v1/traces"
COST = 1000 * 2000 + 100 * 8000
NAMELESS = {name: held for name, held in CALL.items() if name != "changeover.route"}


@pytest.fixture
def key():
    with time_machine.travel(NOW, tick=False):
        make_route(now=NOW - timedelta(days=1))
        secret = new_key("telemetry:write")
        serving.start()
        yield secret
        serving.stop()


def new_key(*scopes):
    _, secret = access_services.create_key(
        environment=make_environment(), name="test", scopes=list(scopes), by=WORKER, now=NOW
    )
    access.refresh()
    return secret


def spent(**where):
    return queries.spend("production", NOW - timedelta(days=2), NOW + timedelta(hours=1), where=where)[0]


def heard(what):
    return sum(Heard.objects.filter(what=what).values_list("n", flat=True))


def gzipped(body):
    return gzip.compress(body), (b"content-encoding", b"gzip")


def test_a_call_is_counted_and_the_answer_is_empty(key):
    body = traces(span())

    answers = [post(TRACES, body, key), post(TRACES, as_protobuf(json.loads(body), "traces"), key, PROTOBUF)]

    assert [(answer.status, answer.body) for answer in answers] == [(200, b"{}"), (200, b"")]
    assert [answer.headers[b"content-type"] for answer in answers] == [JSON.encode(), PROTOBUF.encode()]
    assert (spent(route=ROUTE).calls, spent().confirmed_nano) == (1, COST)


@pytest.mark.parametrize("kind", [JSON, PROTOBUF, "application/json; charset=utf-8"])
def test_an_empty_request_is_good(key, kind):
    assert post(TRACES, b"", key, kind).status == 200


@pytest.mark.parametrize(("encoding", "pack"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress)])
def test_packed_bodies_are_read(key, encoding, pack):
    assert post(TRACES, pack(traces(span())), key, JSON, (b"content-encoding", encoding)).status == 200
    assert spent().calls == 1


def test_a_proxy_that_packs_again_does_not_make_a_new_body(key):
    body = traces(span())

    for level in (1, 9):
        post(TRACES, gzip.compress(body, level, mtime=level), key, JSON, (b"content-encoding", b"gzip"))

    assert spent().calls == 1


@pytest.mark.parametrize(
    ("kind", "headers", "body", "status"),
    [
        ("text/plain", [], b"{}", 415),
        (JSON, [(b"content-encoding", b"br")], b"{}", 415),
        (JSON, [(b"content-encoding", b"gzip")], gzip.compress(b"{}" * 1000, mtime=0)[:-9], 400),
        (JSON, [(b"content-encoding", b"gzip")], b"not gzip", 400),
        (JSON, [(b"content-encoding", b"gzip")], gzip.compress(b" " * 100_000_000, mtime=0), 413),
        (JSON, [], b" " * 4_194_305, 413),
        (JSON, [], b'{"resourceSpans": [', 400),
        (JSON, [], b'{"resourceSpans": 7}', 400),
        (JSON, [], b"[" * 100_000, 400),
        (PROTOBUF, [], b"\xff\xff\xff\xff", 400),
        (PROTOBUF, [], b"\x0a\x7f\x0a", 400),
    ],
)
def test_what_cannot_be_read_is_refused_for_good(key, kind, headers, body, status):
    answer = post(TRACES, body, key, kind, *headers)

    assert answer.status == status
    assert b"retry-after" not in answer.headers
    if kind == PROTOBUF:
        assert answer.headers[b"content-type"] == PROTOBUF.encode()
        assert answer.body.startswith(b"\x08\x03\x12")  # google.rpc.Status: INVALID_ARGUMENT and a message
    else:
        assert set(answer.json) == {"code", "message"}


def test_a_refused_body_is_named_with_its_key_since_its_sender_says_nothing(key):
    post(TRACES, b'{"resourceSpans": 7}', key)
    post(TRACES, b"{}", key, "text/plain")
    post("/api/v1/telemetry/litellm", b"not json", key)
    post(TRACES, b"{}", None)  # of nobody

    refused = sorted(Heard.objects.values_list("source", "what", "key", "n"))
    assert refused == [
        ("otlp", "rejected:400_unreadable", "test", 1),
        ("otlp", "rejected:415_unknown_type", "test", 1),
        ("webhook", "rejected:400_unreadable", "test", 1),
    ]


@pytest.mark.parametrize("path", [*(f"/otlp/v1/{signal}/" for signal in ("traces", "metrics", "logs")),
                                  "/api/public/otel/v1/traces/", "/api/v1/telemetry/litellm/"])  # fmt: skip
def test_a_slash_at_the_end_is_answered_there_since_exporters_take_a_redirect_for_success(key, path):
    assert post(path, b"[]" if "litellm" in path else b"{}", key).status in (200, 202)


@pytest.mark.parametrize("signal", ["traces", "metrics", "logs"])
def test_without_a_good_key_nobody_writes(key, signal):
    path = f"/otlp/v1/{signal}"

    assert [post(path, b"{}", secret).status for secret in (None, "wrong", new_key("flags:read"))] == [401, 401, 403]


def test_langfuses_clients_knock_with_basic_authentication(key):
    basic = (b"authorization", b"Basic " + base64.b64encode(f"pk-lf:{key}".encode()))

    answer = post("/api/public/otel/v1/traces", traces(span()), None, JSON, basic)

    assert (answer.status, spent().calls) == (200, 1)


def test_bad_spans_cost_only_themselves_and_their_sender_is_named(key):
    body = traces(
        span(), span(traceId="00"), span(spanId="zz"), span(startTimeUnixNano="0", endTimeUnixNano="0"),
        span(seconds_ago=49 * 3600), 
        span() | {"attributes": [{"key": "gen_ai.request.model", "value": {"intValue": "x"}}]},
        span(status={"code": "STATUS_CODE_ERROR"}), span(startTimeUnixNano=str(10**30)), span(name="x") | {"spanId": 7},
    )  # fmt: skip

    answers = [post(TRACES, body, key), post(TRACES, body, key)]

    assert [answer.status for answer in answers] == [200, 200]
    partial = answers[0].json["partialSuccess"]
    assert partial["rejectedSpans"] == "8"
    assert partial == answers[1].json["partialSuccess"]  # a repeat answers as the first did
    assert "1 too_old" in partial["errorMessage"]
    assert spent().calls == 1
    assert (Heard.objects.get(what="rejected:no_id").service, Heard.objects.get(what="rejected:no_id").key) == (
        "payments",
        "test",
    )
    assert heard("rejected:no_id") == 2


def test_of_more_than_a_body_may_hold_the_rest_is_refused_and_counted(key, monkeypatch):
    for reader in (otlp_json, otlp_protobuf):
        monkeypatch.setattr(reader, "MOST_SPANS", 2)
    body = traces(*(span() for _ in range(5)))
    point = tokens("input", 10, seconds_ago=1, temporality=1)

    answers = [
        post(TRACES, body, key), post(TRACES, as_protobuf(json.loads(body), "traces"), key, PROTOBUF),
        post("/otlp/v1/logs", logs(*[flag_log(ROUTE, "x", 1)] * 3), key),
        post("/otlp/v1/metrics", metrics(*[point] * 3), key),
    ]  # fmt: skip

    assert [answer.status for answer in answers] == [200] * 4
    assert b"3 too_many" in answers[1].body
    assert [answers[n].json["partialSuccess"]["errorMessage"] for n in (0, 2, 3)] == [
        "3 too_many",
        "1 too_many",
        "1 too_many",
    ]
    assert spent().calls == 2


def test_partial_success_in_protobuf(key):
    old = span(seconds_ago=49 * 3600)

    answer = post(TRACES, as_protobuf(json.loads(traces(old)), "traces"), key, PROTOBUF)

    told = ExportTraceServiceResponse.FromString(answer.body)
    assert told.partial_success.rejected_spans == 1
    assert told.partial_success.error_message == "1 too_old"


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


def flag_log(route, variant, seconds_ago, **where):
    told = evaluation(route, variant, seconds_ago=seconds_ago)
    return {"eventName": told["name"], "timeUnixNano": told["timeUnixNano"], "attributes": told["attributes"]} | where


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


CANARY = "ZmFsY29uIGNhbmFyeQ-the-prompt"


def test_no_prompt_is_kept_anywhere(key, caplog, capfd, tmp_path):
    caplog.set_level(logging.DEBUG)
    contents = {
        "gen_ai.input.messages": CANARY, "gen_ai.prompt.0.content": CANARY,
        "llm.input_messages.0.message.content": CANARY, "error.message": CANARY,
        "input.value": CANARY, "langfuse.observation.input": CANARY, "llm.openai.messages": CANARY,
        "request_data": CANARY, "anything": [CANARY], "feature_flag.result.value": CANARY,
        "llm.invocation_parameters": json.dumps({"model": "gpt-4.1", "messages": CANARY}),
        "metadata.usage_object": json.dumps({"prompt_tokens": 5, "note": CANARY}),
    }  # fmt: skip
    told = span(CALL | contents, name=CANARY, status={"code": 2, "message": CANARY},
                events=[event("exception", exception__type="ValueError", exception__message=CANARY,
                              exception__stacktrace=CANARY), event(CANARY, text=CANARY)])  # fmt: skip
    row = {"litellm_call_id": "c-1", "startTime": NOW.timestamp() - 9, "endTime": NOW.timestamp() - 8,
           "messages": CANARY, "response": CANARY, "error_str": CANARY, "model": "gpt-4.1", "status": "failure",
           "metadata": {"x": CANARY},
           "error_information": {"error_class": "Timeout", "traceback": CANARY, "error_message": CANARY}}  # fmt: skip
    record = {"eventName": "gen_ai.client.inference.operation.details", "traceId": "1" * 32, "spanId": "1" * 16,
              "timeUnixNano": told["endTimeUnixNano"], "body": {"stringValue": CANARY},
              "attributes": told["attributes"]}  # fmt: skip
    point = tokens("input", 10, seconds_ago=1, temporality=1, **{"hidden_params": CANARY})
    body = traces(told, resource_note=CANARY)
    posted = [
        post(TRACES, body, key),
        post(TRACES, as_protobuf(json.loads(traces(span(CALL | contents))), "traces"), key, PROTOBUF),
        post("/otlp/v1/logs", logs(record), key),
        post("/otlp/v1/metrics", metrics(point), key),
        post("/api/v1/telemetry/litellm", json.dumps([row]).encode(), key),
        post("/api/v1/telemetry/litellm", json.dumps([{"messages": CANARY}]).encode(), key),
    ]

    assert {answer.status for answer in posted} == {200, 202}
    assert not any(CANARY.encode() in answer.body for answer in posted)
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT * FROM "{table}"')
            for kept in cursor.fetchall():
                for cell in kept:
                    raw = bytes(cell) if isinstance(cell, bytes | memoryview) else str(cell).encode()
                    assert CANARY.encode() not in raw, table
    seen = caplog.text + "".join(capfd.readouterr())
    assert CANARY not in seen


def test_with_the_database_away_exporters_are_asked_to_come_again(key, monkeypatch):
    counting = services.count

    def away(**group):
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(services, "count", away)
    body = traces(span())
    refused = post(TRACES, body, key)
    monkeypatch.setattr(services, "count", counting)
    taken = post(TRACES, body, key)

    assert refused.status == 503
    assert refused.headers[b"retry-after"] in (b"1", b"2")
    assert (taken.status, spent().calls) == (200, 1)


def test_a_fault_of_ours_is_no_500_which_exporters_would_drop(key, monkeypatch):
    def broken(**group):
        raise ZeroDivisionError

    monkeypatch.setattr(services, "count", broken)

    assert post(TRACES, traces(span()), key).status == 503


def test_a_fault_in_reading_is_a_503_and_the_log_repeats_nothing_that_was_sent(key, monkeypatch, caplog, capfd):
    def broken(*args, **told):
        raise ValueError(CANARY)

    monkeypatch.setattr("apps.telemetry.domain.intake.of_body", broken)

    answer = post(TRACES, traces(span()), key)

    assert (answer.status, answer.headers[b"retry-after"]) == (503, b"2")
    assert set(answer.json) == {"code", "message"}
    said = caplog.text + "".join(capfd.readouterr())
    assert "telemetry.fault" in said
    assert CANARY not in said


def test_a_key_that_is_faster_than_it_may_gets_503(key, monkeypatch):
    monkeypatch.setattr(access, "is_too_fast", lambda grant: True)

    for kind in (JSON, PROTOBUF):
        answer = post(TRACES, b"", key, kind)
        assert (answer.status, answer.headers[b"retry-after"]) == (503, b"1")


def test_who_sends_too_fast_gets_503_since_old_exporters_drop_429(key, monkeypatch):
    monkeypatch.setattr(serving.commits, "max_bytes", 1)
    monkeypatch.setattr(serving.commits, "waiting_bytes", 1)

    answer = post(TRACES, traces(span()), key)

    assert (answer.status, answer.headers[b"retry-after"]) == (503, b"1")


def test_many_at_once_lose_nothing(key):
    bodies = [traces(*(span() for _ in range(10))) for _ in range(30)]
    headers = [(b"content-type", JSON.encode()), (b"authorization", f"Bearer {key}".encode())]

    async def all_at_once():
        return await asyncio.gather(*(ask(TRACES, body, *headers) for body in bodies + bodies))

    answers = asyncio.run(all_at_once())

    assert {answer.status for answer in answers} == {200}
    assert (spent().calls, spent().confirmed_nano) == (300, 300 * COST)
