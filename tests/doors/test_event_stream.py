"""OFREP's own event stream, and what a client asks for once it has heard of a change."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from unittest.mock import Mock
from urllib.parse import urlsplit

import pytest

from apps.access import serving as access
from apps.core import streams
from apps.flags import services
from apps.flags.serving import asking, end_streams, events
from apps.flags.serving.shelf import Shelf
from tests.flags import doors
from tests.flags.doors import ask, look, make_key
from tests.flags.make_flags import ALICE, NOW, make_environment, make_flag

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("shelf_of_this_test")]
SAID = {"environment": "production", "by": ALICE, "because": "to see", "now": NOW}
BULK = "/ofrep/v1/evaluate/flags"
LOOK_SECONDS = asking.LOOK_SECONDS  # the product's own; tests are more patient


class Reader(doors.Reader):
    """Of an address that a bulk answer named."""

    def __init__(self, address: str, headers: dict[str, str] | None = None) -> None:
        self.address = urlsplit(address)
        super().__init__(headers or {})

    async def run(self, headers: dict[str, str]) -> None:
        path = self.address.path
        scope = doors.scope_of("GET", path, headers, self.address.query)
        await doors.find_door("GET", path)(scope, self.receive, self.send)


def address_for(key: dict[str, str]) -> str:
    (stream,) = ask("POST", BULK, body={}, headers=key).json["eventStreams"]
    assert stream["type"] == "sse"
    assert list(stream["endpoint"]) == ["requestUri"]  # no origin: right behind every proxy
    return stream["endpoint"]["requestUri"]


def listen(address: str, then: Callable[[Reader], Awaitable[None]], headers: dict[str, str] | None = None) -> Reader:
    async def run() -> Reader:
        reader = Reader(address, headers)
        await reader.until(lambda: b"\n\n" in reader.answer.body or reader.answer.status >= 400)
        await then(reader)
        await reader.leave()
        return reader

    return asyncio.run(run())


async def nothing(_: Reader) -> None:
    pass


def test_a_bulk_answer_names_a_stream_whose_address_carries_no_key():
    make_flag()
    key = make_key()
    look()

    answer = ask("POST", BULK, body={}, headers=key)

    assert answer.json["eventStreams"][0]["inactivityDelaySec"] == 120
    assert key["Authorization"].removeprefix("Bearer ") not in answer.body.decode()
    assert address_for(key) == address_for(key)  # another address would make every client connect anew


def test_who_connects_is_told_to_fetch_once():
    make_flag()
    key = make_key()
    look()

    reader = listen(address_for(key), nothing)

    assert reader.answer.status == 200
    assert reader.answer.header("content-type") == "text/event-stream"
    assert b"id: 1\nevent: message\n" in reader.answer.body
    (event,) = reader.events
    assert event == {"type": "refetchEvaluation", "etag": "1", "lastModified": int(NOW.timestamp())}


def test_who_comes_back_with_the_newest_version_is_told_nothing():
    make_flag()
    key = make_key()
    look()

    assert listen(address_for(key), nothing, {"Last-Event-ID": "1"}).events == []


@pytest.mark.django_db(transaction=True)
def test_a_change_reaches_the_reader_and_the_version_it_names_is_what_the_bulk_answers():
    make_flag()
    key = make_key()
    look()
    address = address_for(key)

    async def publish(reader: Reader) -> None:
        await asyncio.to_thread(change)
        await asyncio.to_thread(asking.look_now)
        await reader.until(lambda: len(reader.events) == 2)

    reader = listen(address, publish)

    assert reader.events[1]["etag"] == "2"
    answer = ask("POST", BULK, body={}, headers=key, query="flagConfigEtag=2&flagConfigLastModified=1764000000")
    assert answer.json["metadata"]["version"] == "2"


def change() -> None:
    from django.db import connection

    services.update_flag(**SAID, key="new-parser", default_variant="on")
    connection.close()


@pytest.mark.django_db(transaction=True)
def test_a_version_that_another_process_has_told_of_is_looked_for_at_once():
    """Even right after another look: who was told of version 2 never gets version 1."""
    make_flag()
    key = make_key()
    look()
    asking.looked_at = 1e12  # somebody has just looked
    services.update_flag(**SAID, key="new-parser", default_variant="on")

    answer = ask("POST", BULK, body={}, headers=key, query='flagConfigEtag="2"')

    assert answer.json["metadata"]["version"] == "2"


@pytest.mark.django_db(transaction=True)
def test_a_version_that_nobody_has_is_looked_for_once_a_second(monkeypatch):
    make_flag()
    key = make_key()
    look()
    looks = []
    monkeypatch.setattr(asking, "look_now", lambda: looks.append(1))
    monkeypatch.setattr(asking, "time", Mock(monotonic=lambda: 1000.0))

    answers = [ask("POST", BULK, body={}, headers=key, query="flagConfigEtag=99999") for _ in range(20)]

    assert {answer.json["metadata"]["version"] for answer in answers} == {"1"}
    assert len(looks) == 2, "the first may have begun before that version was there"


@pytest.mark.django_db(transaction=True)
def test_many_clients_that_heard_of_a_change_share_one_look(monkeypatch, shelf_of_this_test: Shelf):
    make_flag()
    key = make_key()
    look()
    services.update_flag(**SAID, key="new-parser", default_variant="on")
    looks, look_now = [], asking.look_now
    monkeypatch.setattr(asking, "look_now", lambda: (looks.append(1), look_now()))

    async def crowd() -> list[doors.Answer]:
        one = lambda: doors.call("POST", BULK, body={}, headers=key, query="flagConfigEtag=2")  # noqa: E731
        return await asyncio.gather(*(one() for _ in range(100)))

    answers = asyncio.run(crowd())

    assert {answer.json["metadata"]["version"] for answer in answers} == {"2"}
    assert len(looks) == 1


def test_a_database_that_hangs_costs_half_a_second_and_no_answer(monkeypatch):
    make_flag()
    key = make_key()
    look()
    over = threading.Event()
    monkeypatch.setattr(asking, "look_now", lambda: over.wait(60))
    monkeypatch.setattr(asking, "LOOK_SECONDS", LOOK_SECONDS)

    async def meanwhile() -> tuple[doors.Answer, bool]:
        answer = await doors.call("POST", BULK, body={}, headers=key, query="flagConfigEtag=2")
        was_over = over.is_set()
        over.set()
        return answer, was_over

    answer, was_over = asyncio.run(meanwhile())
    assert (answer.status, was_over, LOOK_SECONDS) == (200, False, 0.5)


def test_a_new_address_comes_with_a_new_tag_so_that_pollers_get_it(monkeypatch):
    make_flag()
    key = make_key()
    look()
    first = ask("POST", BULK, body={}, headers=key)
    known = key | {"If-None-Match": first.header("etag")}
    assert ask("POST", BULK, body={}, headers=known).status == 304

    turn = events.turn
    monkeypatch.setattr(events, "turn", lambda now: turn(now) + 1)
    later = ask("POST", BULK, body={}, headers=known)

    assert later.status == 200
    assert later.json["eventStreams"] != first.json["eventStreams"]
    assert later.json["flags"] == first.json["flags"]


def test_an_address_holds_for_its_turn_and_the_next_one(monkeypatch):
    make_flag()
    key = make_key()
    look()
    address, turn = address_for(key), events.turn

    def status_after(turns: int) -> int:
        monkeypatch.setattr(events, "turn", lambda now: turn(now) + turns)
        return listen(address, nothing).answer.status

    assert [status_after(turns) for turns in (0, 1, 2, -1)] == [200, 200, 401, 401]


@pytest.mark.parametrize("given", ["", "x", "a.b.c", "a.1.é", "0.0.0", "{id}.{turn}.0", "{id}.{turn}", "%00.%00.%00"])
def test_a_forged_address_opens_nothing(given):
    make_flag()
    key = make_key()
    look()
    key_id, number, _ = address_for(key).partition("token=")[2].split(".")

    assert listen(f"{events.PATH}?token={given.format(id=key_id, turn=number)}", nothing).answer.status == 401


def test_a_key_of_another_environment_hears_nothing_of_this_one(shelf_of_this_test: Shelf):
    make_flag()
    make_environment("other")
    other = make_key("other")
    look()

    (event,) = listen(address_for(other), nothing).events

    assert event["etag"] == "0"


def test_a_revoked_key_ends_its_stream_within_two_seconds_and_its_address_with_it(monkeypatch):
    assert streams.TICK_SECONDS == 1, "so often a stream asks whether its key still holds"
    monkeypatch.setattr(streams, "TICK_SECONDS", 0.05)
    make_flag()
    key = make_key()
    look()
    address = address_for(key)

    async def revoke(reader: Reader) -> None:
        access.keys.swap({})
        await asyncio.wait_for(asyncio.shield(reader.task), 60)

    listen(address, revoke)
    assert listen(address, nothing).answer.status == 401


def test_streams_end_at_the_stop_signal():
    make_flag()
    key = make_key()
    look()

    async def stop(reader: Reader) -> None:
        end_streams()
        await asyncio.wait_for(asyncio.shield(reader.task), 60)

    assert b"retry: " in listen(address_for(key), stop).answer.body
