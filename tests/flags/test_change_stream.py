import asyncio
from collections.abc import Awaitable, Callable

import pytest

from apps.access import serving as access
from apps.core import streams
from apps.core.streams import Streams
from apps.flags import services
from apps.flags.serving import asking, end_streams
from apps.flags.serving.shelf import Shelf
from tests.flags.doors import Reader, ask, look, make_key
from tests.flags.make_flags import ALICE, NOW, make_flag, make_route

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("shelf_of_this_test")]
SAID = {"environment": "production", "by": ALICE, "because": "to see", "now": NOW}


def listen(headers: dict[str, str], then: Callable[[Reader], Awaitable[None]], leave: bool = True) -> Reader:
    """Runs `then` beside a reader that has had its first event."""

    async def run() -> Reader:
        reader = Reader(headers)
        await reader.until(lambda: bool(reader.events) or reader.answer.status >= 400)
        await then(reader)
        if leave:
            await reader.leave()
        return reader

    return asyncio.run(run())


async def nothing(reader: Reader) -> None:
    pass


def test_the_first_event_is_the_current_version():
    make_flag()
    key = make_key()
    look()

    reader = listen(key, nothing)

    assert reader.answer.status == 200
    assert reader.answer.header("content-type") == "text/event-stream"
    assert reader.answer.body.startswith(b"retry: ")
    assert b"id: 1\nevent: snapshot\n" in reader.answer.body
    (event,) = reader.events
    assert (event["version"], event["keys"]) == (1, None)
    assert event["etag"].startswith('"production-1-')


@pytest.mark.django_db(transaction=True)
def test_a_publish_reaches_the_reader_with_its_keys(shelf_of_this_test: Shelf):
    make_flag()
    key = make_key()
    look()
    services.update_flag(**SAID, key="new-parser", default_variant="on")

    async def publish(reader: Reader) -> None:
        await asyncio.to_thread(asking.look_now)
        await reader.until(lambda: len(reader.events) == 2)

    reader = listen(key, publish)

    assert (reader.events[1]["version"], reader.events[1]["keys"]) == (2, ["new-parser"])
    assert 0 <= reader.events[1]["after_ms"] <= 300


@pytest.mark.django_db(transaction=True)
def test_a_switch_asks_readers_to_come_at_once(shelf_of_this_test: Shelf):
    make_route()
    key = make_key()
    look()
    services.switch_to_fallback(**SAID, key="invoice-extraction")

    async def publish(reader: Reader) -> None:
        await asyncio.to_thread(asking.look_now)
        await reader.until(lambda: len(reader.events) == 2)

    reader = listen(key, publish)

    assert reader.events[1]["after_ms"] == 0


def test_who_returns_gets_the_union_of_what_changed_meanwhile():
    make_flag("one")
    make_flag("two")
    services.update_flag(**SAID, key="one", default_variant="on")
    services.update_flag(**SAID, key="one", default_variant="off")
    make_flag("three")
    key = make_key()
    look()

    def keys_since(last: str) -> object:
        return listen(key | {"Last-Event-ID": last}, nothing).events[0]["keys"]

    assert keys_since("2") == ["one", "three"]
    assert keys_since("5") == []
    assert keys_since("99") is None
    assert keys_since("x") is None


def test_a_version_too_old_to_remember_means_fetch_all(shelf_of_this_test: Shelf):
    make_flag("one")
    make_flag("two")
    key = make_key()
    look()
    del shelf_of_this_test.changes["production"][0]

    assert listen(key | {"Last-Event-ID": "0"}, nothing).events[0]["keys"] is None


def test_a_revoked_key_ends_its_stream_within_two_seconds(monkeypatch):
    assert streams.TICK_SECONDS == 1, "so often a stream asks whether its key still holds"
    monkeypatch.setattr(streams, "TICK_SECONDS", 0.05)
    make_flag()
    key = make_key()
    look()

    async def revoke(reader: Reader) -> None:
        access.keys.swap({})
        await asyncio.wait_for(reader.task, 60)

    listen(key, revoke, leave=False)


def test_beyond_the_cap_readers_are_told_to_poll(monkeypatch):
    make_flag()
    key = make_key()
    look()
    monkeypatch.setattr(Streams, "cap", 0)

    reader = listen(key, nothing)

    assert reader.answer.status == 503
    assert reader.answer.header("retry-after") == "5"
    assert b"too_many_streams" in reader.answer.body


def test_at_the_stop_signal_streams_end():
    make_flag()
    key = make_key()
    look()

    async def stop(reader: Reader) -> None:
        end_streams()
        await asyncio.wait_for(reader.task, 60)

    listen(key, stop, leave=False)


def test_a_stranger_has_no_stream():
    assert ask("GET", "/api/v1/changes").status == 401
