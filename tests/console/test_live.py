import asyncio
import json

import pytest
from asgiref.sync import sync_to_async
from django.test import Client
from django.utils import timezone

from apps.console import serving
from apps.core.actors import person
from apps.journal import services as journal

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]
PATIENCE = 60  # seconds, of a machine that has more to do


class Reader:
    """One browser tab at the raw door."""

    def __init__(self, cookie: str | None, last_id: str | None = None) -> None:
        headers = [(b"cookie", f"sessionid={cookie}".encode())] if cookie else []
        if last_id is not None:
            headers.append((b"last-event-id", last_id.encode()))
        self.scope = {"type": "http", "method": "GET", "path": "/live", "headers": headers}
        self.sent: list[dict] = []
        self.left = asyncio.Event()
        self.task = asyncio.ensure_future(serving.door(self.scope, self.receive, self.send))

    async def receive(self) -> dict:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int | None:
        return self.sent[0]["status"] if self.sent else None

    @property
    def changes(self) -> list[dict]:
        body = b"".join(one.get("body", b"") for one in self.sent)
        frames = [frame for frame in body.split(b"\n\n") if b"event: changed" in frame]
        return [json.loads(frame.partition(b"data: ")[2]) for frame in frames]

    async def until(self, true) -> None:
        async with asyncio.timeout(PATIENCE):
            while not true(self):
                await asyncio.sleep(0.02)

    async def leave(self) -> None:
        self.left.set()
        await asyncio.wait_for(self.task, PATIENCE)


@pytest.fixture(autouse=True)
def fresh_changes(monkeypatch):
    monkeypatch.setattr(serving, "changes", serving.Changes())


def cookie_of(user) -> str:
    client = Client()
    client.force_login(user)
    return client.cookies["sessionid"].value


def record(route: str, environment: str = "production") -> None:
    journal.record(
        "rollout.advanced",
        environment=environment,
        by=person("alice"),
        because="",
        about={"route": route},
        now=timezone.now(),
    )


async def test_who_has_no_session_gets_no_stream(environment):
    reader = Reader(None)
    await reader.task

    assert reader.status == 401


async def test_a_made_up_session_gets_no_stream(environment):
    reader = Reader("nobodyknowsthis")
    await reader.task

    assert reader.status == 401


async def test_a_change_in_the_journal_names_its_route(environment, alice):
    cookie = await sync_to_async(cookie_of)(alice)
    await sync_to_async(serving.refresh)()
    reader = Reader(cookie)
    await reader.until(lambda r: r.status == 200)

    await sync_to_async(record)("invoice-extraction")
    await sync_to_async(serving.refresh)()

    await reader.until(lambda r: r.changes)
    assert reader.changes == [{"routes": ["invoice-extraction"], "seq": 1}]
    await reader.leave()


async def test_a_stranger_hears_of_no_environment(environment, alice, charlie):
    await sync_to_async(serving.refresh)()
    stranger, colleague = [Reader(await sync_to_async(cookie_of)(each)) for each in (charlie, alice)]
    for reader in (stranger, colleague):
        await reader.until(lambda r: r.status == 200)

    await sync_to_async(record)("invoice-extraction")
    await sync_to_async(serving.refresh)()
    await colleague.until(lambda r: r.changes)  # one change wakes both

    assert stranger.changes == []
    for reader in (stranger, colleague):
        await reader.leave()


async def test_who_comes_back_hears_what_was_missed(environment, alice):
    cookie = await sync_to_async(cookie_of)(alice)
    await sync_to_async(serving.refresh)()
    for route in ("one", "two"):
        await sync_to_async(record)(route)
        await sync_to_async(serving.refresh)()

    reader = Reader(cookie, last_id="1")

    await reader.until(lambda r: r.changes)
    assert reader.changes == [{"routes": ["two"], "seq": 2}]
    await reader.leave()


async def test_a_stream_that_leaves_gives_its_place_back(environment, alice):
    cookie = await sync_to_async(cookie_of)(alice)
    reader = Reader(cookie)
    await reader.until(lambda r: r.status == 200)
    was_open = serving.changes.open
    await reader.leave()

    assert (was_open, serving.changes.open) == (1, 0)


async def test_more_than_the_cap_are_refused(environment, alice, monkeypatch):
    monkeypatch.setattr(serving, "CAP", 0)
    reader = Reader(await sync_to_async(cookie_of)(alice))
    await reader.task

    assert reader.status == 503


async def test_the_stop_ends_all_streams(environment, alice):
    reader = Reader(await sync_to_async(cookie_of)(alice))
    await reader.until(lambda r: r.status == 200)

    serving.changes.loop = asyncio.get_running_loop()
    serving.end_streams()

    await asyncio.wait_for(reader.task, PATIENCE)
    assert reader.sent[-1] == {"type": "http.response.body", "body": b""}
