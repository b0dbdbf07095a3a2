"""The OTLP doors, as exporters find them: what they answer, what they refuse, and what is never kept."""

import asyncio
import base64
import contextlib
import gzip
import json
import logging
import zlib

import pytest
from django.db import connection
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from apps.telemetry import services
from apps.telemetry.domain import otlp_json, otlp_protobuf
from apps.telemetry.models import Heard
from tests.telemetry.make_otlp import CALL, COST, TRACES, call_log, event, flag_log, logs, metrics, span, tokens, traces
from tests.telemetry.make_telemetry import NOW, ROUTE, call, heard, make_key, outcome, spent
from tests.telemetry.otlp_samples import JSON, PROTOBUF, answer_of, as_protobuf, post

pytestmark = pytest.mark.django_db(transaction=True)


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
        (JSON, [(b"content-encoding", b"gzip")], gzip.compress(b"", mtime=0) * 2_000, 400),  # each costs a copy
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


@pytest.mark.parametrize(
    ("headers", "body", "remedy"),
    [
        ([], b" " * 4_194_305, "send it with gzip, or less at once."),
        ([(b"content-encoding", b"gzip")], gzip.compress(b" " * 40_000_000, mtime=0), "send less at once."),
    ],
)
def test_who_sends_too_much_is_told_what_helps(key, headers, body, remedy):
    assert post(TRACES, body, key, JSON, *headers).json["message"].endswith(f"unpacked: {remedy}")


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


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_who_looks_whether_there_is_a_door_is_told_how_to_knock(method):
    scope = {"type": "http", "method": method, "path": TRACES, "query_string": b"", "headers": []}

    answer = asyncio.run(answer_of(scope, b""))

    assert (answer.status, answer.headers[b"allow"], answer.json["code"]) == (405, b"POST", 12)


@pytest.mark.parametrize("signal", ["traces", "metrics", "logs"])
def test_without_a_good_key_nobody_writes(key, signal):
    path = f"/otlp/v1/{signal}"

    assert [post(path, b"{}", secret).status for secret in (None, "wrong", make_key("flags:read"))] == [401, 401, 403]


def test_a_key_is_found_however_its_sender_writes_it(key):
    basic = base64.b64encode(f"any:{key}".encode())
    forms = [
        [(b"x-api-key", key.encode())],
        [(b"authorization", b"bearer  " + key.encode())],
        [(b"authorization", b"Bearer%20" + key.encode())],  # by who does not decode its variables
        [(b"authorization", b"Basic " + base64.b64encode(b"proxy:own")), (b"x-api-key", key.encode())],
    ]
    wrong = [(b"authorization", b"Basic !"), (b"authorization", b"Bearer \xff"), (b"authorization", b"Token " + basic)]

    assert [post(TRACES, b"{}", None, JSON, *form).status for form in forms] == [200] * 4
    assert [post(TRACES, b"{}", None, JSON, form).status for form in wrong] == [401] * 3


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


LATE = {"traceId": "ab" * 16, "spanId": "cd" * 8}


@pytest.mark.parametrize(
    ("signal", "body", "response", "name", "message"),
    [
        ("traces", traces(span(seconds_ago=49 * 3600)), ExportTraceServiceResponse, "rejected_spans", "1 too_old"),
        ("metrics", metrics(tokens("input", -5.0, seconds_ago=1, temporality=1)), ExportMetricsServiceResponse,
         "rejected_data_points", "1 no_number"),
        ("logs", logs(call_log(49 * 3600, **LATE)), ExportLogsServiceResponse, "rejected_log_records", "1 too_old"),
    ],
)  # fmt: skip
def test_partial_success_in_either_encoding(key, signal, body, response, name, message):
    path = f"/otlp/v1/{signal}"

    in_json, packed = post(path, body, key), post(path, as_protobuf(json.loads(body), signal), key, PROTOBUF)

    told = response.FromString(packed.body).partial_success
    camel = name.split("_")[0] + "".join(word.title() for word in name.split("_")[1:])
    assert (getattr(told, name), told.error_message) == (1, message)
    assert in_json.json == {"partialSuccess": {camel: "1", "errorMessage": message}}


def test_a_log_event_that_comes_again_with_another_moment_is_the_same_call(key):
    for seconds_ago, time in ((300, "timeUnixNano"), (30, "timeUnixNano"), (10, "observedTimeUnixNano")):
        told = call_log(seconds_ago, **LATE)
        told[time] = told.pop("timeUnixNano")
        assert post("/otlp/v1/logs", logs(told), key).body == b"{}"

    assert (spent().calls, spent().confirmed_nano) == (1, COST)


CANARY = "ZmFsY29uIGNhbmFyeQ-the-prompt"


def opened(cell):
    """Its bytes, and behind them what is packed in them."""
    raw = bytes(cell) if isinstance(cell, bytes | memoryview) else str(cell).encode()
    with contextlib.suppress(zlib.error):
        raw += zlib.decompress(raw)
    return raw


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
    told_natively = call(id="c-kept", prompt=CANARY, messages=[{"content": CANARY}])
    native = {"batch_id": "b-1", "prompt": CANARY, "calls": [told_natively], "outcomes": [outcome(comment=CANARY)]}
    posted = [
        post(TRACES, body, key),
        post(TRACES, as_protobuf(json.loads(traces(span(CALL | contents))), "traces"), key, PROTOBUF),
        post("/otlp/v1/logs", logs(record), key),
        post("/otlp/v1/metrics", metrics(point), key),
        post("/api/v1/telemetry/litellm", json.dumps([row]).encode(), key),
        post("/api/v1/telemetry/litellm", json.dumps([{"messages": CANARY}]).encode(), key),
        post("/api/v1/telemetry", json.dumps(native).encode(), key),
    ]
    services.forget_old(now=NOW)

    assert {answer.status for answer in posted} == {200, 202}
    assert not any(CANARY.encode() in answer.body for answer in posted)
    cells = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT * FROM "{table}"')
            cells += [(table, opened(cell)) for kept in cursor.fetchall() for cell in kept]
    assert [table for table, cell in cells if b"c-kept" in cell] == ["telemetry_rawcalls"]
    assert [table for table, cell in cells if CANARY.encode() in cell] == []
    seen = caplog.text + "".join(capfd.readouterr())
    assert CANARY not in seen
