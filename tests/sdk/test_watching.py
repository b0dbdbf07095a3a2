"""The client keeps the newest snapshot: by the change stream, by polling, from disk; and never an older one."""

from __future__ import annotations

import json
import logging
import stat
import time
from typing import Any

import pytest

from changeover import transport, watching

from .conftest import ROUTE
from .control_plane import until

FLAGS = "/flagd/flags.json"
CHANGES = "/api/v1/changes"
FLAG = "invoice-extraction"


def settled(**changes: Any) -> dict[str, Any]:
    return {FLAG: {**ROUTE, "targeting": None, **changes}}


def test_the_first_evaluation_waits_for_the_first_snapshot(connect):
    answer = connect().evaluate(FLAG, {"targetingKey": "r-1"})

    assert (answer.variant, answer.assigned_by) == ("flash-lite", "split")


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_change_arrives_by_the_stream_long_before_the_next_poll(plane, connect, is_chunked):
    plane.is_chunked = is_chunked
    client = connect(poll_seconds=60)
    assert client.wait(30) and until(lambda: plane.streams)

    plane.publish(413, **settled())

    assert until(lambda: client.version == 413)
    assert client.evaluate(FLAG, {"targetingKey": "r-1"}).variant == "gpt-4.1"


def test_what_did_not_change_costs_a_304(plane, connect):
    client = connect(stream=False, poll_seconds=0.05)
    client.wait(30)

    assert until(lambda: len(plane.asked(FLAGS)) >= 3)
    assert plane.asked(FLAGS)[1]["if-none-match"] == '"production-412"'
    assert client.version == 412


def test_polling_finds_a_change_where_there_is_no_stream(plane, connect):
    plane.has_streams = False
    client = connect(poll_seconds=0.1)
    client.wait(30)

    plane.publish(413, **settled())

    assert until(lambda: client.version == 413)


def test_it_never_steps_back_to_an_older_version(plane, connect, caplog):
    client = connect(stream=False, poll_seconds=0.05)
    client.wait(30)

    plane.publish(400, **settled())
    asked = len(plane.asked(FLAGS))

    assert until(lambda: len(plane.asked(FLAGS)) > asked + 2)
    assert client.version == 412
    assert client.evaluate(FLAG, {"targetingKey": "r-1"}).variant == "flash-lite"
    assert "version 400 after 412" in caplog.text


def test_a_start_costs_one_fetch(plane, connect):
    client = connect(poll_seconds=60)
    assert client.wait(30) and until(lambda: plane.streams)

    time.sleep(0.2)

    assert len(plane.asked(FLAGS)) == 1


def test_an_older_version_on_the_stream_is_not_even_fetched(plane, connect):
    client = connect(poll_seconds=60)
    assert client.wait(30) and until(lambda: plane.streams)
    asked = len(plane.asked(FLAGS))

    plane.tell(300)
    time.sleep(0.2)

    assert len(plane.asked(FLAGS)) == asked


def test_it_asks_again_where_a_process_does_not_have_yet_what_was_announced(plane, connect):
    client = connect(poll_seconds=60)
    assert client.wait(30) and until(lambda: plane.streams)

    plane.tell(413)
    time.sleep(0.1)
    plane.publish(413, tell=False, **settled())

    assert until(lambda: client.version == 413)


def test_a_stream_that_ended_is_opened_again_from_the_version_at_hand(plane, connect):
    client = connect(poll_seconds=60)
    assert client.wait(30) and until(lambda: plane.streams)
    plane.publish(413, **settled())
    assert until(lambda: client.version == 413)

    plane.hang_up()

    assert until(lambda: len(plane.asked(CHANGES)) >= 2 and plane.streams)
    assert plane.asked(CHANGES)[-1]["last-event-id"] == "413"
    plane.publish(414, **settled(state="DISABLED"))
    assert until(lambda: client.evaluate(FLAG).reason == "DISABLED")


def test_a_silent_stream_is_taken_for_dead(plane):
    watcher = watching.Watcher(
        plane.url, "co_secret", poll_seconds=60, uses_stream=True, timeout=2, snapshot_file=None, silence=0.1
    )
    watcher.start()

    assert until(lambda: len(plane.asked(CHANGES)) >= 2)
    watcher.stop()


def test_flags_go_on_while_the_control_plane_fails(plane, connect, caplog):
    client = connect(stream=False, poll_seconds=0.05)
    client.wait(30)

    plane.flag_status = 503
    asked = len(plane.asked(FLAGS))
    assert until(lambda: len(plane.asked(FLAGS)) > asked + 1)

    assert client.evaluate(FLAG, {"targetingKey": "r-1"}).variant == "flash-lite"
    assert len([record for record in caplog.records if "answered 503" in record.message]) == 1


def test_a_document_that_cannot_be_read_is_not_taken(plane, connect):
    client = connect(stream=False, poll_seconds=0.05)
    client.wait(30)

    plane.version, plane.document = 413, {"flags": 7}
    asked = len(plane.asked(FLAGS))

    assert until(lambda: len(plane.asked(FLAGS)) > asked + 1)
    assert client.version == 412


def test_a_refused_key_is_told_and_flags_are_not_ready(connect, caplog):
    client = connect(key="co_wrong")

    with caplog.at_level(logging.WARNING):
        answer = client.evaluate(FLAG)

    assert answer.error_code == "PROVIDER_NOT_READY"
    assert "refuses the key" in caplog.text


def test_it_waits_for_the_first_snapshot_once_only(connect):
    client = connect(url="http://127.0.0.1:9", wait_seconds=0.2)
    began = time.monotonic()
    client.evaluate(FLAG)
    assert time.monotonic() - began >= 0.2

    client._wait_seconds = 60
    began = time.monotonic()
    client.evaluate(FLAG)

    assert time.monotonic() - began < 30


def test_a_copy_on_disk_serves_while_the_control_plane_is_away(plane, connect, tmp_path):
    file = tmp_path / "flags.json"
    connect(snapshot_file=file).wait(30)
    assert until(file.exists)

    alone = connect(url="http://127.0.0.1:9", snapshot_file=file)

    assert alone.evaluate(FLAG, {"targetingKey": "r-1"}).variant == "flash-lite"
    assert json.loads(file.read_bytes())["metadata"]["revision"] == 412
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["flags.json"]


def test_a_spoilt_copy_on_disk_is_left_aside(connect, tmp_path):
    file = tmp_path / "flags.json"
    file.write_text("{")

    assert connect(snapshot_file=file).evaluate(FLAG, {"targetingKey": "r-1"}).variant == "flash-lite"


@pytest.mark.parametrize(
    ("text", "pause"), [("7", 7.0), ("", None), ("1.5", None), ("2026-11-24", None), ("9999", 300.0)]
)
def test_a_pause_is_read_from_whole_seconds(text, pause):
    assert transport.Answer(429, {"retry-after": text}, b"").retry_after == pause


def test_waits_between_failures_grow_and_are_spread():
    waits = {failures: [transport.jittered(failures) for _ in range(200)] for failures in (1, 3, 50)}

    assert all(max(waits[failures]) <= longest for failures, longest in ((1, 1.0), (3, 4.0), (50, 30.0)))
    assert max(waits[50]) > 15 and min(waits[50]) < 15
