"""`GET /live`: the console's own event stream. It tells which routes changed; the page then fetches its parts.

A raw door, not a Django answer: eight open tabs would otherwise hold all threads of the web process. Who connects needs
the console's session; it is looked up once, in a thread, together with the environments that the person may see. The
journal says what changed: the refresher looks at its newest entry every two seconds and at each bell.
"""

import asyncio
import json
import threading
from collections import deque
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.db import close_old_connections
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from apps.access import queries as access
from apps.core.asgi import Door, Receive, Scope, Send, header, problem
from apps.journal.models import Entry

CAP = 500  # streams of one process
KEPT = 500  # changes a reader may be behind before it is told "everything"
BEAT_SECONDS = 8.0
RECHECK_SECONDS = 60.0
BLOCKED_SECONDS = 10.0
HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


@dataclass(frozen=True, slots=True)
class Change:
    seq: int
    environment: str
    route: str  # empty: something of the whole environment


class Changes:
    """What the journal said lately, and the readers that wait for more. Written by the refresher's thread."""

    def __init__(self) -> None:
        self.seq = 0
        self.kept: deque[Change] = deque(maxlen=KEPT)
        self.last_seen = ""
        self.lock = threading.Lock()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.changed: asyncio.Future[None] | None = None
        self.open = 0
        self.ended = False

    def add(self, entries: list[tuple[str, str]]) -> None:
        with self.lock:
            for environment, route in entries:
                self.seq += 1
                self.kept.append(Change(self.seq, environment, route))
        self.ring()

    def since(self, seq: int, environments: frozenset[str]) -> list[str]:
        """Routes that changed after `seq`; "*" where more was missed than is kept, or the environment changed."""
        with self.lock:
            if self.kept and self.kept[0].seq > seq + 1:
                return ["*"]
            news = [
                one for one in self.kept if one.seq > seq and (one.environment in environments or not one.environment)
            ]
        return sorted({one.route or "*" for one in news})

    def ring(self) -> None:
        loop = self.loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self.wake)

    def wake(self) -> None:
        changed, self.changed = self.changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)

    def next_change(self) -> "asyncio.Future[None]":
        if self.changed is None:
            self.changed = asyncio.get_running_loop().create_future()
        return self.changed


changes = Changes()


def refresh() -> None:
    """Called by the refresher: what is new in the journal. Raises django.db.Error while the database is away."""
    if not changes.last_seen:
        newest = Entry.objects.order_by("-id").values_list("id", flat=True).first()
        changes.last_seen = newest or "0"
        return
    # Ids sort by the moment they were made; a transaction may commit after a younger one, so look a little back.
    rows = (
        Entry.objects.filter(id__gt=changes.last_seen).order_by("id").values_list("id", "environment", "about", "route")
    )
    found = list(rows[:KEPT])
    if found:
        changes.last_seen = found[-1][0]
        changes.add([(environment, route or about.get("route", "")) for _, environment, about, route in found])


def start(loop: asyncio.AbstractEventLoop) -> None:
    changes.loop = loop


def end_streams() -> None:
    """At the stop signal: open streams would keep the server from ending."""
    changes.ended = True
    changes.ring()


stop = end_streams


@dataclass(frozen=True, slots=True)
class Guest:
    user: int
    environments: frozenset[str]


def guest_of(cookie: str) -> Guest | None:
    """Who sits behind the session cookie: the checks that Django's own middleware makes."""
    close_old_connections()
    try:
        session = import_module(settings.SESSION_ENGINE).SessionStore(cookie)
        user_id, backend = session.get(SESSION_KEY), session.get(BACKEND_SESSION_KEY)
        if user_id is None or backend not in settings.AUTHENTICATION_BACKENDS:
            return None
        user = User.objects.filter(pk=user_id, is_active=True).first()
        if user is None or not constant_time_compare(session.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash()):
            return None
        return Guest(user.pk, frozenset(one.key for one in access.environments_of(user)))
    finally:
        close_old_connections()


def session_cookie(scope: Scope) -> str | None:
    raw = header(scope, b"cookie")
    if raw is None:
        return None
    try:
        morsel: Any = SimpleCookie(raw.decode("latin-1")).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return None
    return morsel.value if morsel else None


async def door(scope: Scope, receive: Receive, send: Send) -> int:
    cookie = session_cookie(scope)
    guest = await asyncio.to_thread(guest_of, cookie) if cookie else None
    if cookie is None or guest is None:
        return await problem(send, 401, "log_in", "Log in to the console first.")
    if changes.open >= CAP:
        return await problem(
            send, 503, "too_many_streams", "This process has no stream left; the page polls.", (b"retry-after", b"5")
        )
    changes.loop = asyncio.get_running_loop()
    changes.open += 1
    gone = asyncio.ensure_future(reader_left(receive))
    try:
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        told = resume_from(scope)
        await write(send, b"retry: 3000\n\n" + beat())
        await follow(told, cookie, guest, send, gone)
        if not gone.done():
            await send({"type": "http.response.body", "body": b""})
    except TimeoutError:
        pass  # blocked for ten seconds: it comes back and resumes
    finally:
        changes.open -= 1
        gone.cancel()
    return 200


def resume_from(scope: Scope) -> int:
    last = header(scope, b"last-event-id")
    seq = int(last) if last and last.isdigit() else changes.seq
    return seq if seq <= changes.seq else 0  # another process, or one that started anew: tell all


async def follow(told: int, cookie: str, guest: Guest, send: Send, gone: "asyncio.Future[None]") -> None:
    quiet = checked = 0.0
    while not (gone.done() or changes.ended):
        now_at = changes.seq
        if told != now_at:
            routes = changes.since(told, guest.environments)
            told, quiet = now_at, 0.0
            if routes:
                body = json.dumps({"routes": routes, "seq": told})
                await write(send, f"id: {told}\nevent: changed\ndata: {body}\n\n".encode())
            continue
        change = changes.next_change()
        await asyncio.wait({change, gone}, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
        quiet += 1.0
        checked += 1.0
        if quiet >= BEAT_SECONDS and not gone.done():
            quiet = 0.0
            await write(send, beat())
        if checked >= RECHECK_SECONDS:  # logged out, or a role taken away
            checked = 0.0
            again = await asyncio.to_thread(guest_of, cookie)
            if again is None:
                return
            guest = again


def beat() -> bytes:
    return b'event: beat\ndata: {"at": "%s"}\n\n' % timezone.now().isoformat().encode()


async def write(send: Send, frame: bytes) -> None:
    async with asyncio.timeout(BLOCKED_SECONDS):
        await send({"type": "http.response.body", "body": frame, "more_body": True})


async def reader_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


DOORS: dict[tuple[str, str], Door] = {("GET", "/live"): door}
