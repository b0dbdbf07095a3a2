"""What all hot doors share: the ASGI types, reading a body within a limit, answering.

A hot door is an ASGI coroutine outside Django's request stack. It never touches the database on the event loop, and
returns the status that it has answered: `GONE` where nobody was left to hear one.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Door = Callable[[Scope, Receive, Send], Awaitable[int]]
Header = tuple[bytes, bytes]

JSON_TYPE: Header = (b"content-type", b"application/json")
PROBLEM_TYPE: Header = (b"content-type", b"application/problem+json")
MOST_LEFT = 64 * 1024 * 1024  # bytes of a body that are read though nobody wants them
GONE = 0
NO_BODY: Message = {"type": "http.response.body", "body": b""}


class TooLarge(Exception):
    """The body is over the limit: the door answers 413 and closes the connection."""


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first header of that lower-case name."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body. Raises TooLarge over `limit` bytes, ConnectionError when the caller has gone."""
    given = header(scope, b"content-length")
    length = -1
    if given is not None and (not given.isdigit() or (length := int(given)) > limit):
        if length <= MOST_LEFT and header(scope, b"expect") is None:
            await read_off(receive)
        raise TooLarge
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError
        part = message.get("body", b"")
        size += len(part)
        if size > limit:  # a chunked body names no length
            if message.get("more_body"):
                await read_off(receive)
            raise TooLarge
        parts.append(part)
        # All is there: granian would only say so in one message more, which costs as much as the first.
        if size == length or not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def read_off(receive: Receive) -> None:
    """What a caller still sends goes by, so that it hears the answer: most only listen when they have sent all, and
    would find their pipe broken. Who waits to be asked for the body (`Expect`) listens at once."""
    left = MOST_LEFT
    while left > 0:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError
        left -= len(message.get("body", b""))
        if not message.get("more_body"):
            return


async def answer(send: Send, status: int, body: bytes, *headers: Header) -> int:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})
    return status


async def problem(send: Send, status: int, code: str, detail: str, *headers: Header) -> int:
    """An RFC 9457 problem document."""
    body = json.dumps({"type": "about:blank", "status": status, "code": code, "detail": detail}).encode()
    return await answer(send, status, body, PROBLEM_TYPE, *headers)
