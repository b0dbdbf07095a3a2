"""What all flag doors share: whose key is this, which snapshot does it see, does the caller have it already."""

import asyncio
import contextlib
import re
import time
from collections.abc import Mapping
from functools import lru_cache

from django.db import Error, connection

from apps.access import serving as access
from apps.access.serving import KeyGrant
from apps.core.asgi import Header, Message, Scope, header
from apps.flags.serving.held import Held
from apps.flags.serving.refusing import refusals
from apps.flags.serving.shelf import shelf

SCOPE = "flags:read"
LOOK_SECONDS = 0.5
LOOK_EVERY_SECONDS = 1.0
MOST_MISSED = 1000


class Denied(Exception):
    """401, 403 or 429, and the words for it."""

    def __init__(self, status: int, code: str, detail: str, *headers: Header) -> None:
        self.status, self.code, self.detail, self.headers = status, code, detail, headers
        super().__init__(detail)


CHALLENGE: Header = (b"www-authenticate", b"Bearer")
UNKNOWN = Denied(
    401, "unauthorized", "Send an API key of this server: it is missing, unknown, expired or revoked.", CHALLENGE
)
WRONG_SCOPE = Denied(403, "forbidden", f"This key has no scope {SCOPE}.", CHALLENGE)
TOO_FAST = Denied(
    429, "too_fast", "This key asks more often than it may.", (b"retry-after", b"%d" % access.RETRY_SECONDS)
)


def may_read(grant: KeyGrant | None) -> bool:
    """Asked again and again while a stream is open: the key may be revoked, or its scopes changed."""
    return grant is not None and grant.allows(SCOPE)


def grant_of(scope: Scope, given: Mapping[bytes, bytes] | None = None) -> KeyGrant:
    """`given`: its headers, where the door has them by name. Raises Denied."""
    authorization = given.get(b"authorization") if given is not None else header(scope, b"authorization")
    grant = access.grant_of(scope, authorization)
    if grant is None or SCOPE not in grant.scopes:
        refusals.count_request(scope)
        raise UNKNOWN if grant is None else WRONG_SCOPE
    if grant.rate_per_second is not None and access.is_too_fast(grant):
        raise TOO_FAST
    return grant


async def held_of(grant: KeyGrant) -> Held | None:
    """From memory. A key's environment that this process has never heard of is worth one look."""
    held = shelf.get(grant.environment)
    if held is None:
        await look()
        held = shelf.get(grant.environment)
    return held


looked_at = 0.0


async def look() -> None:
    """Looks at the database once, off the event loop, for half a second at most; not more than once a second."""
    global looked_at
    if time.monotonic() - looked_at < LOOK_EVERY_SECONDS:
        return
    looked_at = time.monotonic()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.to_thread(look_now), LOOK_SECONDS)


looking: "asyncio.Future[None] | None" = None
missed: dict[tuple[str, int], float] = {}  # versions that a look did not find, and when that was


async def look_for(environment: str, wanted: int) -> None:
    """The same for a version that somebody has heard of: at once, all who wait share one look, and a version that is
    not there is looked for once a second."""
    now = time.monotonic()
    if now - missed.get((environment, wanted), -LOOK_EVERY_SECONDS) < LOOK_EVERY_SECONDS:
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LOOK_SECONDS):
            for _ in range(2):  # the look under way may have begun before that version was there
                await asyncio.shield(shared_look())
                if is_here(environment, wanted):
                    return
    if len(missed) > MOST_MISSED:
        missed.clear()
    missed[environment, wanted] = now


def shared_look() -> "asyncio.Future[None]":
    global looking
    if looking is None or looking.done() or looking.get_loop() is not asyncio.get_running_loop():
        looking = asyncio.ensure_future(asyncio.to_thread(look_now))
    return looking


def is_here(environment: str, wanted: int) -> bool:
    held = shelf.get(environment)
    return held is not None and held.version >= wanted


def look_now() -> None:
    try:
        shelf.refresh()
    except (Error, OSError):
        pass  # the caller is told by what it gets
    finally:
        connection.close()


def tags_of(scope: Scope) -> list[bytes]:
    """What the caller has already, as If-None-Match says: each header of that name, and each may be a list."""
    return [value for name, value in scope["headers"] if name == b"if-none-match"]


def matches(tags: list[bytes], etag: bytes) -> bool:
    """If-None-Match by RFC 9110: `*`, lists, several headers, compared weakly (proxies that compress weaken tags)."""
    for value in tags:
        if value == etag:
            return True
        given = value.strip()
        if given == b"*" or any(tag.strip().removeprefix(b"W/") == etag for tag in given.split(b",")):
            return True
    return False


OUR_TAG = re.compile(rb'"(?:[a-z0-9-]+-)?(\d{1,9})-[0-9a-f]{16}(?:-gz)?"')


def named_version(tags: list[bytes]) -> int:
    """The newest version that one of them is of: what the caller has, from another process it may be."""
    return max((int(number) for value in tags for number in OUR_TAG.findall(value)), default=0)


async def newer(held: Held, wanted: int) -> Held:
    """The caller has heard of a version that this process lacks: one look at the database before it is answered."""
    if wanted > held.version:
        await look_for(held.environment, wanted)
        return shelf.get(held.environment) or held
    return held


def aged(start: Message, held: Held) -> Message:
    """The start of an answer, with the snapshot's age where the database has not confirmed it lately."""
    age = shelf.age(held.environment)
    return start | {"headers": [*start["headers"], (b"x-snapshot-age", b"%d" % age)]} if age else start


@lru_cache(100)
def takes_gzip(accepted: bytes | None) -> bool:
    """By Accept-Encoding, of which the many callers send but a few."""
    if accepted is None or b"gzip" not in accepted:
        return False
    for part in accepted.split(b","):
        name, _, quality = part.partition(b";")
        if name.strip() == b"gzip":
            return quality.replace(b" ", b"") not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
    return False
