"""OpenFeature Remote Evaluation Protocol: one flag, or all of them, for a context. Written by hand to the letter of
the protocol, since clients fall over small differences (a missing `variant`, a null `value`, a fractional Retry-After).
"""

import json
import time
from typing import Any
from urllib.parse import parse_qs, unquote_to_bytes

import msgspec

from apps.access.serving import KeyGrant
from apps.core.asgi import GONE, JSON_TYPE, NO_BODY, Header, Receive, Scope, Send, TooLarge, read_body
from apps.flags.serving import asking, events
from apps.flags.serving.counting import counter
from apps.flags.serving.held import PRIVATE, Held, Item
from apps.flags.serving.shelf import shelf

BULK = "/ofrep/v1/evaluate/flags"
ONE = "/ofrep/v1/evaluate/flags/"
BODY_BYTES = 2**20
SAME: list[Header] = [PRIVATE, (b"vary", b"Authorization, X-API-Key")]
decode = msgspec.json.Decoder().decode


class Unreadable(Exception):
    """The body is no context: 400 INVALID_CONTEXT."""


async def evaluate_one(scope: Scope, receive: Receive, send: Send) -> int:
    key = flag_key(scope)
    if not key:
        return await evaluate_all(scope, receive, send)
    opened = await open_request(scope, receive, send)
    if isinstance(opened, int):
        return opened
    _, held, body = opened
    try:
        context = context_of(body)
    except Unreadable as unreadable:
        told = {"key": key, "errorCode": "INVALID_CONTEXT", "errorDetails": str(unreadable)}
        return await refuse(send, 400, told)
    now = time.time()
    item = held.evaluate(key, context, now)
    if item.counts:
        counter.count(held.environment, key, held.version, item, context.get("targetingKey"), now)
    return await give(send, item, held)


async def give(send: Send, item: Item, held: Held) -> int:
    headers = [JSON_TYPE, item.length, *SAME]
    await send(asking.aged({"type": "http.response.start", "status": item.status, "headers": headers}, held))
    await send({"type": "http.response.body", "body": item.body})
    return item.status


async def evaluate_all(scope: Scope, receive: Receive, send: Send) -> int:
    opened = await open_request(scope, receive, send)
    if isinstance(opened, int):
        return opened
    grant, held, body = opened
    if wanted := wanted_version(scope):
        held = await asking.newer(held, wanted)
    return await answer_all(scope, send, grant, held, body)


async def answer_all(scope: Scope, send: Send, grant: KeyGrant, held: Held, body: bytes) -> int:
    number = events.turn(time.time())  # the address of the event stream is another one in each: so is the tag
    try:
        # Where the answer may change by itself only its own bytes tell; else the request's do, and nothing is parsed.
        answer = held.evaluate_all(context_of(body), time.time()) if held.flags.time_dependent else None
        tag = held.bulk_tag(body if answer is None else answer, number)
        tags = asking.tags_of(scope)
        if asking.matches(tags, tag):
            if answer is None:
                held.remember_tag(body, number, tag)
            headers = [(b"etag", tag), *SAME]
            await send(asking.aged({"type": "http.response.start", "status": 304, "headers": headers}, held))
            await send(NO_BODY)
            return 304
        if (fresh := await asking.newer(held, asking.named_version(tags))) is not held:
            return await answer_all(scope, send, grant, fresh, body)
        if answer is None and (answer := held.bulks.get(tag)) is None:
            answer = held.evaluate_all(context_of(body), time.time())
            held.remember_bulk(tag, answer)
    except Unreadable as unreadable:
        return await refuse(send, 400, {"errorCode": "INVALID_CONTEXT", "errorDetails": str(unreadable)})
    return await give_bulk(send, held, tag, answer, events.offer(grant.key_id, number))


async def give_bulk(send: Send, held: Held, tag: bytes, body: bytes, offer: bytes) -> int:
    body = body[:-1] + offer
    length = (b"content-length", b"%d" % len(body))
    headers = [JSON_TYPE, length, (b"etag", tag), *SAME]
    await send(asking.aged({"type": "http.response.start", "status": 200, "headers": headers}, held))
    await send({"type": "http.response.body", "body": body})
    return 200


async def open_request(scope: Scope, receive: Receive, send: Send) -> tuple[KeyGrant, Held, bytes] | int:
    """The key, the snapshot that it sees and the whole body; else the status of the refusal."""
    try:
        grant = asking.grant_of(scope)
    except asking.Denied as denied:
        return await refuse(send, denied.status, {"errorDetails": denied.detail}, *denied.headers)
    held = shelf.get(grant.environment) or await asking.held_of(grant)
    if held is None:
        told = {"errorDetails": "This process has no snapshot yet."}
        return await refuse(send, 503, told, (b"retry-after", b"2"))
    try:
        return grant, held, await read_body(scope, receive, BODY_BYTES)
    except TooLarge:
        told = {"errorDetails": f"The body is over {BODY_BYTES:,} bytes."}
        return await refuse(send, 413, told, (b"connection", b"close"))
    except ConnectionError:
        return GONE


async def refuse(send: Send, status: int, told: dict[str, str], *headers: Header) -> int:
    body = json.dumps(told, separators=(",", ":")).encode()
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [JSON_TYPE, length, *SAME, *headers]})
    await send({"type": "http.response.body", "body": body})
    return status


def context_of(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        given = decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        given = loads(body)
    if not isinstance(given, dict):
        raise Unreadable("The body must be an object with a context.")
    context = given.get("context", {})
    if not isinstance(context, dict):
        raise Unreadable("The context must be an object.")
    key = context.get("targetingKey")
    if key is not None and not isinstance(key, str):
        raise Unreadable("The targetingKey must be text.")
    return context


def loads(body: bytes) -> Any:
    """What the fast decoder refuses but JSON allows: whole numbers beyond 64 bits, lone surrogates."""
    try:
        return json.loads(body, parse_constant=no_number)
    except (ValueError, RecursionError) as fault:
        raise Unreadable(f"The body is no JSON: {fault}") from fault


def no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def flag_key(scope: Scope) -> str:
    """All that follows in the path, decoded once: clients do not escape, so a key may hold slashes."""
    raw = scope.get("raw_path")
    if raw:
        path = bytes(raw).partition(b"?")[0]
        return unquote_to_bytes(path[len(ONE) :]).decode("utf-8", "replace")
    return str(scope["path"][len(ONE) :])


def wanted_version(scope: Scope) -> int:
    """The version that a stream event named in `flagConfigEtag`; 0 if none."""
    query = scope.get("query_string")
    if not query:
        return 0
    named = parse_qs(bytes(query).decode("latin-1")).get("flagConfigEtag", [""])[0]
    number = named.strip('"').partition("-")[0]
    return int(number) if number.isdigit() and len(number) < 12 else 0
