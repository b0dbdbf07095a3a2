"""What is refused, and what cannot be read, is neither kept nor logged nor repeated."""

import gzip
import json
import logging

import pytest
from django.db import connection

from tests.telemetry.make_otlp import CALL, TRACES, durations, event, flag_log, logs, metrics, span, tokens, traces
from tests.telemetry.make_telemetry import NOW, call, outcome
from tests.telemetry.otlp_samples import JSON, PROTOBUF, as_protobuf, post
from tests.telemetry.test_otlp_door import CANARY, opened

pytestmark = pytest.mark.django_db(transaction=True)
LOGS, METRICS, LITELLM, NATIVE = "/otlp/v1/logs", "/otlp/v1/metrics", "/api/v1/telemetry/litellm", "/api/v1/telemetry"
GZIP = (b"content-encoding", b"gzip")


def attribute(**value):
    return traces(span() | {"attributes": [{"key": "gen_ai.request.model", "value": value}]})


def row(**fields):
    ordinary = {"litellm_call_id": "c-1", "startTime": NOW.timestamp() - 9, "endTime": NOW.timestamp() - 8}
    return json.dumps([ordinary | fields]).encode()


def native(**fields):
    return json.dumps({"batch_id": "b-1", "calls": [call()]} | fields).encode()


KEYS = CALL | {CANARY: "x", f"gen_ai.prompt.{CANARY}": "x"}
QUOTED = json.dumps(CANARY).encode()
REFUSED = [
    # bodies
    (TRACES, JSON, QUOTED), (TRACES, JSON, b"{" + QUOTED), (TRACES, JSON, b'{"resourceSpans": ' + QUOTED + b"}"),
    (TRACES, PROTOBUF, CANARY.encode()),
    (TRACES, PROTOBUF, as_protobuf(json.loads(traces(span(name=CANARY))), "traces")[:-9]),
    (LOGS, JSON, b'{"resourceLogs": [' + QUOTED + b"]}"), (METRICS, JSON, b'{"resourceMetrics": {' + QUOTED + b": 1}}"),
    (LITELLM, JSON, QUOTED), (LITELLM, JSON, b"[" + QUOTED), (LITELLM, JSON, CANARY.encode()),
    (NATIVE, JSON, QUOTED), (NATIVE, JSON, CANARY.encode()), (NATIVE, JSON, native(calls=CANARY)),
    (NATIVE, JSON, native(batch_id=[CANARY])), (NATIVE, JSON, native(calls=[{CANARY: CANARY}])),
    (TRACES, f"text/{CANARY}", b"{}"), (TRACES, JSON, gzip.compress(QUOTED)[:-3] + CANARY.encode()),
    # spans, records, points, rows, calls
    (TRACES, JSON, traces(span(traceId=CANARY))), (TRACES, JSON, traces(span(startTimeUnixNano=CANARY))),
    (TRACES, JSON, traces(span(status={"code": CANARY}))), (TRACES, JSON, traces(span(KEYS))),
    (TRACES, JSON, attribute(intValue=CANARY)), (TRACES, JSON, attribute(doubleValue=CANARY)),
    (TRACES, JSON, attribute(arrayValue=CANARY)), (TRACES, JSON, attribute(bytesValue=CANARY)),
    (TRACES, JSON, traces(span(seconds_ago=50 * 3600, events=[event(CANARY, text=CANARY)], name=CANARY))),
    (TRACES, JSON, traces(span(CALL | {"gen_ai.usage.input_tokens": CANARY, "gen_ai.usage.raw": "{" + CANARY}))),
    (TRACES, JSON, traces(span(), **{CANARY: CANARY})),
    (TRACES, PROTOBUF, as_protobuf(json.loads(traces(span(KEYS), span(KEYS, startTimeUnixNano="0"))), "traces")),
    (LOGS, JSON, logs(flag_log("r", "v", 1, traceId=CANARY, timeUnixNano=CANARY), {"eventName": CANARY})),
    (METRICS, JSON, metrics(tokens("input", CANARY, seconds_ago=1, **{CANARY: CANARY}))),
    (METRICS, JSON, metrics(tokens(CANARY, 5, seconds_ago=1, name=CANARY))),
    (METRICS, JSON, metrics(durations({0: 1}, [1.0], seconds_ago=1, temporality=0, **{CANARY: CANARY}))),
    (LITELLM, JSON, row(startTime=CANARY)), (LITELLM, JSON, row(prompt_tokens=CANARY, request_tags=[CANARY])),
    (LITELLM, JSON, row(**{CANARY: 1}, call_type="amoderation", cost_breakdown=CANARY, metadata=CANARY)),
    (NATIVE, JSON, native(calls=[call(at=CANARY), call(latency_ms=CANARY), call(**{CANARY: CANARY})])),
    (NATIVE, JSON, native(calls=[], outcomes=[outcome(value=CANARY)], **{CANARY: CANARY})),
]  # fmt: skip


def test_nothing_of_it_is_anywhere(key, caplog, capfd):
    caplog.set_level(logging.DEBUG)

    answers = [
        post(path, body, key, kind, *([GZIP] if body[:2] == b"\x1f\x8b" else [])) for path, kind, body in REFUSED
    ]

    assert {answer.status for answer in answers} == {200, 202, 400, 415}
    told = [(REFUSED[n][:2], answer.body) for n, answer in enumerate(answers) if CANARY.encode() in answer.body]
    assert told == []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT * FROM "{table}"')
            cells = [opened(cell) for kept in cursor.fetchall() for cell in kept]
            assert not any(CANARY.encode() in cell for cell in cells), table
    assert CANARY not in caplog.text + "".join(capfd.readouterr())
