"""POST /api/v1/telemetry: read, wait for the group commit, answer 202. Nothing is said before it is durable."""

import asyncio
import queue
import zlib
from collections.abc import Sequence

import msgspec
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from django.utils import timezone

from apps.access import serving as access
from apps.core.asgi import JSON_TYPE, Door, Header, Receive, Scope, Send, TooLarge, answer, header, problem, read_body
from apps.telemetry import services
from apps.telemetry.domain import batch as batches
from apps.telemetry.domain.batch import Batch
from apps.telemetry.group_commit import GroupCommit, Stopped
from apps.telemetry.memory import WriterMemory
from apps.telemetry.services import Receipt, Sent

MAX_BODY = 5_000_000  # packed and unpacked
READ_IN_THREAD = 100_000  # a larger body is read beside the event loop, or the flag doors would wait for it
SCOPE = "telemetry:write"
RETRY: Header = (b"retry-after", b"1")
RETRY_LATER: Header = (b"retry-after", b"2")
CLOSE: Header = (b"connection", b"close")

encode = msgspec.json.Encoder().encode


class UnknownEncoding(Exception):
    pass


def new_commits() -> GroupCommit[Sent, Receipt]:
    writer = WriterMemory()  # of one thread, from its start to its end

    def store(sent: Sequence[Sent]) -> Sequence[Receipt]:
        return services.count(sent=sent, writer=writer, now=timezone.now())

    return GroupCommit(store, max_waiting=256, max_bytes=64_000_000, max_group=64, max_group_bytes=5_000_000)


commits = new_commits()


def start() -> None:
    global commits
    commits = new_commits()
    commits.start()


def stop() -> None:
    commits.stop()


async def door(scope: Scope, receive: Receive, send: Send) -> None:
    key = access.keys.find(access.bearer(scope))
    if key is None:
        return await problem(
            send, 401, "unauthorized", "Send a key: Authorization: Bearer …", (b"www-authenticate", b"Bearer"), CLOSE
        )
    if not key.allows(SCOPE):
        return await problem(send, 403, "forbidden", f"This key has not the scope {SCOPE}.", CLOSE)
    try:
        packed = await read_body(scope, receive, MAX_BODY)
        if len(packed) > READ_IN_THREAD or header(scope, b"content-encoding"):
            batch = await asyncio.to_thread(read, packed, header(scope, b"content-encoding"))
        else:
            batch = read(packed, None)
    except ConnectionError:
        return
    except TooLarge:
        return await problem(send, 413, "too_large", f"A batch has {MAX_BODY:,} bytes at most: send several.", CLOSE)
    except UnknownEncoding as error:
        return await problem(send, 415, "unknown_encoding", f"Send gzip, deflate or nothing, not {error}.")
    except batches.Unreadable as error:
        return await problem(send, 400, "unreadable", str(error))
    await commit(Sent(key.environment, batch), len(packed), send)


def read(packed: bytes, encoding: bytes | None) -> Batch:
    return batches.read(unpack(packed, encoding), timezone.now())


def unpack(packed: bytes, encoding: bytes | None) -> bytes:
    """Inflates no further than the limit, however much is in it."""
    match (encoding or b"identity").strip().lower():
        case b"identity":
            return packed
        case b"gzip" | b"x-gzip":
            bits = 31
        case b"deflate":
            bits = 15
        case other:
            raise UnknownEncoding(other.decode("latin-1"))
    parts: list[bytes] = []
    size = 0
    while packed or not parts:
        stream = zlib.decompressobj(bits)
        try:
            part = stream.decompress(packed, MAX_BODY + 1 - size)
        except zlib.error as error:
            raise batches.Unreadable(f"broken compression: {error}") from None
        size += len(part)
        if size > MAX_BODY:
            raise TooLarge
        if not stream.eof:
            raise batches.Unreadable("the compressed body ends too early")
        parts.append(part)
        packed = stream.unused_data  # gzip: one member may follow another
    return b"".join(parts)


async def commit(sent: Sent, size: int, send: Send) -> None:
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
        return await problem(send, 429, "too_fast", "More is waiting than can be written: send this again.", RETRY)
    except Stopped:
        return await problem(send, 503, "stopping", "This server is going down: send this again.", RETRY)
    match await done:
        case Receipt() as receipt:
            await answer(send, 202, encode(told(receipt, sent.batch)), JSON_TYPE)
        case DataError() | IntegrityError() | OverflowError():
            await problem(send, 400, "unstorable", "The database does not take a value of this batch.")
        case OperationalError() | InterfaceError():
            await problem(send, 503, "database_away", "The database is away: send this again.", RETRY_LATER)
        case _:
            await problem(send, 500, "fault", "This is our fault: the log knows more.", RETRY_LATER)


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


DOORS: dict[tuple[str, str], Door] = {("POST", "/api/v1/telemetry"): door}
