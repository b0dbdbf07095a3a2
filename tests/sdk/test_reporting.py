"""What a service reports reaches the control plane once, in order, whatever happens on the way."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine

from changeover import Client

from .control_plane import until

FLAG = "invoice-extraction"
TELEMETRY = "/api/v1/telemetry"


def test_a_call_carries_what_the_route_answered(plane, connect):
    client = connect()
    route = client.resolve(FLAG, "r-1")

    client.report(
        route,
        latency_ms=412.3,
        at=datetime(2026, 11, 23, 10, 0, 0, 123000, tzinfo=UTC),
        first_token_ms=120.0,
        input_tokens=812,
        cached_input_tokens=0,
        output_tokens=64,
        cost_usd=Decimal("0.000123"),
        call_id="c-1",
    )

    assert client.flush()
    assert plane.told("calls") == [
        {
            "id": "c-1",
            "at": "2026-11-23T10:00:00.123Z",
            "route": FLAG,
            "variant": "flash-lite",
            "provider": "google",
            "model": "gemini-2.5-flash-lite",
            "request_id": "r-1",
            "attempt": 1,
            "latency_ms": 412.3,
            "first_token_ms": 120.0,
            "input_tokens": 812,
            "cached_input_tokens": 0,
            "output_tokens": 64,
            "cost_usd": "0.000123",
            "arm": "live",
            "final": True,
            "snapshot": 412,
            "assigned": "flash-lite",
            "assigned_by": "split",
        }
    ]
    [batch] = [json.loads(batch) for batch in plane.batches if json.loads(batch)["calls"]]
    assert batch["client"] == {"name": "invoices", "sdk": "changeover-python/1.0.0", "snapshot": 412}
    assert batch["batch_id"]


def test_a_fallback_that_answered_counts_under_the_assigned_variant(plane, connect):
    client = connect()
    route = client.resolve(FLAG, "r-1")

    client.report(route, latency_ms=1, variant="gpt-4.1", model="gpt-4.1", provider="openai")
    client.flush()

    [call] = plane.told("calls")
    assert (call["variant"], call["assigned"], call["model"]) == ("gpt-4.1", "flash-lite", "gpt-4.1")


def test_a_call_of_a_route_that_was_not_asked_is_reported_too(plane, connect):
    client = connect()

    client.report("tagging", latency_ms=3, error="timeout")
    client.flush()

    [call] = plane.told("calls")
    assert (call["route"], call["error"]) == ("tagging", "timeout")
    assert "variant" not in call and "assigned" not in call


def test_a_stream_that_broke_off_says_how_much_had_come(plane, connect):
    client = connect()

    client.report(
        "tagging", latency_ms=3, error="cancelled", input_tokens=812, output_chars=401, tokens_source="counted"
    )
    client.flush()

    [call] = plane.told("calls")
    assert (call["input_tokens"], call["output_chars"], call["tokens_source"]) == (812, 401, "counted")
    assert "output_tokens" not in call


def test_it_began_as_long_ago_as_it_took(plane, connect):
    client = connect()

    before = datetime.now(UTC)
    client.report("tagging", latency_ms=60_000)
    after = datetime.now(UTC)
    client.flush()

    began = datetime.fromisoformat(plane.told("calls")[0]["at"]) + timedelta(minutes=1)
    assert before - timedelta(milliseconds=1) <= began <= after, "it is told in whole milliseconds"


def test_an_outcome_carries_what_the_route_answered(plane, connect):
    client = connect()
    route = client.resolve(FLAG, "r-1")

    client.outcome(route, "handoff", 0)
    client.flush()

    [outcome] = plane.told("outcomes")
    assert {name: outcome[name] for name in ("route", "variant", "request_id", "name", "value", "assigned_by")} == {
        "route": FLAG,
        "variant": "flash-lite",
        "request_id": "r-1",
        "name": "handoff",
        "value": 0,
        "assigned_by": "split",
    }


def test_all_attempts_of_a_request_travel_in_one_batch_in_order(plane, connect):
    client = connect()
    one, other = client.resolve(FLAG, "r-1"), client.resolve(FLAG, "r-2")

    client.report(one, latency_ms=1, attempt=1, final=False, error="timeout")
    client.report(other, latency_ms=2)
    client.flush()
    assert [call["request_id"] for call in plane.told("calls")] == ["r-2"]
    client.report(one, latency_ms=3, attempt=2)
    client.flush()

    [together] = [json.loads(batch)["calls"] for batch in plane.batches if b'"r-1"' in batch and b"timeout" in batch]
    assert [(call["attempt"], call["final"]) for call in together] == [(1, False), (2, True)]


def test_attempts_without_a_final_one_leave_when_the_client_closes(plane, connect):
    client = connect()
    client.report(client.resolve(FLAG, "r-1"), latency_ms=1, final=False)

    client.close()

    assert [call["final"] for call in plane.told("calls")] == [False]


@pytest.mark.parametrize("status", [429, 503, 502, 401])
def test_the_same_bytes_are_sent_again_until_they_are_taken(plane, connect, status, monkeypatch):
    monkeypatch.setattr("changeover.reporting.REFUSED_PAUSE", 0.05)
    client = connect()
    plane.refusals.extend([(status, {"Retry-After": "0"}), (status, {})])

    client.report("tagging", latency_ms=1)

    assert client.flush(timeout=60)
    bodies = [body for method, path, _, body in plane.requests if (method, path) == ("POST", TELEMETRY)]
    assert len(bodies) == 3
    assert len(set(bodies)) == 1
    assert client.counts["retries"] == 2


def test_the_pause_that_was_asked_for_is_kept(plane, connect):
    client = connect()
    plane.refusals.append((429, {"Retry-After": "1"}))

    client.report("tagging", latency_ms=1)

    assert client.flush()
    came = [at for at, (_, path, *_) in zip(plane.moments, plane.requests, strict=True) if path == TELEMETRY]
    assert len(came) == 2
    assert came[1] - came[0] > 1


def test_a_batch_that_cannot_be_read_is_given_up_and_counted(plane, connect, caplog):
    client = connect()
    plane.refusals.append((400, {}))

    client.report("tagging", latency_ms=1)
    client.report("tagging", latency_ms=2, call_id="c-2")
    client.flush()
    client.report("tagging", latency_ms=3, call_id="c-3")
    client.flush()

    assert client.counts["dropped"] >= 1
    assert client.counts["refused_batches"] == 1
    assert "c-3" in [call["id"] for call in plane.told("calls")]
    assert "refused a batch (400)" in caplog.text


def test_a_batch_that_is_too_large_is_sent_in_two_request_by_request(plane, connect):
    client = connect(flush_seconds=600)
    plane.refusals.append((413, {}))
    for n in range(4):
        route = client.resolve(FLAG, f"r-{n}")
        client.report(route, latency_ms=1, attempt=1, final=False)
        client.report(route, latency_ms=1, attempt=2)

    client.flush()

    batches = [json.loads(batch)["calls"] for batch in plane.batches]
    requests = [{call["request_id"] for call in calls} for calls in batches if calls]
    assert len(plane.told("calls")) == 8
    assert len(requests) == 2 and not requests[0] & requests[1]


def test_a_large_queue_leaves_in_batches_of_five_hundred(plane, connect):
    client = connect(flush_seconds=600)
    for _ in range(1201):
        client.report("tagging", latency_ms=1)

    assert client.flush()
    assert [len(json.loads(batch)["calls"]) for batch in plane.batches] == [500, 500, 201]


def test_what_does_not_fit_the_queue_is_dropped_and_counted(plane, connect, caplog):
    client = connect(url="http://127.0.0.1:9", max_queued=10, wait_seconds=0)

    for _ in range(25):
        client.report("tagging", latency_ms=1)

    assert client.counts["dropped"] == 15
    assert "dropped and counted" in caplog.text


def test_many_threads_under_back_pressure_lose_nothing_and_send_nothing_twice(plane, connect):
    client = connect(flush_seconds=0.02)
    plane.refusals.extend([(503, {}), (429, {}), (503, {})])

    def serve(worker: int) -> None:
        for n in range(200):
            route = client.resolve(FLAG, f"r-{worker}-{n}")
            client.report(route, latency_ms=1, attempt=1, final=False, error="timeout")
            client.report(route, latency_ms=1, attempt=2)

    threads = [threading.Thread(target=serve, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert client.flush(timeout=90)
    calls = plane.told("calls")
    assert len(calls) == len({call["id"] for call in calls}) == 2400
    for batch in plane.batches:
        attempts = Counter(call["request_id"] for call in json.loads(batch)["calls"])
        assert set(attempts.values()) <= {2}
    assert sum(row["count"] for row in plane.told("exposures")) == 1200


def test_reporting_never_waits_for_the_control_plane(connect):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never answers
        client = connect(url=f"http://127.0.0.1:{silent.getsockname()[1]}", wait_seconds=0, timeout_seconds=0.5)
        began = time.monotonic()

        for _ in range(1000):
            client.report("tagging", latency_ms=1)

        assert time.monotonic() - began < 60, "who waited for answers would wait for 500 s"
        assert client.flush(timeout=0.1) is False
        client.close(timeout=0.1)


def test_closing_gives_up_in_time(connect):
    client = connect(url="http://127.0.0.1:9", wait_seconds=0)
    client.report("tagging", latency_ms=1)
    began = time.monotonic()

    assert client.close(timeout=0.3) is False
    assert time.monotonic() - began < 30, "else it would try for ever"


def test_closing_sends_what_is_queued(plane, connect):
    client = connect(flush_seconds=60)
    client.report("tagging", latency_ms=1)

    assert client.close() is True
    assert len(plane.told("calls")) == 1


@time_machine.travel(datetime(2026, 11, 24, 23, 59, 59, 900_000, tzinfo=UTC), tick=False)
def test_exposures_are_counted_by_minute_with_a_few_subjects(plane, connect):
    client = connect(flush_seconds=600)  # nothing leaves in the middle
    for n in range(31):
        client.resolve(FLAG, f"r-{n}")
    client.resolve(FLAG, "beta-1", plan="beta")

    client.flush()

    exposures = {row["assigned_by"]: row for row in plane.told("exposures")}
    split = exposures["split"]
    assert (split["flag"], split["variant"], split["snapshot"], split["count"]) == (FLAG, "flash-lite", 412, 31)
    assert split["subjects"] == [f"r-{n}" for n in range(20)]
    assert split["minute"] == "2026-11-24T23:59:00Z"
    assert (exposures["rule"]["count"], exposures["rule"]["subjects"]) == (1, ["beta-1"])


def test_exposures_that_leave_in_parts_add_up(plane, connect):
    client = connect()

    for n in range(3):
        client.resolve(FLAG, f"r-{n}")
        client.flush()

    assert sum(row["count"] for row in plane.told("exposures")) == 3


@pytest.mark.parametrize(
    "wrong",
    [{"latency_ms": float("nan")}, {"latency_ms": 1, "at": datetime(2026, 1, 1)}],  # noqa: DTZ001
)
def test_what_would_spoil_a_batch_is_refused_at_once(connect, wrong):
    with pytest.raises(ValueError):
        connect().report("tagging", **wrong)


def test_a_process_that_ends_sends_what_it_has(plane, tmp_path):
    import subprocess
    import sys

    code = (
        "import changeover\n"
        f"client = changeover.Client({plane.url!r}, 'co_secret', name='short', flush_seconds=60)\n"
        "client.report(client.resolve('invoice-extraction', 'r-1'), latency_ms=1)\n"
    )
    environment = {**os.environ, "PYTHONPATH": "sdk"}

    subprocess.run([sys.executable, "-c", code], check=True, timeout=100, env=environment)

    assert [call["request_id"] for call in plane.told("calls")] == ["r-1"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_goes_on_by_itself(plane, connect):
    client = connect(poll_seconds=0.1, stream=False, flush_seconds=60)
    assert client.wait(30)
    client.report("tagging", latency_ms=1, call_id="of-the-parent")

    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if _live_on(client, plane) else 2
        finally:
            os._exit(status)
    plane.publish(413, tell=False, **{FLAG: plane.document["flags"][FLAG]})

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    client.flush()
    ids = [call["id"] for call in plane.told("calls")]
    assert sorted(ids) == ["of-the-child", "of-the-parent"]


def _live_on(client: Client, plane: object) -> bool:
    if client.evaluate(FLAG, {"targetingKey": "r-1"}).variant != "flash-lite":
        return False
    client.report("tagging", latency_ms=1, call_id="of-the-child")
    return until(lambda: client.version == 413) and client.flush()
