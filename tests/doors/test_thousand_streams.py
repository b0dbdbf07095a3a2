"""One process holds a thousand open change streams, tells them all, and lets them go. Raw sockets, a real server."""

import asyncio
import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from apps.access import services as access
from apps.access.models import ApiKey
from apps.core import refresh
from apps.core import streams as streams_of_all
from apps.flags import services
from tests.flags.doors import make_key
from tests.flags.make_flags import ALICE, NOW, make_flag
from tests.processes import Server, eventually, running_server

pytestmark = [pytest.mark.serial, pytest.mark.slow]
MANY = 1000


@pytest.fixture(autouse=True)
def enough_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 8192), hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def key_in(server: Server, place: str) -> dict[str, str]:
    make_flag(environment=place)
    headers = make_key(place)
    eventually(lambda: server.request("GET", "/flagd/flags.json", headers=headers)[0] == 200)
    return headers


class Stream:
    """One open connection, as little as can be."""

    def __init__(self, server: Server, headers: dict[str, str]) -> None:
        told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.asks = f"GET /api/v1/changes HTTP/1.1\r\nHost: x\r\n{told}\r\n".encode()
        self.port = server.port
        self.status = 0
        self.head = b""

    async def open(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(self.asks)
        self.head = await self.reader.readuntil(b"\r\n\r\n")
        self.status = int(self.head.split()[1])

    async def event(self) -> dict[str, Any]:
        while True:
            line = await self.reader.readline()
            assert line, "the stream ended"
            if line.startswith(b"data: "):
                return json.loads(line[6:])

    async def rest(self) -> bytes:
        """Until the answer ends: by its last chunk, or with the process."""
        try:
            return await self.reader.readuntil(b"\r\n0\r\n\r\n")
        except asyncio.IncompleteReadError as ended:
            return ended.partial

    def close(self) -> None:
        self.writer.close()


async def opened(server: Server, headers: dict[str, str], number: int = MANY) -> list[Stream]:
    streams = [Stream(server, headers) for _ in range(number)]
    at_once = asyncio.Semaphore(50)

    async def open_one(stream: Stream) -> None:
        async with at_once:
            await stream.open()

    await asyncio.gather(*(open_one(stream) for stream in streams))
    return streams


def test_a_thousand_readers_hear_of_a_change_and_the_doors_go_on(server: Server):
    headers = key_in(server, "thousand")

    async def story() -> tuple[set[int], set[int], list[float], float]:
        streams = await opened(server, headers)
        first = await asyncio.gather(*(stream.event() for stream in streams))
        arrived: list[float] = []

        async def second(stream: Stream) -> int:
            event = await stream.event()
            arrived.append(time.monotonic())
            return event["version"]

        waiting = asyncio.gather(*(second(stream) for stream in streams))
        published = await asyncio.to_thread(publish, "thousand")
        versions = set(await asyncio.wait_for(waiting, 60))
        began = time.monotonic()
        async with httpx.AsyncClient(timeout=60) as client:
            answer = await client.post(f"{server.url}/ofrep/v1/evaluate/flags/new-parser", headers=headers, json={})
        took = time.monotonic() - began
        assert answer.json()["value"] is True
        for stream in streams:
            stream.close()
        return {event["version"] for event in first}, versions, [at - published for at in arrived], took

    first, versions, delays, took = asyncio.run(story())

    assert (first, versions) == ({1}, {2})
    assert len(delays) == MANY
    assert refresh.EVERY_SECONDS == 2
    first_told, last_told = sorted(delays)[0], sorted(delays)[int(MANY * 0.99)]
    assert last_told - first_told < 5, "a bell or a look brings it within two seconds, the telling takes milliseconds"
    assert took < 5, "a thousand readers do not stand in the way of who asks"


def publish(place: str) -> float:
    from django.db import connection

    services.update_flag(
        environment=place, key="new-parser", default_variant="on", by=ALICE, because="", now=NOW
    )  # fmt: skip
    at = time.monotonic()
    connection.close()
    return at


def test_a_revoked_key_closes_all_its_streams_within_two_seconds(server: Server):
    """The bell makes the key unknown, and each stream asks every second whether its key still holds."""
    assert streams_of_all.TICK_SECONDS == 1
    headers = key_in(server, "revoked")

    async def story() -> None:
        streams = await opened(server, headers, 200)
        await asyncio.gather(*(stream.event() for stream in streams))
        closed = asyncio.gather(*(stream.rest() for stream in streams))
        await asyncio.to_thread(revoke, "revoked")
        await asyncio.wait_for(closed, 60)

    asyncio.run(story())


def revoke(place: str) -> None:
    from django.db import connection
    from django.utils import timezone

    row = ApiKey.objects.select_related("environment").get(environment__key=place)
    access.revoke_key(key=row, by=ALICE, because="leaked", now=timezone.now())
    connection.close()


@pytest.fixture
def small_server(transactional_db: None, static_files: Path, tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path / "small", static_files, STREAMS_PER_PROCESS="30", STREAMS_PER_KEY="20") as server:
        yield server


def test_beyond_the_caps_readers_are_told_to_poll_and_the_next_key_still_finds_room(small_server: Server):
    headers = key_in(small_server, "crowded")
    other = key_in(small_server, "other")

    async def story() -> tuple[list[Stream], list[Stream]]:
        mine = await opened(small_server, headers, 25)
        others = await opened(small_server, other, 15)
        return mine, others

    async def refused(stream: Stream) -> dict[str, Any]:
        length = int(stream.head.lower().partition(b"content-length: ")[2].split()[0])
        return json.loads(await stream.reader.readexactly(length))

    async def whole() -> None:
        mine, others = await story()
        assert sorted(stream.status for stream in mine) == [200] * 20 + [503] * 5
        assert sorted(stream.status for stream in others) == [200] * 10 + [503] * 5
        over = next(stream for stream in mine if stream.status == 503)
        assert b"retry-after: 5" in over.head.lower()
        told = await refused(over)
        assert (told["code"], "This key" in told["detail"]) == ("too_many_streams", True)
        over = next(stream for stream in others if stream.status == 503)
        assert "This process" in (await refused(over))["detail"]
        for stream in [*mine, *others]:
            stream.close()
        async with asyncio.timeout(60):  # who leaves gives room back, as soon as the server has seen it go
            status = 503
            while status == 503:
                (again,) = await opened(small_server, headers, 1)
                status = again.status
                again.close()
        assert status == 200

    asyncio.run(whole())


def test_at_a_restart_readers_are_sent_away_one_by_one_and_told_to_come_back_at_random(
    transactional_db: None, static_files: Path, tmp_path: Path
):
    with running_server(tmp_path / "stopping", static_files) as server:
        headers = key_in(server, "stopping")

        async def story() -> tuple[list[bytes], list[float]]:
            streams = await opened(server, headers, 500)
            await asyncio.gather(*(stream.event() for stream in streams))
            left: list[float] = []

            async def last(stream: Stream) -> bytes:
                rest = await stream.rest()
                left.append(time.monotonic())
                return rest

            waiting = asyncio.gather(*(last(stream) for stream in streams))
            server.process.terminate()
            return await asyncio.wait_for(waiting, 60), left

        rests, left = asyncio.run(story())

    retries = {int(rest.partition(b"retry: ")[2].split(b"\n")[0]) for rest in rests if b"retry: " in rest}
    assert sum(b"retry: " in rest for rest in rests) == 500
    assert len(retries) > 300 and max(retries) > 4000
    assert max(left) - min(left) > 0.3
