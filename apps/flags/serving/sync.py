"""flagd.sync.v1 over gRPC: the whole definition at once, then again at each new version. A process of its own.

The messages are so small that they are read and written by hand: a response is one text field, built once per version.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import grpc

from apps.access import serving as access
from apps.access.authentication import bearer_of
from apps.access.serving import KeyGrant
from apps.flags.domain import definition
from apps.flags.serving import asking
from apps.flags.serving.asking import SCOPE
from apps.flags.serving.held import Held
from apps.flags.serving.readers import readers
from apps.flags.serving.refusing import refusals
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
        self.messages: dict[Selected, tuple[Held, bytes]] = {}
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

    async def message(self, held: Held, of: "Selected") -> bytes:
        known = self.messages.get(of)
        if known is None or known[0] is not held:
            body = held.plain.body if not of.owner else await asyncio.to_thread(body_of_owner, held, of.owner)
            known = self.messages[of] = (held, text_field(1, body))
        return known[1]

    async def sync_flags(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        grant, of = await allowed(request, context)
        told: Held | None = None
        while not self.ended:
            if not asking.may_read(access.keys.find(secret_of(context))):
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "This key has been revoked or has expired.")
            held = shelf.get(grant.environment)
            if held is not None and held is not told:  # a slow reader skips versions and gets the newest
                told = held
                readers.note("sync", grant, metadata_of(context).get("user-agent"), held.version)
                yield await self.message(held, of)
                continue
            if self.changed is None:
                self.changed = asyncio.get_running_loop().create_future()
            await asyncio.wait({self.changed}, timeout=KEY_SECONDS)
        # An end without an error is taken for good by JavaScript's provider: its flags would never change again.
        await context.abort(grpc.StatusCode.UNAVAILABLE, "This process is being stopped: come again.")

    async def fetch_all_flags(self, request: bytes, context: Context) -> bytes:
        grant, of = await allowed(request, context)
        held = shelf.get(grant.environment)
        if held is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "This process has no snapshot yet.")
        assert held is not None
        readers.note("sync", grant, metadata_of(context).get("user-agent"), held.version)
        return await self.message(held, of)


@dataclass(frozen=True, slots=True)
class Selected:
    """What a selector names. Without an owner: all flags of the environment."""

    environment: str
    owner: str = ""


async def allowed(request: bytes, context: Context) -> tuple[KeyGrant, Selected]:
    """The key decides the environment; a selector may only name that one, and an owner in it."""
    secret = secret_of(context)
    grant = access.keys.find(secret)
    if not asking.may_read(grant):
        refusals.count("sync", secret, address_of(context), metadata_of(context).get("user-agent", ""))
    if grant is None:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "Send an API key: authorization: Bearer …")
    assert grant is not None
    if not grant.allows(SCOPE):
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"This key has no scope {SCOPE}.")
    if access.is_too_fast(grant):
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "This key asks more often than it may.")
    try:
        of = selected(metadata_of(context).get("flagd-selector") or fields_of(request).get(2, ""), grant.environment)
    except ValueError as fault:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(fault))
    if of.environment != grant.environment:
        told = f"This key is of another environment than {of.environment}."
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, told)
    held = shelf.get(grant.environment)
    if of.owner and held is not None and of.owner not in owners(held):
        await context.abort(grpc.StatusCode.NOT_FOUND, f"No flag here is owned by {of.owner}.")
    return grant, of


def owners(held: Held) -> set[object]:
    return {flag.metadata.get("owner") for flag in held.flags.flags.compiled.values()}


def body_of_owner(held: Held, owner: str) -> bytes:
    """The definition with the flags of one owner: for clients that take 4 MiB and no more."""
    flags = json.loads(held.plain.body)["flags"]
    own = {key: flag for key, flag in flags.items() if flag.get("metadata", {}).get("owner") == owner}
    fragments = [(key, definition.encode(flag)) for key, flag in own.items()]
    return definition.document(fragments, environment=held.environment, version=held.version)


def secret_of(context: Context) -> str | None:
    given = metadata_of(context)
    return bearer_of(given.get("authorization"), given.get("x-api-key"))


def address_of(context: Context) -> str:
    """`ipv4:127.0.0.1:50312` without kind and port."""
    kind, _, rest = context.peer().partition(":")
    return unquote(rest.rpartition(":")[0]).strip("[]") if kind in ("ipv4", "ipv6") else kind


def metadata_of(context: Context) -> dict[str, str]:
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}


PLACES = {"flagSetId": "environment", "source": "environment", "owner": "owner"}


def selected(selector: str, environment: str) -> Selected:
    """`flagSetId=x`, `source=x` or bare `x` name the environment, `owner=x` an owner in it; both go with a comma."""
    found = {"environment": environment}
    for part in selector.split(",") if selector.strip() else ():
        name, sign, value = (text.strip() for text in part.partition("="))
        if not sign:
            name, value = "source", name
        if name not in PLACES or not value:
            raise ValueError("A selector is flagSetId=…, source=…, owner=… or the name alone.")
        found[PLACES[name]] = value
    return Selected(**found)


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
