"""POST /api/v1/telemetry: read, wait for the group commit, answer 202. Nothing is said before it is durable."""

import asyncio
import queue
from collections.abc import Sequence
from datetime import datetime

import msgspec
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from django.utils import timezone

from apps.access import serving as access
from apps.core import metrics
from apps.core.asgi import (
    GONE,
    JSON_TYPE,
    Door,
    Header,
    Receive,
    Scope,
    Send,
    TooLarge,
    answer,
    header,
    problem,
    read_body,
)
from apps.telemetry import gathering, litellm_door, otlp_doors, services
from apps.telemetry.domain import batch as batches
from apps.telemetry.domain.batch import Batch
from apps.telemetry.group_commit import GroupCommit, Stopped
from apps.telemetry.memory import WriterMemory
from apps.telemetry.packing import UnknownEncoding, unpack
from apps.telemetry.services import Receipt, Sent

MAX_BODY = 5_000_000  # packed and unpacked
READ_IN_THREAD = 100_000  # a larger body is read beside the event loop, or the flag doors would wait for it
SCOPE = "telemetry:write"
RETRY: Header = (b"retry-after", b"1")
RETRY_LATER: Header = (b"retry-after", b"2")
CLOSE: Header = (b"connection", b"close")

encode = msgspec.json.Encoder().encode


failing: tuple[datetime, datetime] | None = None  # since when no group could be written, and the last that could not


def new_commits() -> GroupCommit[Sent, Receipt]:
    writer = WriterMemory()  # of one thread, from its start to its end

    def store(sent: Sequence[Sent]) -> Sequence[Receipt]:
        global failing
        now = timezone.now()
        try:
            with metrics.commits.time(), metrics.commits_failed.count_exceptions():
                receipts = services.count(sent=sent, writer=writer, now=now)
        except Exception:
            failing = (failing[0] if failing else now, now)
            raise
        failing = None
        return receipts

    def finish() -> None:
        gathering.finish(writer=writer, now=timezone.now())

    return GroupCommit(store, finish, max_waiting=256, max_bytes=64_000_000, max_group=64, max_group_bytes=5_000_000)


commits = new_commits()


def start() -> None:
    global commits
    commits = new_commits()
    commits.start()


def stop() -> None:
    commits.stop()


async def door(scope: Scope, receive: Receive, send: Send) -> int:
    key = access.keys.find(access.bearer(scope))
    if key is None:
        return await problem(
            send, 401, "unauthorized", "Send a key: Authorization: Bearer …", (b"www-authenticate", b"Bearer"), CLOSE
        )
    if not key.allows(SCOPE):
        return await problem(send, 403, "forbidden", f"This key has not the scope {SCOPE}.", CLOSE)
    try:
        packed = await read_body(scope, receive, MAX_BODY)
        if access.is_too_fast(key):  # asked when all was sent, or the answer would not be heard
            return await problem(send, 429, "too_fast", "This key sends more often than it may.", RETRY)
        if len(packed) > READ_IN_THREAD or header(scope, b"content-encoding"):
            batch, size = await asyncio.to_thread(read, packed, header(scope, b"content-encoding"))
        else:
            batch, size = read(packed, None)
    except ConnectionError:
        return GONE
    except TooLarge:
        return await problem(send, 413, "too_large", f"A batch has {MAX_BODY:,} bytes at most: send several.", CLOSE)
    except UnknownEncoding as error:
        return await problem(send, 415, "unknown_encoding", f"Send gzip, deflate or nothing, not {error}.")
    except batches.Unreadable as error:
        return await problem(send, 400, "unreadable", str(error))
    return await commit(Sent(key.environment, batch), size, send)


def read(packed: bytes, encoding: bytes | None) -> tuple[Batch, int]:
    """With its size unpacked: that is what it holds while it waits."""
    raw = unpack(packed, encoding, MAX_BODY)
    return batches.read(raw, timezone.now()), len(raw)


async def committed(sent: Sent, size: int) -> Receipt | Exception:
    """What became of it, once that is durable. Raises queue.Full and Stopped."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Receipt | Exception] = loop.create_future()

    def settle(result: Receipt | Exception) -> None:
        if not done.done():  # the caller may have gone
            done.set_result(result)

    def tell(result: Receipt | Exception) -> None:
        loop.call_soon_threadsafe(settle, result)

    try:
        commits.offer(sent, size, tell)
    except queue.Full:
        metrics.pushed_back.inc()
        raise
    return await done


async def commit(sent: Sent, size: int, send: Send) -> int:
    try:
        result = await committed(sent, size)
    except queue.Full:
        return await problem(send, 429, "too_fast", "More is waiting than can be written: send this again.", RETRY)
    except Stopped:
        return await problem(send, 503, "stopping", "This server is going down: send this again.", RETRY)
    match result:
        case Receipt() as receipt:
            return await answer(send, 202, encode(told(receipt, sent.batch)), JSON_TYPE)
        case DataError() | IntegrityError() | OverflowError():
            return await problem(send, 400, "unstorable", "The database does not take a value of this batch.")
        case OperationalError() | InterfaceError():
            return await problem(send, 503, "database_away", "The database is away: send this again.", RETRY_LATER)
        case _:
            return await problem(send, 500, "fault", "This is our fault: the log knows more.", RETRY_LATER)


def told(receipt: Receipt, batch: Batch) -> dict[str, object]:
    outcomes: dict[str, object] = {"accepted": receipt.accepted_outcomes, "duplicates": receipt.duplicate_outcomes}
    if batch.rejected_outcomes:
        outcomes["rejected"] = batch.rejected_outcomes
    return {
        "accepted": receipt.accepted,
        "duplicates": receipt.duplicates,
        "unassigned": receipt.unassigned,
        "rejected": batch.rejected,
        "outcomes": outcomes,
    }


DOORS: dict[tuple[str, str], Door] = {
    ("POST", "/api/v1/telemetry"): door,
    ("POST", "/api/v1/telemetry/"): door,  # as all of the API beside it
    **litellm_door.doors(committed),
    **otlp_doors.doors(committed),
}
