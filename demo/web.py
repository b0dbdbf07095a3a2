"""The smallest HTTP/1.1 server that the simulated providers and the webhook receiver need: POST and GET, keep-alive."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

MOST_BODY = 8 * 1024 * 1024
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 413: "Content Too Large"}


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    pieces: AsyncIterator[bytes] | None = None
    """Instead of the body: sent piece by piece as it comes."""
    headers: dict[str, str] = field(default_factory=dict)


def answer_json(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode())


Handler = Callable[[Request], Awaitable[Answer]]


class Unreadable(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


async def listen(handler: Handler, *, host: str = "127.0.0.1", port: int = 0) -> asyncio.Server:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await read(reader)) is not None:
                await write(writer, await handler(request))
                if request.headers.get("connection", "").lower() == "close":
                    break
        except Unreadable as error:
            await write(writer, Answer(error.status))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client gave up, as clients with a time-out do
        except asyncio.CancelledError:
            pass  # the loop is closing; Python 3.11 would print a traceback for each open connection
        finally:
            writer.close()

    return await asyncio.start_server(connected, host, port, backlog=512)


def port_of(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


async def read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None  # a kept connection was closed between two requests
    except asyncio.LimitOverrunError as error:
        raise Unreadable(413) from error
    line, *rest = head[:-4].decode("latin-1").split("\r\n")
    try:
        method, target, _ = line.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, value in (each.split(":", 1) for each in rest)}
        length = int(headers.get("content-length", 0))
    except ValueError as error:
        raise Unreadable(400) from error
    if "transfer-encoding" in headers or length < 0:
        raise Unreadable(400)
    if length > MOST_BODY:
        raise Unreadable(413)
    return Request(method, target.partition("?")[0], headers, await reader.readexactly(length))


async def write(writer: asyncio.StreamWriter, answer: Answer) -> None:
    head = f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Error')}\r\ncontent-type: {answer.content_type}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
    if answer.pieces is None:
        writer.write(f"{head}content-length: {len(answer.body)}\r\n\r\n".encode() + answer.body)
        await writer.drain()
        return
    writer.write(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
    async for piece in answer.pieces:
        writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()
