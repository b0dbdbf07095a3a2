"""`/healthz`: this process answers. `/readyz`: the whole works, with a reason for each part that does not."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import redis
from django.conf import settings
from django.db import Error, connection
from django.utils import timezone

from apps.access import serving as access
from apps.alerts import mail
from apps.core import bell
from apps.core.asgi import JSON_TYPE, Door, Receive, Scope, Send, answer
from apps.flags import serving as flags
from apps.rollouts import queries as rollouts


async def healthz(scope: Scope, receive: Receive, send: Send) -> int:
    return await answer(send, 200, b"ok", (b"content-type", b"text/plain"))


async def readyz(scope: Scope, receive: Receive, send: Send) -> int:
    parts = await asyncio.to_thread(look)
    ready = all(part["ok"] for part in parts.values())
    body = json.dumps({"ready": ready, "parts": parts}).encode()
    return await answer(send, 200 if ready else 503, body, JSON_TYPE, (b"cache-control", b"no-store"))


def look() -> dict[str, dict[str, Any]]:
    try:
        database = beat = look_at_database()
        beat = look_at_beat()
    except Error as error:
        database = {"ok": False, "reason": str(error) or type(error).__name__}
        beat = {"ok": False, "reason": "The database is away."}
    finally:
        connection.close()
    return {
        "database": database,
        "broker": look_at_broker(),
        "flags": look_at_flags(),
        "evaluator": look_at_evaluator(),
        "beat": beat,
        "mail": look_at_mail(),
        "dead_man": look_at_dead_man(),
    }


def look_at_database() -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return {"ok": True, "reason": ""}


def look_at_broker() -> dict[str, Any]:
    try:
        bell.ringer().ping()
    except (redis.RedisError, OSError) as error:
        return {"ok": False, "reason": str(error) or type(error).__name__}
    return {"ok": True, "reason": ""}


def look_at_flags() -> dict[str, Any]:
    """Ready when keys and snapshots are in memory, compiled."""
    if not access.keys.loaded:
        return {"ok": False, "reason": "API keys are not loaded from the database yet."}
    if not flags.is_loaded():
        return {"ok": False, "reason": "Snapshots are not loaded yet."}
    if doubts := flags.doubts():  # amber: what is served is right for whoever asks, until somebody has decided
        return {"ok": True, "amber": True, "reason": " ".join(doubts)}
    return {"ok": True, "reason": ""}


def look_at_evaluator() -> dict[str, Any]:
    """How long ago the database last confirmed what is evaluated: it is answered all the same."""
    lag = flags.lag_seconds()
    said = f"What is evaluated was last confirmed {lag} s ago." if lag else ""
    return {"ok": not lag, "lag_seconds": lag, "reason": said}


def look_at_beat() -> dict[str, Any]:
    last = rollouts.last_tick_at()
    if last is None:
        return {"ok": False, "reason": "No tick has run yet."}
    age = timezone.now() - last
    late = age > timedelta(seconds=3 * settings.TICK_SECONDS + 2)
    return {
        "ok": not late,
        "age_seconds": round(age.total_seconds(), 1),
        "reason": f"The last tick was {age.total_seconds():.0f} s ago." if late else "",
    }


def look_at_mail() -> dict[str, Any]:
    """Amber, never red: other channels may do."""
    kept = mail.not_sent()
    return {"ok": True, "amber": True, "reason": f"Mail is {kept}."} if kept else {"ok": True, "reason": ""}


def look_at_dead_man() -> dict[str, Any]:
    """Amber, never red: everything works without it, but nobody outside would notice if nothing did."""
    if settings.DEAD_MAN_URL:
        return {"ok": True, "reason": ""}
    return {"ok": True, "amber": True, "reason": "DEAD_MAN_URL is not set: nobody outside hears when all is down."}


DOORS: dict[tuple[str, str], Door] = {("GET", "/healthz"): healthz, ("GET", "/readyz"): readyz}
