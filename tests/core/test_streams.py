import asyncio
import time

from apps.core.streams import Streams

PATIENCE = 60  # seconds, of a machine that has more to do


class Reader:
    """One open stream, read by hand."""

    def __init__(self, streams: Streams, last: bytes | None = None, allowed=lambda: True, owner: str = "") -> None:
        self.got: list[bytes] = []
        self.status = 0
        self.left = asyncio.Event()
        headers = [(b"last-event-id", last)] if last else []
        self.task = asyncio.ensure_future(
            streams.serve({"headers": headers}, self.receive, self.send, allowed=allowed, owner=owner)
        )

    async def receive(self):
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.status = message.get("status", self.status)
        self.got.append(message.get("body", b""))

    @property
    def text(self) -> bytes:
        return b"".join(self.got)


def streams_of(said: list[int | None]) -> Streams:
    def frame_since(told: int | None) -> bytes:
        said.append(told)
        return b"id: %d\n\n" % streams.version

    streams = Streams(frame_since)
    streams.version = 7
    return streams


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_reader_gets_the_newest_version_at_once_and_each_that_follows():
    async def story():
        reader = Reader(streams := streams_of([]))
        await settle()
        streams.publish(8)
        await settle()
        streams.end()
        await reader.task
        return reader

    reader = asyncio.run(story())

    assert reader.status == 200
    assert reader.text.startswith(b"retry: ")
    assert reader.text.index(b"id: 7") < reader.text.index(b"id: 8")


def test_a_reader_that_comes_back_says_what_it_has():
    said: list[int | None] = []

    async def story():
        reader = Reader(streams_of(said), last=b"5")
        await settle()
        reader.left.set()
        await reader.task

    asyncio.run(story())

    assert said == [5]


def test_one_more_than_the_cap_is_told_to_poll(monkeypatch):
    monkeypatch.setattr(Streams, "cap", 1)

    async def story():
        streams = streams_of([])
        first = Reader(streams)
        await settle()
        second = Reader(streams)
        await second.task
        streams.end()
        await first.task
        return second

    second = asyncio.run(story())

    assert second.status == 503
    assert b"too_many_streams" in second.text
    assert Streams.open == 0


def test_a_quiet_stream_beats(monkeypatch):
    monkeypatch.setattr("apps.core.streams.HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr("apps.core.streams.TICK_SECONDS", 0.02)

    async def story():
        began = time.monotonic()
        reader = Reader(streams := streams_of([]))
        async with asyncio.timeout(PATIENCE):
            while (beats := reader.text.count(b": hb\n\n")) < 4:
                await asyncio.sleep(0.001)
        took = time.monotonic() - began
        streams.end()
        await reader.task
        return beats, took

    beats, took = asyncio.run(story())

    assert took >= beats * 0.05  # no more often than it should


def test_who_is_no_longer_allowed_is_let_go_without_any_change(monkeypatch):
    monkeypatch.setattr("apps.core.streams.TICK_SECONDS", 0.02)
    allowed = [True]

    async def story():
        reader = Reader(streams_of([]), allowed=lambda: allowed[0])
        await settle()
        assert not reader.task.done()
        allowed[0] = False
        await asyncio.wait_for(reader.task, PATIENCE)

    asyncio.run(story())

    assert Streams.open == 0


def test_a_reader_that_leaves_while_it_waits_is_forgotten():
    async def story():
        reader = Reader(streams := streams_of([]))
        await settle()
        reader.left.set()
        await reader.task
        streams.publish(8)
        await settle()
        return reader

    reader = asyncio.run(story())

    assert b"id: 8" not in reader.text
    assert Streams.open == 0


def test_a_change_between_two_waits_is_not_missed():
    async def story():
        reader = Reader(streams := streams_of([]))
        await settle()
        for version in range(8, 12):
            streams.publish(version)
        await settle()
        streams.end()
        await reader.task
        return reader

    reader = asyncio.run(story())

    assert reader.text.count(b"id: ") == 2 and b"id: 11\n\n" in reader.text


def test_one_owner_may_not_take_all_streams(monkeypatch):
    monkeypatch.setattr(Streams, "cap_per_owner", 1)

    async def story():
        streams = streams_of([])
        readers = [Reader(streams, owner=owner) for owner in ("a", "a", "b")]
        await settle()
        for reader in readers:
            reader.left.set()
            await reader.task
        again = Reader(streams, owner="a")
        await settle()
        again.left.set()
        await again.task
        return [reader.status for reader in [*readers, again]]

    assert asyncio.run(story()) == [200, 503, 200, 200]
    assert not Streams.owned


def test_at_a_planned_stop_a_crowd_is_told_to_come_back_at_random_and_leaves_one_by_one(monkeypatch):
    monkeypatch.setattr("apps.core.streams.PARTING_SECONDS", 0.5)

    async def story():
        streams = streams_of([])
        readers = [Reader(streams) for _ in range(1000)]
        await settle()
        began, left = asyncio.get_running_loop().time(), []
        for reader in readers:
            reader.task.add_done_callback(lambda _: left.append(asyncio.get_running_loop().time() - began))
        streams.end()
        await asyncio.gather(*(reader.task for reader in readers))
        retries = [int(reader.text.rpartition(b"retry: ")[2].strip()) for reader in readers]
        return retries, left

    retries, left = asyncio.run(story())

    assert min(retries) < 2000 and 10_000 < max(retries) <= 15_000
    assert len(set(retries)) > 800
    assert sum(seconds > 0.2 for seconds in left) > 400


def test_a_reader_that_blocks_is_let_go_and_the_others_are_told(monkeypatch):
    monkeypatch.setattr("apps.core.streams.BLOCKED_SECONDS", 0.05)
    monkeypatch.setattr("apps.core.streams.TICK_SECONDS", 0.02)

    async def story():
        streams = streams_of([])
        slow, quick = Reader(streams), Reader(streams)
        await settle()

        async def never(message):
            await asyncio.Event().wait()

        next(reader for reader in streams.readers if reader.task is slow.task).send = never
        streams.publish(8)
        await asyncio.wait_for(slow.task, PATIENCE)
        assert not quick.task.done() and b"id: 8" in quick.text
        quick.left.set()
        await quick.task

    asyncio.run(story())

    assert Streams.open == 0


def test_a_task_that_is_cancelled_by_its_server_is_cancelled():
    async def story():
        reader = Reader(streams_of([]))
        await settle()
        reader.task.cancel()
        await settle()
        return reader.task.cancelled()

    assert asyncio.run(story())
    assert Streams.open == 0
