"""Calls a hot door as the server does: with a scope, a receive and a send."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from apps.access import services as access_services
from apps.access import serving as access
from apps.access.models import Environment
from apps.core.asgi import Door
from apps.flags import serving
from apps.flags.serving.shelf import shelf
from tests.flags.make_flags import ALICE, NOW


@dataclass
class Answer:
    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> str | None:
        return next((value.decode() for key, value in self.headers if key.decode().lower() == name), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def find_door(method: str, path: str) -> Door:
    if door := serving.DOORS.get((method, path)):
        return door
    return next(door for (verb, prefix), door in serving.PREFIX_DOORS if verb == method and path.startswith(prefix))


def scope_of(method: str, path: str, headers: dict[str, str], query: str = "") -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }


async def call(
    method: str, path: str, *, body: Any = b"", headers: dict[str, str] | None = None, query: str = ""
) -> Answer:
    answer = Answer()
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": raw, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status, answer.headers = message["status"], list(message["headers"])
        else:
            answer.body += message["body"]

    await find_door(method, path)(scope_of(method, path, headers or {}, query), receive, send)
    return answer


def ask(method: str, path: str, **more: Any) -> Answer:
    return asyncio.run(call(method, path, **more))


class Reader:
    """A reader of the change stream: collects what is sent until it leaves."""

    def __init__(self, headers: dict[str, str]) -> None:
        self.answer = Answer()
        self.left = asyncio.Event()
        self.came = asyncio.Event()
        self.task = asyncio.ensure_future(self.run(headers))

    async def run(self, headers: dict[str, str]) -> None:
        path = "/api/v1/changes"
        await find_door("GET", path)(scope_of("GET", path, headers), self.receive, self.send)

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.answer.status, self.answer.headers = message["status"], list(message["headers"])
        else:
            self.answer.body += message["body"]
        self.came.set()

    @property
    def events(self) -> list[dict[str, Any]]:
        lines = self.answer.body.decode().split("\n")
        return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]

    async def until(self, true: Callable[[], bool], seconds: float = 60) -> None:
        async with asyncio.timeout(seconds):
            while not true():
                self.came.clear()
                if not true():
                    await self.came.wait()

    async def leave(self) -> None:
        self.left.set()
        await self.task


def make_key(environment: str = "production", scopes: list[str] | None = None, now: datetime = NOW) -> dict[str, str]:
    """The header of a new key that the ring knows."""
    row = Environment.objects.get(key=environment)
    _, secret = access_services.create_key(
        environment=row, name=f"key {row.api_keys.count()}", scopes=scopes or ["flags:read"], by=ALICE, now=now
    )
    access.refresh()
    return {"Authorization": f"Bearer {secret}"}


def look() -> None:
    shelf.refresh()
