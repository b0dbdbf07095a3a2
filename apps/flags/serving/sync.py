"""flagd.sync.v1 over gRPC: the whole definition at once, then again at each new version. A process of its own.

The messages are so small that they are read and written by hand: a response is one text field, built once per version.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from apps.access import serving as access
from apps.access.authentication import bearer_of
from apps.access.serving import KeyGrant
from apps.flags.serving.asking import SCOPE
from apps.flags.serving.held import Held
from apps.flags.serving.shelf import shelf

SERVICE = "flagd.sync.v1.FlagSyncService"
KEY_SECONDS = 1.0  # how often a stream asks whether its key still holds
OPTIONS = [
    ("grpc.http2.max_ping_strikes", 0),  # Go and Python clients ping often, and would be cut off
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.so_reuseport", 0),  # a second server on the port must fail, not share
]
Context = grpc.aio.ServicerContext[bytes, bytes]


class Sync:
    def __init__(self) -> None:
        self.changed: asyncio.Future[None] | None = None
        self.messages: dict[str, tuple[Held, bytes]] = {}
        self.ended = False

    def tell(self, loop: asyncio.AbstractEventLoop) -> None:
        """From the refresher's thread: there is a new version."""

        def wake(_: Held) -> None:
            loop.call_soon_threadsafe(self.wake)

        shelf.told.append(wake)

    def wake(self) -> None:
        changed, self.changed = self.changed, None
        if changed and not changed.done():
            changed.set_result(None)

    def end(self) -> None:
        self.ended = True
        self.wake()

    def message(self, held: Held) -> bytes:
        known = self.messages.get(held.environment)
        if known is None or known[0] is not held:
            known = self.messages[held.environment] = (held, text_field(1, held.plain.body))
        return known[1]

    async def sync_flags(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        grant = await allowed(request, context)
        told: Held | None = None
        while not self.ended:
            if access.keys.find(secret_of(context)) != grant:
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "This key has been revoked or has expired.")
            held = shelf.get(grant.environment)
            if held is not None and held is not told:  # a slow reader skips versions and gets the newest
                told = held
                yield self.message(held)
                continue
            if self.changed is None:
                self.changed = asyncio.get_running_loop().create_future()
            await asyncio.wait({self.changed}, timeout=KEY_SECONDS)

    async def fetch_all_flags(self, request: bytes, context: Context) -> bytes:
        grant = await allowed(request, context)
        held = shelf.get(grant.environment)
        if held is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "This process has no snapshot yet.")
        assert held is not None
        return self.message(held)


async def allowed(request: bytes, context: Context) -> KeyGrant:
    """The key decides the environment; a selector may only name that one."""
    grant = access.keys.find(secret_of(context))
    if grant is None:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "Send an API key: authorization: Bearer …")
    assert grant is not None
    if not grant.allows(SCOPE):
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"This key has no scope {SCOPE}.")
    try:
        named = selected(metadata_of(context).get("flagd-selector") or fields_of(request).get(2, ""))
    except ValueError as fault:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(fault))
    if named and named != grant.environment:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"This key is of another environment than {named}.")
    return grant


def secret_of(context: Context) -> str | None:
    given = metadata_of(context)
    return bearer_of(given.get("authorization"), given.get("x-api-key"))


def metadata_of(context: Context) -> dict[str, str]:
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}


def selected(selector: str) -> str:
    """`flagSetId=x`, `source=x` or bare `x`: the environment that it names; empty if none."""
    name, sign, value = selector.strip().partition("=")
    if not sign:
        return name
    if name.strip() not in ("flagSetId", "source") or not value.strip():
        raise ValueError("A selector is flagSetId=…, source=… or the name alone.")
    return value.strip()


def fields_of(message: bytes) -> dict[int, str]:
    """The text fields of a request; others are skipped."""
    found: dict[int, str] = {}
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        kind = tag & 7
        if kind == 0:
            _, at = varint(message, at)
        elif kind == 2:
            size, at = varint(message, at)
            if at + size > len(message):
                raise ValueError("The request cannot be read.")
            found[tag >> 3] = message[at : at + size].decode("utf-8", "replace")
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError("The request cannot be read.")
    return found


def varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise ValueError("The request cannot be read.")
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at


def text_field(number: int, text: bytes) -> bytes:
    head, size = bytearray([number << 3 | 2]), len(text)
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + text


def same(message: bytes) -> bytes:
    return message


def handler(sync: Sync) -> "grpc.GenericRpcHandler[Any, Any]":
    """GetMetadata is left unimplemented, as it is deprecated: a context from us would override the caller's."""
    streamed = grpc.unary_stream_rpc_method_handler(sync.sync_flags, same, same)
    fetched = grpc.unary_unary_rpc_method_handler(sync.fetch_all_flags, same, same)
    return grpc.method_handlers_generic_handler(SERVICE, {"SyncFlags": streamed, "FetchAllFlags": fetched})


async def serve(sync: Sync, address: str, started: asyncio.Event, stop: asyncio.Event) -> None:
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((handler(sync),))
    if not server.add_insecure_port(address):
        raise OSError(f"{address} is in use")
    await server.start()
    started.set()
    await stop.wait()
    sync.end()
    await server.stop(grace=2)
