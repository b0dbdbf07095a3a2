"""POST /api/v1/telemetry, as the server calls it: with a real group commit on a real thread."""

import asyncio
import gzip
import json
import threading
import tracemalloc
import zlib
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from apps.core import metrics
from apps.telemetry import queries, services, serving
from apps.telemetry.models import LedgerLine, Window
from tests.telemetry.make_telemetry import batch, make_key, make_route, outcome
from tests.telemetry.make_telemetry import call as ordinary
from tests.telemetry.native_door import ask, post

pytestmark = pytest.mark.django_db(transaction=True)
ROUTE = "invoice-extraction"


def call(**fields):
    """These calls go through the real clock."""
    return ordinary(**{"at": timezone.now().isoformat(), **fields})


@pytest.fixture
def key():
    make_route(now=timezone.now() - timedelta(hours=1))
    return make_key("telemetry:write", now=timezone.now())


@pytest.fixture
def door(key):
    """Posts to the door, while its thread runs."""
    serving.start()
    yield lambda body, **more: post(body, more.pop("key", key), **more)
    serving.stop()


def counted():
    return sum(Window.objects.values_list("calls", flat=True))


def test_it_answers_what_became_of_each_call(door):
    told = batch(
        call(), call(route="mystery"), call(id="bad", latency_ms=-1), outcomes=[outcome(at=timezone.now().isoformat())]
    )

    first, again = door(told), door(told)

    assert first.status == again.status == 202
    assert first.json["accepted"] == 2
    assert first.json["unassigned"] == {"mystery": 1}
    assert first.json["rejected"][0]["id"] == "bad"
    assert "latency_ms" in first.json["rejected"][0]["reason"]
    assert first.json["outcomes"] == {"accepted": 1, "duplicates": 0}
    assert (again.json["accepted"], again.json["duplicates"], len(again.json["rejected"])) == (0, 2, 1)
    assert again.json["outcomes"] == {"accepted": 0, "duplicates": 1}
    assert counted() == 2


def test_what_was_answered_is_there(door):
    door(batch(call()))

    assert queries.freshness("production", ROUTE) is not None
    assert counted() == 1


def test_many_batches_at_once_share_commits_and_lose_nothing(door, key):
    async def all_at_once():
        return await asyncio.gather(*(ask(batch(*(call() for _ in range(20))), key) for _ in range(40)))

    answers = asyncio.run(all_at_once())

    assert {answer.status for answer in answers} == {202}
    assert sum(answer.json["accepted"] for answer in answers) == counted() == 800


def test_the_same_batch_from_many_at_once_counts_once(door, key):
    told = batch(call(), call())

    async def all_at_once():
        return await asyncio.gather(*(ask(told, key) for _ in range(5)))

    answers = asyncio.run(all_at_once())

    assert sorted(answer.json["accepted"] for answer in answers) == [0, 0, 0, 0, 2]
    assert counted() == 2


@pytest.mark.parametrize("chunk", [None, 65_536], ids=["with length", "chunked"])
def test_ten_megabytes_are_too_large(door, chunk):
    answer = door(b"x" * 10_000_000, chunk=chunk)

    assert (answer.status, answer.json["code"]) == (413, "too_large")


def test_broken_json_is_refused_with_the_place(door):
    answer = door(b'{"batch_id": "b", "calls": [}')

    assert (answer.status, answer.json["code"]) == (400, "unreadable")
    assert "column 29" in answer.json["detail"]


def test_a_batch_without_an_id_is_refused_with_the_place(door):
    answer = door({"calls": [call()]})

    assert answer.status == 400
    assert "batch_id" in answer.json["detail"]


@pytest.mark.parametrize(("encoding", "pack"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress)])
def test_packed_bodies_are_read(door, encoding, pack):
    body = pack(json.dumps(batch(call())).encode())

    assert door(body, headers=[(b"content-encoding", encoding)]).json["accepted"] == 1


def test_two_gzip_members_are_one_body(door):
    body = json.dumps(batch(call())).encode()
    packed = gzip.compress(body[:50]) + gzip.compress(body[50:])

    assert door(packed, headers=[(b"content-encoding", b"gzip")]).json["accepted"] == 1


@pytest.mark.parametrize(("encoding", "pack"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress)])
def test_a_bomb_stops_at_the_limit(door, encoding, pack):
    bomb = pack(b" " * 100_000_000)

    tracemalloc.start()
    status = door(bomb, headers=[(b"content-encoding", encoding)]).status
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert status == 413
    assert most < 3 * serving.MAX_BODY


@pytest.mark.parametrize(
    "broken", [b"no gzip at all", gzip.compress(b"x" * 1000)[:-9], b""], ids=["not gzip", "truncated", "empty"]
)
def test_broken_compression_is_refused(door, broken):
    answer = door(broken, headers=[(b"content-encoding", b"gzip")])

    assert (answer.status, answer.json["code"]) == (400, "unreadable")


def test_another_encoding_is_refused(door):
    assert door(b"x", headers=[(b"content-encoding", b"br")]).status == 415


@pytest.mark.parametrize("key", [None, "wrong"])
def test_without_a_key_nobody_writes(door, key):
    answer = door(batch(call()), key=key)

    assert (answer.status, answer.json["code"]) == (401, "unauthorized")
    assert counted() == 0


def test_a_key_for_reading_may_not_write(door):
    answer = door(batch(call()), key=make_key("flags:read", now=timezone.now()))

    assert (answer.status, answer.json["code"]) == (403, "forbidden")


def test_a_large_batch_is_read_beside_the_event_loop(door):
    assert door(batch(*(call() for _ in range(500)))).json["accepted"] == 500


def test_who_sends_too_fast_is_asked_to_wait(door, key, monkeypatch):
    busy, go_on = threading.Event(), threading.Event()
    counting = services.count

    def slowly(**group):
        busy.set()
        assert go_on.wait(60)
        return counting(**group)

    monkeypatch.setattr(services, "count", slowly)
    monkeypatch.setattr(serving.commits, "max_bytes", 1)

    async def three():
        first = asyncio.ensure_future(ask(batch(call()), key))
        await asyncio.to_thread(busy.wait, 60)
        second = asyncio.ensure_future(ask(batch(call()), key))
        while not serving.commits.waiting_bytes:
            await asyncio.sleep(0.001)
        third = await ask(batch(call()), key)
        go_on.set()
        return await first, await second, third

    first, second, third = asyncio.run(three())

    assert (first.status, second.status) == (202, 202)
    assert (third.status, third.json["code"]) == (429, "too_fast")
    assert third.headers[b"retry-after"].isdigit()


def test_with_the_database_away_the_client_keeps_its_batch(door, monkeypatch):
    counting = services.count
    told = batch(call())

    def away(**group):
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(services, "count", away)
    refused = door(told)
    monkeypatch.setattr(services, "count", counting)
    taken = door(told)

    assert (refused.status, refused.json["code"]) == (503, "database_away")
    assert refused.headers[b"retry-after"].isdigit()
    assert taken.json["accepted"] == 1


def test_a_batch_that_cannot_be_stored_costs_only_itself(door, key, monkeypatch):
    counting = services.count
    poison = batch(call(id="poison"))

    def sometimes(*, sent, writer, now):
        if any(one.batch.batch_id == poison["batch_id"] for one in sent):
            raise OverflowError("too large")
        return counting(sent=sent, writer=writer, now=now)

    monkeypatch.setattr(services, "count", sometimes)

    async def all_at_once():
        return await asyncio.gather(*(ask(told, key) for told in [batch(call()), poison, batch(call())]))

    answers = asyncio.run(all_at_once())

    assert [answer.status for answer in answers] == [202, 400, 202]


def test_after_the_stop_nothing_is_taken(key):
    serving.start()
    serving.stop()

    answer = post(batch(call()), key)

    assert (answer.status, answer.json["code"]) == (503, "stopping")


def test_a_stop_writes_what_waits(key):
    serving.start()

    async def send_and_stop():
        asked = asyncio.ensure_future(ask(batch(call()), key))
        await asyncio.sleep(0)
        await asyncio.to_thread(serving.stop)
        return await asked

    assert asyncio.run(send_and_stop()).status in (202, 503)


def test_who_leaves_in_the_middle_is_not_answered(door, key):
    async def leave():
        sent = []

        async def receive():
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        headers = [(b"authorization", f"Bearer {key}".encode())]
        await serving.door({"type": "http", "headers": headers}, receive, send)
        return sent

    assert asyncio.run(leave()) == []


# Late calls, clocks that are wrong, numbers that cannot be.


def back(**span):
    return (timezone.now() - timedelta(**span)).isoformat()


def test_a_clock_that_is_an_hour_slow_loses_nothing_and_is_counted_as_late(door):
    told = door(batch(call(at=back(hours=1)), call(at=back(seconds=1)))).json

    assert (told["accepted"], told["rejected"]) == (2, [])
    assert sorted(Window.objects.values_list("calls", "late")) == [(1, 0), (1, 1)]
    assert sum(LedgerLine.objects.values_list("calls", flat=True)) == 2


def test_a_clock_that_is_an_hour_fast_is_told_so_call_by_call(door):
    told = door(batch(call(id="fast", at=back(hours=-1)), call(at=back(seconds=-240)))).json

    assert told["accepted"] == 1
    assert told["rejected"] == [{"id": "fast", "reason": "at is more than 5 minutes ahead"}]


def test_late_calls_land_in_their_own_window_whatever_came_since(door):
    hour_ago = timezone.now() - timedelta(hours=1)
    for at in (back(seconds=1), hour_ago.isoformat(), back(seconds=1), hour_ago.isoformat()):
        door(batch(call(at=at)))

    (row,) = queries.windows("production", ROUTE, hour_ago - timedelta(minutes=1), hour_ago + timedelta(minutes=1))
    assert (row.calls, row.late) == (2, 2)


def test_a_billion_tokens_are_priced_to_the_nano_usd_and_one_more_is_refused(door):
    billion = 10**9
    most = call(at=back(seconds=1), input_tokens=billion, output_tokens=billion)
    more = call(id="more", at=back(seconds=1), input_tokens=billion + 1)

    told = door(batch(most, more)).json

    assert [one["id"] for one in told["rejected"]] == ["more"]
    assert LedgerLine.objects.get().confirmed_nano == billion * 100 + billion * 400


IMPOSSIBLE = [
    {"latency_ms": -1},
    {"latency_ms": float("nan")},
    {"latency_ms": float("inf")},
    {"input_tokens": -1},
    {"output_tokens": float("nan")},
    {"cached_input_tokens": 1.5},
    {"cost_usd": -0.01},
    {"cost_usd": float("nan")},
    {"first_token_ms": -5},
]


def test_negative_numbers_and_nan_cost_their_call_only(door):
    calls = [call(id=f"odd-{n}", at=back(seconds=1), **fault) for n, fault in enumerate(IMPOSSIBLE)]
    body = json.dumps(batch(*calls, call(at=back(seconds=1)))).encode()  # NaN stands in it as it is

    told = door(body).json

    assert told["accepted"] == 1
    assert sorted(one["id"] for one in told["rejected"]) == [f"odd-{n}" for n in range(len(IMPOSSIBLE))]
    assert all(one["reason"] for one in told["rejected"])
    assert sum(Window.objects.values_list("calls", flat=True)) == 1


def test_more_cached_than_input_tokens_is_no_discount(door):
    door(batch(call(at=back(seconds=1), input_tokens=1000, cached_input_tokens=5000, output_tokens=0)))

    assert LedgerLine.objects.get().confirmed_nano == 1000 * 100


def test_what_waits_is_bounded_in_bytes_and_the_rest_is_pushed_back_and_counted(door, key, monkeypatch):
    pushed_back = metrics.pushed_back._value.get()
    monkeypatch.setattr(serving.commits, "waiting_bytes", serving.commits.max_bytes)

    answer = door(batch(call(at=back(seconds=1))))

    assert (answer.status, answer.json["code"]) == (429, "too_fast")
    assert int(answer.headers[b"retry-after"]) >= 1
    assert metrics.pushed_back._value.get() == pushed_back + 1
    assert not Window.objects.exists()


def test_a_packed_batch_waits_with_its_size_unpacked(door, monkeypatch):
    sizes = []
    offer = serving.commits.offer
    monkeypatch.setattr(
        serving.commits, "offer", lambda sent, size, told: (sizes.append(size), offer(sent, size, told))
    )
    raw = json.dumps(batch(*(call() for _ in range(50)))).encode()

    assert door(gzip.compress(raw), headers=[(b"content-encoding", b"gzip")]).status == 202

    assert sizes == [len(raw)]
