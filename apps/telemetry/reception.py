"""What the OTLP doors and the webhook share: key, limits, unpacking, writing, and the note of what was refused.

What real exporters do decides the answers: they retry only 429, 502, 503 and 504, and of these old ones drop 429 at
once; a `Retry-After` beyond what is left of ten seconds makes them drop their batch; a redirect counts as success. So
whatever is no fault of the sender's is 503 with one or two seconds, said within five, and never a redirect.
"""

import asyncio
import base64
import binascii
import hashlib
import queue
import time
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog
from django.db import DataError, IntegrityError
from django.utils import timezone

from apps.access import serving as access
from apps.core import metrics
from apps.core.asgi import Header, Receive, Scope, TooLarge, header, read_body
from apps.core.ids import new_id
from apps.telemetry.domain.batch import Batch, Unreadable
from apps.telemetry.domain.intake import Intake
from apps.telemetry.group_commit import Stopped
from apps.telemetry.packing import UnknownEncoding, unpack
from apps.telemetry.services import Receipt, Sent

MAX_BODY = 32 * 1024 * 1024
READ_IN_THREAD = 50_000  # a larger body is read beside the event loop
TURN = 2.0  # seconds that a body waits until it is read
PATIENCE = 5.0  # seconds from the last byte of a body: a hanging answer is dropped by senders after ten
LEAST_PATIENCE = 1.0  # for writing, however long reading took
SCOPE = "telemetry:write"
SOON: Header = (b"retry-after", b"1")
LATER: Header = (b"retry-after", b"2")
CLOSE: Header = (b"connection", b"close")

Commit = Callable[[Sent, int], Awaitable[Receipt | Exception]]
Understand = Callable[[bytes, str, int], Intake]  # body, environment, now in nanoseconds

log = structlog.get_logger()
readers = ThreadPoolExecutor(4, thread_name_prefix="read-telemetry")


@dataclass(frozen=True, slots=True)
class Refusal(Exception):
    status: int
    code: str
    message: str
    headers: tuple[Header, ...] = ()

    @property
    def is_final(self) -> bool:
        """The sender drops what it sent: it is worth a note."""
        return self.status in (400, 403, 413, 415)


@dataclass(frozen=True, slots=True)
class Reception:
    """One door's ways. `commit` waits until what it is given is durable."""

    name: str  # in front of the hash of a body
    source: str
    most: int  # bytes of a body as it comes, packed or not
    commit: Commit

    async def take(self, scope: Scope, receive: Receive, understand: Understand | None) -> tuple[Intake, Receipt]:
        """What was understood and counted. Raises Refusal, and ConnectionError when the sender has gone."""
        key = access.keys.find(secret_of(scope))
        if key is None:
            bearer = (b"www-authenticate", b"Bearer")
            raise Refusal(401, "unauthorized", "Send a key: Authorization: Bearer …", (bearer, CLOSE))
        try:
            return await self.take_from(key, scope, receive, understand)
        except Refusal as refusal:
            if refusal.is_final:
                await self.note(key, refusal)
            raise
        except ConnectionError:
            raise
        except Exception as error:  # the edge: 500 would make exporters drop what a repaired server could take
            # Without the error's own words, in which there may be some of what was sent.
            log.error(
                "telemetry.fault",
                door=self.name,
                error=type(error).__name__,
                at=traceback.format_tb(error.__traceback__),
            )
            raise Refusal(503, "fault", "This is our fault: send it again.", (LATER,)) from None

    async def take_from(
        self, key: access.KeyGrant, scope: Scope, receive: Receive, understand: Understand | None
    ) -> tuple[Intake, Receipt]:
        if not key.allows(SCOPE):
            raise Refusal(403, "forbidden", f"This key has not the scope {SCOPE}.", (CLOSE,))
        if access.is_too_fast(key):
            raise Refusal(503, "too_fast", "This key sends more often than it may.", (SOON, CLOSE))
        if understand is None:
            raise Refusal(415, "unknown_type", "Send application/x-protobuf or application/json.", (CLOSE,))
        encoding = header(scope, b"content-encoding")
        try:
            packed = await read_body(scope, receive, self.most)
            came_at = time.monotonic()
            if len(packed) > READ_IN_THREAD or encoding:
                sent, intake, size = await self.read_in_turn(packed, encoding, understand, key)
            else:
                sent, intake, size = self.read(packed, encoding, understand, key)
        except TooLarge:
            how = "send less at once" if encoding else "send it with gzip, or less at once"
            most = f"{self.most:,} bytes at most, {MAX_BODY:,} unpacked: {how}."
            raise Refusal(413, "too_large", most, (CLOSE,)) from None
        except UnknownEncoding as error:
            raise Refusal(415, "unknown_encoding", f"Send gzip, deflate or nothing, not {error}.", (CLOSE,)) from None
        except Unreadable as error:
            raise Refusal(400, "unreadable", str(error)) from None
        left = PATIENCE - (time.monotonic() - came_at)
        return intake, await self.committed(sent, size, max(left, LEAST_PATIENCE))

    async def read_in_turn(
        self, packed: bytes, encoding: bytes | None, understand: Understand, key: access.KeyGrant
    ) -> tuple[Sent, Intake, int]:
        """Beside the event loop. Where too many stand before it its sender hears so while it still listens."""
        reading = readers.submit(self.read, packed, encoding, understand, key)
        told = asyncio.wrap_future(reading)
        await asyncio.wait([told], timeout=TURN)
        if reading.cancel():  # it has not begun
            metrics.pushed_back.inc()
            raise Refusal(503, "too_fast", "More is waiting than can be read: send it again.", (SOON,))
        return await told

    def read(
        self, packed: bytes, encoding: bytes | None, understand: Understand, key: access.KeyGrant
    ) -> tuple[Sent, Intake, int]:
        raw = unpack(packed, encoding, MAX_BODY)
        intake = understand(raw, key.environment, int(timezone.now().timestamp() * 1e9))
        intake.key = key.name
        return Sent(key.environment, batch_of(self.name, raw), intake), intake, max(len(raw), 1)

    async def committed(self, sent: Sent, size: int, patience: float = PATIENCE) -> Receipt:
        try:
            result = await asyncio.wait_for(self.commit(sent, size), patience)
        except queue.Full:
            raise Refusal(503, "too_fast", "More is waiting than can be written: send it again.", (SOON,)) from None
        except Stopped:
            raise Refusal(503, "stopping", "This server is going down: send it again.", (SOON,)) from None
        except TimeoutError:  # it may yet be written: the same body again counts nothing
            raise Refusal(503, "slow", "Writing takes long: send it again.", (LATER,)) from None
        if isinstance(result, DataError | IntegrityError | OverflowError):
            raise Refusal(400, "unstorable", "The database does not take a value of this body.")
        if isinstance(result, Exception):
            raise Refusal(503, "database_away", "Not written: send it again.", (LATER,))
        return result

    async def note(self, key: access.KeyGrant, refusal: Refusal) -> None:
        """A refused body is dropped by its sender, which mostly says nothing: so we do, on the page of sources."""
        intake = Intake(key=key.name)
        intake.hear("", self.source, f"rejected:{refusal.status}_{refusal.code}")
        sent = Sent(key.environment, Batch(new_id(), [], [], None, []), intake)
        try:
            await self.committed(sent, 1)
        except Refusal as failed:
            log.warning("telemetry.refusal_not_noted", key=key.name, code=refusal.code, because=failed.code)


def batch_of(name: str, raw: bytes) -> Batch:
    """OTLP names no batch: the body's hash does, taken when it is inflated, since gzip's headers carry a time."""
    return Batch(f"{name}:{hashlib.sha256(raw).hexdigest()}", [], [], None, [])


def secret_of(scope: Scope) -> str | None:
    """A bearer's, which some senders leave as it stands in their variables: `Bearer%20…`; X-API-Key; a password."""
    told = header(scope, b"authorization") or b""
    scheme, _, value = told.replace(b"%20", b" ", 1).partition(b" ")
    if scheme.lower() == b"bearer":
        return value.strip().decode("latin-1")
    return access.bearer(scope) or (password_in(value) if scheme.lower() == b"basic" else None)


def password_in(credentials: bytes) -> str | None:
    """Of Basic authentication: so Langfuse's clients send their keys."""
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return None
