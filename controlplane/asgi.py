"""The one entry of the web process: hot doors are answered here, everything else goes to Django as WSGI."""

import asyncio
import gc
import os
import sys
from pathlib import Path
from typing import Any, cast

sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "sdk"))  # the evaluator that services install
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

from a2wsgi import WSGIMiddleware

from apps.core.asgi import Message, Receive, Scope, Send
from controlplane.parentage import die_with_parent
from controlplane.wsgi import application as django  # sets Django up, so it comes before the doors

from controlplane import serving  # isort: skip
from controlplane.timing import timer  # isort: skip

die_with_parent()  # granian's worker is a grandchild of bin/up
serving.at_stop_signal(asyncio.get_event_loop(), serving.end_streams)  # granian has set its loop before it imports us
time_api, time_page = timer("api"), timer("pages")
pages = WSGIMiddleware(cast(Any, django), workers=int(os.environ.get("WEB_THREADS", "8")))


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    if scope["type"] != "http":
        return None
    door = serving.door_of(scope["method"], scope["path"])
    if door is None:
        return await answer_page(scope, receive, send)
    timed = serving.TIMED.get(door)
    await door(scope, receive, timed(send) if timed else send)


async def answer_page(scope: Scope, receive: Receive, send: Send) -> None:
    async def receive_coroutine() -> Message:  # granian's receive is no coroutine function; a2wsgi needs one
        return await receive()

    timed = time_api if scope["path"].startswith("/api/") else time_page
    await cast(Any, pages)(scope, receive_coroutine, timed(send))


async def lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await serving.open_doors()
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
