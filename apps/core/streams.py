"""Server-sent events for a thousand readers: a change wakes each of them once, and nobody has a queue.

A `Streams` holds the newest version and tells its readers that there is one; `frame_since` builds what each reader
gets from the last version that it has. A slow reader therefore skips versions and never holds memory.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable

from django.conf import settings

from apps.core import metrics
from apps.core.asgi import Receive, Scope, Send, header, problem

HEARTBEAT_SECONDS = 15.0
TICK_SECONDS = 1.0
BLOCKED_SECONDS = 10.0
PARTING_SECONDS = 2.0  # a planned stop closes a thousand streams over this time, fewer sooner
BACK_WITHIN_MS = 15_000  # and a thousand readers come back within this time, fewer sooner
HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
FrameSince = Callable[[int | None], bytes]


class Streams:
    """Readers of one changing thing. All methods belong to the event loop's thread."""

    cap: int = settings.STREAMS_PER_PROCESS
    cap_per_owner: int = settings.STREAMS_PER_KEY
    open = 0  # over all streams of this process: granian counts each as a request under way
    owned: Counter[str] = Counter()

    def __init__(self, frame_since: FrameSince) -> None:
        """`frame_since(version)`: the event for a reader whose last version that was (None: it has none)."""
        self.frame_since = frame_since
        self.version = 0
        self.ended = False
        self.readers: set[Reader] = set()
        self.ticker: asyncio.TimerHandle | None = None

    def publish(self, version: int) -> None:
        self.version = version
        self.wake()

    def end(self) -> None:
        self.ended = True
        self.wake()

    def wake(self) -> None:
        for reader in self.readers:
            reader.wake()

    def tick(self) -> None:
        """One timer for all: wakes who was quiet for long, and whom nobody allows any more; ends who is blocked."""
        now = time.monotonic()
        for reader in self.readers:
            if reader.is_writing and now - reader.wrote_at >= BLOCKED_SECONDS:
                reader.task.cancel()
            elif now - reader.wrote_at >= HEARTBEAT_SECONDS or not reader.allowed():
                reader.wake()
        self.ticker = asyncio.get_running_loop().call_later(TICK_SECONDS, self.tick) if self.readers else None

    async def serve(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        allowed: Callable[[], bool] = lambda: True,
        owner: str = "",
    ) -> int:
        """Streams until the reader leaves, `end` is called, or `allowed` says no (a revoked key).

        `owner`: whose streams are counted together against `cap_per_owner`.
        """
        if said := self.no_room(owner):
            return await problem(send, 503, "too_many_streams", f"{said} Poll instead.", (b"retry-after", b"5"))
        last = header(scope, b"last-event-id")
        told: int | None = int(last) if last and last.isdigit() else None
        Streams.open += 1
        Streams.owned[owner] += 1
        metrics.streams_opened.inc()
        metrics.streams_open.inc()
        reader = Reader(send, allowed)
        self.readers.add(reader)
        if self.ticker is None:
            self.ticker = asyncio.get_running_loop().call_later(TICK_SECONDS, self.tick)
        gone = asyncio.ensure_future(reader_left(receive))
        gone.add_done_callback(reader.left)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            retry = b"retry: %d\n\n" % random.randint(1000, 5000)  # spread the return after a crash
            await reader.write(retry + self.frame_since(told))
            await self.follow(self.version, reader)
            if self.ended and not reader.is_gone:
                await self.part(reader)
            if not reader.is_gone:
                await send({"type": "http.response.body", "body": b""})
        except asyncio.CancelledError:
            if not reader.is_writing:  # else it has blocked for ten seconds: it comes back and resumes
                raise
        finally:
            self.readers.discard(reader)
            Streams.open -= 1
            Streams.owned[owner] -= 1
            metrics.streams_open.dec()
            if not Streams.owned[owner]:
                del Streams.owned[owner]
            gone.cancel()
        return 200

    def no_room(self, owner: str) -> str:
        if Streams.open >= Streams.cap:
            metrics.streams_refused.labels("process").inc()
            return "This process has no stream left."
        if owner and Streams.owned[owner] >= Streams.cap_per_owner:
            metrics.streams_refused.labels("key").inc()
            return f"This key has its {Streams.cap_per_owner:,} streams of this process open."
        return ""

    async def part(self, reader: "Reader") -> None:
        """A planned stop is no storm: readers are sent away one after the other, and told to come back at random."""
        crowd = min(Streams.open / 1000, 1.0)
        await reader.write(b"retry: %d\n\n" % random.randint(500, 1000 + int((BACK_WITHIN_MS - 1000) * crowd)))
        await asyncio.sleep(random.uniform(0, PARTING_SECONDS * crowd))

    async def follow(self, told: int, reader: "Reader") -> None:
        while not (reader.is_gone or self.ended) and reader.allowed():
            if told != self.version:
                frame, told = self.frame_since(told), self.version
                await reader.write(frame)
            elif time.monotonic() - reader.wrote_at >= HEARTBEAT_SECONDS:
                await reader.write(b": hb\n\n")
            else:
                await reader.wait()


class Reader:
    """One open stream."""

    __slots__ = ("allowed", "is_gone", "is_writing", "send", "task", "waiting", "wrote_at")

    def __init__(self, send: Send, allowed: Callable[[], bool]) -> None:
        self.send = send
        self.allowed = allowed
        self.is_gone = self.is_writing = False
        self.waiting: asyncio.Future[None] | None = None
        self.wrote_at = time.monotonic()
        task = asyncio.current_task()
        assert task is not None
        self.task = task

    def left(self, _: "asyncio.Future[None]") -> None:
        self.is_gone = True
        self.wake()

    async def wait(self) -> None:
        """Until a change, until the reader has left, or until it is to be looked after."""
        self.waiting = asyncio.get_running_loop().create_future()
        await self.waiting

    def wake(self) -> None:
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(None)

    async def write(self, frame: bytes) -> None:
        """A thousand of these follow a change: the stream's one timer looks after those that block."""
        self.wrote_at, self.is_writing = time.monotonic(), True
        await self.send({"type": "http.response.body", "body": frame, "more_body": True})
        self.is_writing = False


async def reader_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
