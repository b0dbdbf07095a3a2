"""The OTLP doors under pressure: the database away, a fault of ours, too much at once. A 503 brings exporters back."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import OperationalError

from apps.access import serving as access
from apps.telemetry import reception, services, serving
from tests.telemetry.make_otlp import COST, TRACES, span, traces
from tests.telemetry.make_telemetry import spent
from tests.telemetry.otlp_samples import JSON, PROTOBUF, ask, gzipped, post
from tests.telemetry.test_otlp_door import CANARY

pytestmark = pytest.mark.django_db(transaction=True)


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


def test_a_slow_commit_is_a_503_before_its_sender_gives_up_and_its_repeat_counts_nothing(key, monkeypatch):
    monkeypatch.setattr(reception, "PATIENCE", 0.0)  # spent on reading
    monkeypatch.setattr(reception, "LEAST_PATIENCE", 0.05)
    counting, may_write = services.count, threading.Event()

    def slow(**group):
        may_write.wait(20)
        return counting(**group)

    monkeypatch.setattr(services, "count", slow)
    body = traces(span())
    refused = post(TRACES, body, key)
    may_write.set()
    monkeypatch.undo()
    taken = post(TRACES, body, key)

    assert (refused.status, refused.headers[b"retry-after"], refused.json["code"]) == (503, b"2", 14)
    assert (taken.status, spent().calls) == (200, 1)


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


def test_who_waits_too_long_to_be_read_gets_503_while_it_still_listens(key, monkeypatch):
    monkeypatch.setattr(reception, "TURN", 0.05)
    monkeypatch.setattr(reception, "readers", ThreadPoolExecutor(1))
    is_free = threading.Event()
    reception.readers.submit(is_free.wait, 20)
    body, packed = gzipped(traces(span()))

    refused = post(TRACES, body, key, JSON, packed)
    is_free.set()
    monkeypatch.setattr(reception, "TURN", 20)
    taken = post(TRACES, body, key, JSON, packed)

    assert (refused.status, refused.headers[b"retry-after"], refused.json["code"]) == (503, b"1", 14)
    assert (taken.status, spent().calls) == (200, 1)


def test_many_at_once_lose_nothing(key):
    bodies = [traces(*(span() for _ in range(10))) for _ in range(30)]
    headers = [(b"content-type", JSON.encode()), (b"authorization", f"Bearer {key}".encode())]

    async def all_at_once():
        return await asyncio.gather(*(ask(TRACES, body, *headers) for body in bodies + bodies))

    answers = asyncio.run(all_at_once())

    assert {answer.status for answer in answers} == {200}
    assert (spent().calls, spent().confirmed_nano) == (300, 300 * COST)
