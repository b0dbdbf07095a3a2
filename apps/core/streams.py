"""Server-sent events for a thousand readers: one shared future per change, no queue per reader.

A `Streams` holds the newest version and tells its readers that there is one; `frame_since` builds what each reader
gets from the last version that it has. A slow reader therefore skips versions and never holds memory.
"""

import asyncio
import random
from collections.abc import Callable

from apps.core.asgi import Receive, Scope, Send, header, problem

HEARTBEAT_SECONDS = 15.0
BLOCKED_SECONDS = 10.0
HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
FrameSince = Callable[[int | None], bytes]


class Streams:
    """Readers of one changing thing. All methods belong to the event loop's thread."""

    cap = 2000
    open = 0  # over all streams of this process: granian counts each as a request under way

    def __init__(self, frame_since: FrameSince) -> None:
        """`frame_since(version)`: the event for a reader whose last version that was (None: it has none)."""
        self.frame_since = frame_since
        self.version = 0
        self.ended = False
        self.changed: asyncio.Future[None] | None = None

    def publish(self, version: int) -> None:
        self.version = version
        self.wake()

    def end(self) -> None:
        self.ended = True
        self.wake()

    def wake(self) -> None:
        changed, self.changed = self.changed, None
        if changed and not changed.done():
            changed.set_result(None)

    def next_change(self) -> asyncio.Future[None]:
        if self.changed is None:
            self.changed = asyncio.get_running_loop().create_future()
        return self.changed

    async def serve(
        self, scope: Scope, receive: Receive, send: Send, *, allowed: Callable[[], bool] = lambda: True
    ) -> None:
        """Streams until the reader leaves, `end` is called, or `allowed` says no (a revoked key)."""
        if Streams.open >= Streams.cap:
            return await problem(
                send, 503, "too_many_streams", "This process has no stream left. Poll instead.", (b"retry-after", b"5")
            )
        last = header(scope, b"last-event-id")
        told: int | None = int(last) if last and last.isdigit() else None
        Streams.open += 1
        gone = asyncio.ensure_future(reader_left(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            retry = b"retry: %d\n\n" % random.randint(1000, 5000)  # spread the return after a restart
            await send({"type": "http.response.body", "body": retry + self.frame_since(told), "more_body": True})
            told = self.version
            await self.follow(told, send, gone, allowed)
            if not gone.done():
                await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            return  # a reader that has blocked for ten seconds: it comes back and resumes
        finally:
            Streams.open -= 1
            gone.cancel()

    async def follow(self, told: int, send: Send, gone: "asyncio.Future[None]", allowed: Callable[[], bool]) -> None:
        quiet = 0.0
        while not (gone.done() or self.ended) and allowed():
            if told != self.version:
                frame, told, quiet = self.frame_since(told), self.version, 0.0
                await self.write(send, frame)
                continue
            change = self.next_change()
            await asyncio.wait({change, gone}, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            quiet += 1.0
            if quiet >= HEARTBEAT_SECONDS and not gone.done():
                quiet = 0.0
                await self.write(send, b": hb\n\n")

    async def write(self, send: Send, frame: bytes) -> None:
        async with asyncio.timeout(BLOCKED_SECONDS):
            await send({"type": "http.response.body", "body": frame, "more_body": True})


async def reader_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
