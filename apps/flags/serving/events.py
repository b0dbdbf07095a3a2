"""OFREP's event stream: a web client that has asked for all flags is told to ask again.

A browser's EventSource sends no headers, so the address carries a token that stands for the key for half an hour. Every
process can read it. The address stays the same for a quarter of an hour: another one makes clients connect anew.
"""

import hashlib
import hmac
import json
import time
from urllib.parse import parse_qs

from django.conf import settings

from apps.access import serving as access
from apps.access.serving import KeyGrant
from apps.core.asgi import Receive, Scope, Send, problem
from apps.flags.serving import asking
from apps.flags.serving.changes import Changes
from apps.flags.serving.shelf import shelf

PATH = "/ofrep/v1/events"
TURN_SECONDS = 900
INACTIVE_SECONDS = 120  # a hidden page closes its stream after that
STALE = "This address has expired, or its key has: ask for all flags again, the answer names the next one."


def turn(now: float) -> int:
    """The quarter of an hour that this is."""
    return int(now) // TURN_SECONDS


def token(key_id: str, number: int) -> str:
    told = f"{key_id}.{number}"
    return f"{told}.{hmac.new(secret(), told.encode(), hashlib.sha256).hexdigest()[:32]}"


def secret() -> bytes:
    return hashlib.sha256(b"ofrep event stream\n" + settings.SECRET_KEY.encode()).digest()


def grant_of(given: str, now: float) -> KeyGrant | None:
    """The key that the token stands for, if it still holds."""
    key_id, _, rest = given.partition(".")
    number = rest.partition(".")[0]
    if not number.isdigit() or len(number) > 12 or turn(now) - int(number) not in (0, 1):
        return None
    if not given.isascii() or not hmac.compare_digest(token(key_id, int(number)), given):
        return None
    grant = access.keys.find_id(key_id)
    return grant if asking.may_read(grant) else None


offers: dict[str, tuple[int, bytes]] = {}  # key: the quarter of an hour, and what its bulk answers end with


def offer(key_id: str, number: int) -> bytes:
    """What a bulk answer ends with, instead of its closing brace."""
    known = offers.get(key_id)
    if known is None or known[0] != number:
        address = f"{PATH}?token={token(key_id, number)}"
        stream = {"type": "sse", "endpoint": {"requestUri": address}, "inactivityDelaySec": INACTIVE_SECONDS}
        known = offers[key_id] = (number, b',"eventStreams":' + json.dumps([stream]).encode() + b"}")
    return known[1]


async def door(scope: Scope, receive: Receive, send: Send) -> int:
    query = parse_qs(bytes(scope.get("query_string") or b"").decode("latin-1"))
    grant = grant_of(query.get("token", [""])[0], time.time())
    if grant is None:
        return await problem(send, 401, "unauthorized", STALE)
    if access.is_too_fast(grant):
        denied = asking.TOO_FAST
        return await problem(send, denied.status, denied.code, denied.detail, *denied.headers)
    return await events.serve(grant, lambda: asking.may_read(access.keys.find_id(grant.key_id)), scope, receive, send)


def frame(environment: str, told: int | None) -> bytes:
    """One who has just connected fetches once: something may have changed since its last answer."""
    held = shelf.held[environment]
    if told == held.version:
        return b": nothing new\n\n"
    data = {"type": "refetchEvaluation", "etag": str(held.version), "lastModified": int(held.at)}
    text = json.dumps(data, separators=(",", ":"))
    return f"id: {held.version}\nevent: message\ndata: {text}\n\n".encode()


events = Changes(frame)
shelf.told.append(events.tell)
