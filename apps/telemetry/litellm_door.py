"""POST /api/v1/telemetry/litellm: the webhook of LiteLLM's `generic_api` callback."""

import asyncio
import queue

import msgspec
from django.db import DataError, IntegrityError
from django.utils import timezone

from apps.access import serving as access
from apps.core.asgi import JSON_TYPE, Door, Receive, Scope, Send, TooLarge, answer, header, problem, read_body
from apps.telemetry.domain import litellm
from apps.telemetry.domain.batch import Unreadable
from apps.telemetry.group_commit import Stopped
from apps.telemetry.otlp_doors import CLOSE, RETRY, RETRY_LATER, SCOPE, Commit, batch_of, secret_of
from apps.telemetry.packing import UnknownEncoding, unpack
from apps.telemetry.services import Receipt, Sent

MAX_BODY = 32 * 1024 * 1024  # a row carries prompts and the whole price map


def door_of(commit: Commit) -> Door:
    async def door(scope: Scope, receive: Receive, send: Send) -> None:
        key = access.keys.find(secret_of(scope))
        if key is None:
            return await problem(send, 401, "unauthorized", "Send a key: Authorization: Bearer …", CLOSE)
        if not key.allows(SCOPE):
            return await problem(send, 403, "forbidden", f"This key has not the scope {SCOPE}.", CLOSE)
        if access.is_too_fast(key):
            return await problem(send, 429, "too_fast", "This key sends more often than it may.", RETRY, CLOSE)
        try:
            packed = await read_body(scope, receive, MAX_BODY)
            sent, size = await asyncio.to_thread(read, packed, header(scope, b"content-encoding"), key.environment)
        except ConnectionError:
            return
        except TooLarge:
            return await problem(send, 413, "too_large", f"{MAX_BODY:,} bytes at most: send less at once.", CLOSE)
        except UnknownEncoding as error:
            return await problem(send, 415, "unknown_encoding", f"Send gzip, deflate or nothing, not {error}.", CLOSE)
        except Unreadable as error:
            return await problem(send, 400, "unreadable", str(error))
        try:
            result = await commit(sent, size)
        except queue.Full:
            return await problem(send, 503, "too_fast", "More is waiting than can be written: send this again.", RETRY)
        except Stopped:
            return await problem(send, 503, "stopping", "This server is going down: send this again.", RETRY)
        match result:
            case Receipt() as receipt:
                told = {
                    "accepted": receipt.accepted,
                    "duplicates": receipt.duplicates,
                    "rejected": sent.intake.rejected if sent.intake else 0,
                }
                await answer(send, 202, msgspec.json.encode(told), JSON_TYPE)
            case DataError() | IntegrityError() | OverflowError():
                await problem(send, 400, "unstorable", "The database does not take a value of this body.")
            case _:
                await problem(send, 503, "database_away", "Not written: send this again.", RETRY_LATER)

    return door


def read(packed: bytes, encoding: bytes | None, environment: str) -> tuple[Sent, int]:
    raw = unpack(packed, encoding, MAX_BODY)
    intake = litellm.read(raw, int(timezone.now().timestamp() * 1e9))
    return Sent(environment, batch_of("litellm", raw), intake), max(len(raw), 1)
