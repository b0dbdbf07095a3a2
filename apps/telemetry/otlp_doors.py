"""POST /otlp/v1/traces, /metrics, /logs, and the address at which Langfuse's clients knock.

What real exporters do decides the answers: they retry only 429, 502, 503 and 504, and of these old ones drop 429 at
once; a `Retry-After` beyond what is left of ten seconds makes them drop their batch; a redirect counts as success. So a
fault of ours is 503 with one or two seconds, said within five, and never a redirect.
"""

import asyncio
import base64
import binascii
import hashlib
import queue
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
from django.db import DataError, IntegrityError
from django.utils import timezone

from apps.access import serving as access
from apps.core.asgi import Door, Header, Receive, Scope, Send, TooLarge, answer, header, read_body
from apps.telemetry.domain import intake as intakes
from apps.telemetry.domain import otlp_json, otlp_protobuf
from apps.telemetry.domain.batch import Batch, Unreadable
from apps.telemetry.domain.intake import Intake
from apps.telemetry.domain.otlp import Body
from apps.telemetry.group_commit import Stopped
from apps.telemetry.packing import UnknownEncoding, unpack
from apps.telemetry.services import Receipt, Sent

MAX_PACKED = 4 * 1024 * 1024
MAX_BODY = 32 * 1024 * 1024
READ_IN_THREAD = 50_000  # a larger body is read beside the event loop
PATIENCE = 5.0  # seconds: a hanging answer is dropped by senders after ten
SCOPE = "telemetry:write"
RETRY: Header = (b"retry-after", b"1")
RETRY_LATER: Header = (b"retry-after", b"2")
CLOSE: Header = (b"connection", b"close")
PROTOBUF, JSON = b"application/x-protobuf", b"application/json"

Commit = Callable[[Sent, int], Awaitable[Receipt | Exception]]
Read = Callable[[bytes], Body]

READERS: dict[str, dict[bytes, Read]] = {
    "traces": {PROTOBUF: otlp_protobuf.read_traces, JSON: otlp_json.read_traces},
    "metrics": {PROTOBUF: otlp_protobuf.read_metrics, JSON: otlp_json.read_metrics},
    "logs": {PROTOBUF: otlp_protobuf.read_logs, JSON: otlp_json.read_logs},
}
REJECTED = {"traces": "rejectedSpans", "metrics": "rejectedDataPoints", "logs": "rejectedLogRecords"}
GRPC = {400: 3, 401: 16, 403: 7, 413: 8, 415: 3, 503: 14}  # google.rpc.Code


@dataclass(frozen=True, slots=True)
class Refusal(Exception):
    status: int
    message: str
    headers: tuple[Header, ...] = ()


def doors(commit: Commit) -> dict[tuple[str, str], Door]:
    """`commit` waits until what it is given is durable."""
    made = {("POST", f"/otlp/v1/{signal}"): door_of(signal, commit) for signal in READERS}
    return made | {("POST", "/api/public/otel/v1/traces"): door_of("traces", commit)}


def door_of(signal: str, commit: Commit) -> Door:
    async def door(scope: Scope, receive: Receive, send: Send) -> None:
        kind = (header(scope, b"content-type") or b"").partition(b";")[0].strip().lower()
        try:
            intake = await taken(signal, kind, scope, receive, commit)
        except ConnectionError:
            return
        except Refusal as refusal:
            body_kind = kind if kind in (PROTOBUF, JSON) else JSON
            body = status_of(body_kind, GRPC[refusal.status], refusal.message)
            return await answer(send, refusal.status, body, (b"content-type", body_kind), *refusal.headers)
        body = b"" if kind == PROTOBUF else b"{}"
        if intake.rejected:
            body = partial_success(signal, kind, intake.rejected, intake.message)
        await answer(send, 200, body, (b"content-type", kind))

    return door


async def taken(signal: str, kind: bytes, scope: Scope, receive: Receive, commit: Commit) -> Intake:
    key = access.keys.find(secret_of(scope))
    if key is None:
        raise Refusal(401, "Send a key: authorization=Bearer ...", ((b"www-authenticate", b"Bearer"), CLOSE))
    if not key.allows(SCOPE):
        raise Refusal(403, f"This key has not the scope {SCOPE}.", (CLOSE,))
    if access.is_too_fast(key):
        raise Refusal(429, "This key sends more often than it may.", (RETRY, CLOSE))
    reader = READERS[signal].get(kind)
    if reader is None:
        raise Refusal(415, "Send application/x-protobuf or application/json.", (CLOSE,))
    try:
        packed = await read_body(scope, receive, MAX_PACKED)
        encoding = header(scope, b"content-encoding")
        arguments = (packed, encoding, reader, signal, key.environment)
        if len(packed) > READ_IN_THREAD or encoding:
            sent, size = await asyncio.to_thread(read, *arguments)
        else:
            sent, size = read(*arguments)
    except TooLarge:
        raise Refusal(
            413, f"{MAX_PACKED:,} bytes at most, {MAX_BODY:,} unpacked: send less at once.", (CLOSE,)
        ) from None
    except UnknownEncoding as error:
        raise Refusal(415, f"Send gzip, deflate or nothing, not {error}.", (CLOSE,)) from None
    except Unreadable as error:
        raise Refusal(400, str(error)) from None
    assert sent.intake is not None
    await committed(sent, size, commit)
    return sent.intake


def read(packed: bytes, encoding: bytes | None, reader: Read, signal: str, environment: str) -> tuple[Sent, int]:
    raw = unpack(packed, encoding, MAX_BODY)
    now = int(timezone.now().timestamp() * 1e9)
    intake = intakes.of_body(reader(raw), environment=environment, now=now)
    return Sent(environment, batch_of(f"otlp/{signal}", raw), intake), max(len(raw), 1)


def batch_of(name: str, raw: bytes) -> Batch:
    """OTLP names no batch: the body's hash does, taken when it is inflated, since gzip's headers carry a time."""
    return Batch(f"{name}:{hashlib.sha256(raw).hexdigest()}", [], [], None, [])


async def committed(sent: Sent, size: int, commit: Commit) -> None:
    try:
        result = await asyncio.wait_for(commit(sent, size), PATIENCE)
    except queue.Full:
        raise Refusal(503, "More is waiting than can be written: send this again.", (RETRY,)) from None
    except Stopped:
        raise Refusal(503, "This server is going down: send this again.", (RETRY,)) from None
    except TimeoutError:  # it may yet be written: the same body again counts nothing
        raise Refusal(503, "Writing takes long: send this again.", (RETRY_LATER,)) from None
    if isinstance(result, DataError | IntegrityError | OverflowError):
        raise Refusal(400, "The database does not take a value of this body.")
    if isinstance(result, Exception):
        raise Refusal(503, "Not written: send this again.", (RETRY_LATER,))


def secret_of(scope: Scope) -> str | None:
    """A bearer's, or the password of Basic: so Langfuse's clients send their keys."""
    told = header(scope, b"authorization") or b""
    scheme, _, value = told.partition(b" ")
    if scheme.lower() != b"basic":
        return access.bearer(scope)
    try:
        return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2] or None
    except (binascii.Error, UnicodeDecodeError):
        return None


def partial_success(signal: str, kind: bytes, rejected: int, message: str) -> bytes:
    if kind == JSON:
        return msgspec.json.encode({"partialSuccess": {REJECTED[signal]: str(rejected), "errorMessage": message}})
    inner = b"\x08" + varint(rejected) + text_field(2, message)
    return b"\x0a" + varint(len(inner)) + inner


def status_of(kind: bytes, code: int, message: str) -> bytes:
    """google.rpc.Status"""
    if kind == JSON:
        return msgspec.json.encode({"code": code, "message": message})
    return b"\x08" + varint(code) + text_field(2, message)


def text_field(number: int, text: str) -> bytes:
    raw = text.encode()
    return bytes([number << 3 | 2]) + varint(len(raw)) + raw


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
