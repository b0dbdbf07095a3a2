"""Asking the control plane for each evaluation."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from .control_plane import KEY

FLAG = "invoice-extraction"


def test_it_answers_what_the_control_plane_answers(plane, connect):
    client = connect(remote=True)

    route = client.resolve(FLAG, "r-1", plan="gold")

    assert (route.variant, route.assigned_by, route.snapshot) == ("flash-lite", "split", 412)
    assert route.config["model"] == "google/gemini-2.5-flash-lite"
    method, path, headers, body = plane.requests[-1]
    assert (method, path) == ("POST", f"/ofrep/v1/evaluate/flags/{FLAG}")
    assert json.loads(body) == {"context": {"plan": "gold", "targetingKey": "r-1"}}
    assert headers["authorization"] == f"Bearer {KEY}"


def test_evaluations_share_a_connection(plane, connect):
    client = connect(remote=True)
    for _ in range(5):
        client.evaluate(FLAG)

    assert len(client._remote._idle) == 1


def test_exposures_are_left_to_the_control_plane_and_reports_are_not(plane, connect):
    client = connect(remote=True)
    client.report(client.resolve(FLAG, "r-1"), latency_ms=1)

    client.flush()

    assert plane.told("exposures") == []
    [call] = plane.told("calls")
    assert (call["snapshot"], call["assigned"], call["assigned_by"]) == (412, "flash-lite", "split")


def test_an_unknown_flag_is_told(connect):
    answer = connect(remote=True).evaluate("nothing/at all")

    assert (answer.error_code, answer.reason, answer.value) == ("FLAG_NOT_FOUND", "ERROR", None)


def test_a_flag_without_a_value_leaves_the_callers_default(plane, connect):
    plane.publish(413, f={"state": "DISABLED", "variants": {"a": 1}})

    route = connect(remote=True).resolve("f", default={"model": "mine"})

    assert (route.reason, route.value, route.variant) == ("DISABLED", {"model": "mine"}, None)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((200, {}, b"<html>"), "PARSE_ERROR"),
        ((200, {}, b"[]"), "PARSE_ERROR"),
        ((404, {}, b""), "FLAG_NOT_FOUND"),
        ((401, {}, b'{"errorDetails": "no key"}'), "GENERAL"),
        ((400, {}, b'{"key": "f", "errorCode": "INVALID_CONTEXT"}'), "INVALID_CONTEXT"),
        ((503, {}, b""), "GENERAL"),
    ],
)
def test_it_never_raises(plane, connect, answer, code):
    plane.ofrep = lambda key, body: answer

    assert connect(remote=True).evaluate(FLAG).error_code == code


def test_an_unreachable_control_plane_is_an_answer_too(connect):
    answer = connect(remote=True, url="http://127.0.0.1:9").evaluate(FLAG)

    assert answer.error_code == "GENERAL"
    assert "not reachable" in answer.error_details


def test_a_pause_is_kept_for_all_flags(plane, connect):
    plane.ofrep = lambda key, body: (429, {"Retry-After": "60"}, b"")
    client = connect(remote=True)
    client.evaluate(FLAG)
    asked = len(plane.requests)

    assert client.evaluate(FLAG).error_code == "GENERAL"
    assert len(plane.requests) == asked


def test_a_moment_travels_as_text_and_what_cannot_travel_is_told(plane, connect):
    client = connect(remote=True)

    client.evaluate(FLAG, {"at": datetime(2026, 11, 24, tzinfo=UTC)})
    assert json.loads(plane.requests[-1][3])["context"]["at"] == "2026-11-24T00:00:00+00:00"
    assert client.evaluate(FLAG, {"x": object()}).error_code == "INVALID_CONTEXT"
