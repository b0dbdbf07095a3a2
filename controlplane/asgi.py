"""The one entry of the web process: hot doors are answered here, everything else goes to Django as WSGI."""

import asyncio
import gc
import os
import sys
from collections.abc import Awaitable
from importlib import import_module
from pathlib import Path
from typing import Any, cast

sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "sdk"))  # the evaluator that services install
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

from a2wsgi import WSGIMiddleware
from django.conf import settings

from apps.core.asgi import GONE, Message, Receive, Scope, Send
from controlplane.parentage import die_with_parent
from controlplane.wsgi import application as django  # sets Django up, so it comes before the doors

from controlplane import serving  # isort: skip
from controlplane.timing import timed  # isort: skip

die_with_parent()  # granian's worker is a grandchild of bin/up
serving.at_stop_signal(asyncio.get_event_loop(), serving.end_streams)  # granian has set its loop before it imports us
pages = WSGIMiddleware(cast(Any, django), workers=int(os.environ.get("WEB_THREADS", "8")))


def app(scope: Scope, receive: Receive, send: Send) -> Awaitable[object]:
    """No coroutine itself: one less to create and to step through for each of a thousand polls."""
    if scope["type"] == "lifespan":
        return lifespan(receive, send)
    door = serving.door_of(scope["method"], scope["path"])
    if door is None:
        door = api if scope["path"].startswith("/api/") else page
    return door(scope, receive, send)


async def answer_page(scope: Scope, receive: Receive, send: Send) -> int:
    status = GONE

    async def receive_coroutine() -> Message:  # granian's receive is no coroutine function; a2wsgi needs one
        return await receive()

    def note_and_send(message: Message) -> Awaitable[None]:
        nonlocal status
        status = message.get("status", status)
        return send(message)

    await cast(Any, pages)(scope, receive_coroutine, note_and_send)
    return status


api, page = timed("api", answer_page), timed("pages", answer_page)


async def lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await serving.open_doors()
    import_module(settings.ROOT_URLCONF)  # a client that waits a second for room under its cap may be the first to ask
    # What is loaded stays: collecting garbage need not walk it again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    # Pages still under way need this loop to finish: once it is gone their threads wait for ever, and so does the exit.
    await asyncio.to_thread(pages.executor.shutdown, wait=True, cancel_futures=True)
    await serving.close_doors()
    await send({"type": "lifespan.shutdown.complete"})
