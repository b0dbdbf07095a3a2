"""GET /api/v1/changes: tells each reader of an environment that there is a newer snapshot. It then fetches it."""

import asyncio
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime

from apps.access import serving as access
from apps.access.serving import KeyGrant
from apps.core.asgi import Receive, Scope, Send, problem
from apps.core.streams import Streams
from apps.flags.serving import asking
from apps.flags.serving.held import Held
from apps.flags.serving.shelf import shelf

SPREAD_MS = 300  # a thousand readers fetch within this time, not at once
REMEMBERED = 100


Frame = Callable[[str, int | None], bytes]


class Changes:
    """The streams of all environments. All methods but `tell` belong to the event loop's thread."""

    def __init__(self, frame: Frame) -> None:
        """`frame(environment, told)`: the event for a reader that has version `told`."""
        self.frame = frame
        self.streams: dict[str, Streams] = {}
        self.loop: asyncio.AbstractEventLoop | None = None
        self.ended = False

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def of(self, held: Held) -> Streams:
        streams = self.streams.get(held.environment)
        if streams is None:
            environment = held.environment
            streams = self.streams[environment] = Streams(lambda told: self.frame(environment, told))
            streams.ended = self.ended
            streams.publish(held.version)
        return streams

    def tell(self, held: Held) -> None:
        """From the refresher's thread: there is a new version."""
        if self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.publish, held.environment, held.version)

    def publish(self, environment: str, version: int) -> None:
        if streams := self.streams.get(environment):
            streams.publish(version)

    def end(self) -> None:
        self.ended = True
        for streams in self.streams.values():
            streams.end()

    async def serve(
        self, grant: KeyGrant, allowed: Callable[[], bool], scope: Scope, receive: Receive, send: Send
    ) -> int:
        held = await asking.held_of(grant)
        if held is None:
            return await problem(send, 503, "no_snapshot", "This process has no snapshot yet.", (b"retry-after", b"2"))
        self.start(asyncio.get_running_loop())
        streams = self.of(held)
        streams.publish(shelf.held[held.environment].version)  # one may have come before this loop was known
        return await streams.serve(scope, receive, send, allowed=allowed, owner=grant.key_id)


async def door(scope: Scope, receive: Receive, send: Send) -> int:
    try:
        grant = asking.grant_of(scope)
    except asking.Denied as denied:
        return await problem(send, denied.status, denied.code, denied.detail, *denied.headers)
    secret = access.bearer(scope)
    return await changes.serve(grant, lambda: asking.may_read(access.keys.find(secret)), scope, receive, send)


def frame(environment: str, told: int | None) -> bytes:
    """The event for a reader that has version `told`; only its `after_ms` is its own."""
    held = shelf.held[environment]
    if told is None:
        beginning, urgent = beginning_of(held, None)
    else:
        known = beginnings.get((environment, told))
        if known is None or known[0] != held.etag:
            known = (held.etag, *beginning_of(held, told))
            remember((environment, told), known)
        _, beginning, urgent = known
    return b"%s%d}\n\n" % (beginning, 0 if urgent else random.randint(0, SPREAD_MS))


def beginning_of(held: Held, told: int | None) -> tuple[bytes, bool]:
    keys, urgent = shelf.changed_since(held.environment, told, held.version)
    data = {
        "version": held.version,
        "at": datetime.fromtimestamp(held.at, UTC).isoformat().replace("+00:00", "Z"),
        "keys": keys,
        "etag": held.etag.decode(),
        "after_ms": 0,
    }
    text = json.dumps(data, separators=(",", ":")).removesuffix("0}")
    return f"id: {held.version}\nevent: snapshot\ndata: {text}".encode(), urgent


# Nearly all readers have the same last version: what they are told is made once.
beginnings: dict[tuple[str, int], tuple[bytes, bytes, bool]] = {}  # environment, last version: etag, event, urgent


def remember(key: tuple[str, int], known: tuple[bytes, bytes, bool]) -> None:
    if len(beginnings) >= REMEMBERED:
        beginnings.clear()
    beginnings[key] = known


changes = Changes(frame)
shelf.told.append(changes.tell)
