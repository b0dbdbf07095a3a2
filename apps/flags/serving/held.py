"""What the hot doors answer from: one immutable object per environment and version, swapped by one assignment.

Built off the event loop. The bytes of the flagd document, its compressed form and the headers are made once; answers
of evaluations are encoded when they are first given, and then served by their number.
"""

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from apps.core.asgi import JSON_TYPE, Header, Message
from apps.flags.domain import definition
from changeover import Resolution
from changeover import Snapshot as Compiled

CACHE_BYTES = 8 * 2**20
MOST_TAGS, LONGEST_TAGGED = 1_000, 1_024  # requests of which the tag is remembered, and their bytes
MISSING = "targetingKeyMissing"
NEEDED = "targetingKeyRequired"
# The codes that OFREP has. What goes wrong otherwise is GENERAL: a type that does not fit is the client's to say.
CODES = ("PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "FLAG_NOT_FOUND", "GENERAL")
STATUS = {"FLAG_NOT_FOUND": 404}
VARY: Header = (b"vary", b"Accept-Encoding, Authorization, X-API-Key")
PRIVATE: Header = (b"cache-control", b"private, no-cache")


@dataclass(frozen=True, slots=True)
class Form:
    """One form of the document, plain or compressed, and the messages of its answers, made once."""

    body: bytes
    etag: bytes
    start: Message
    rest: Message
    not_modified: Message


@dataclass(frozen=True, slots=True)
class Item:
    """An encoded answer for one flag. `counts`: whether it shows somebody a variant."""

    status: int
    body: bytes
    length: Header
    variant: str
    assigned_by: str
    reason: str
    counts: bool


class Held:
    def __init__(self, environment: str, version: int, body: bytes, at: float, previous: "Held | None" = None) -> None:
        """`at`: when it was published, in seconds since 1970."""
        self.environment = environment
        self.version = version
        self.at = at
        self.digest = definition.digest(body)
        tag = f"{environment}-{version}-{self.digest}"
        self.plain = form(body, f'"{tag}"'.encode())
        packed = gzip.compress(body, 6, mtime=0)
        self.packed = form(packed, f'"{tag}-gz"'.encode(), (b"content-encoding", b"gzip"))
        self.flags: Compiled = compiled(body, previous.flags if previous else None)
        self.keys = list(self.flags.flags)
        self.seed = hashlib.blake2b(f"{environment}\n{version}\n".encode(), digest_size=8)
        self.items: dict[tuple[str, int, bool], Item] = {}
        self.tags: dict[bytes, tuple[int, bytes]] = {}  # by request: the turn, and the tag of its answer then
        self.bulks: dict[bytes, bytes] = {}
        self.bulk_bytes = 0
        metadata = definition.encode(dict(self.flags.metadata))
        self.bulk_end = f'],"metadata":{metadata}}}'.encode()
        for key in self.keys[:1]:  # ready means that an evaluation has run
            self.answer(key, {}, at)
        self.reasons: Counter[str] = previous.reasons if previous else Counter()  # of all evaluations, ever growing

    @property
    def etag(self) -> bytes:
        return self.plain.etag

    def evaluate(self, key: str, context: dict[str, Any], now: float) -> Item:
        item = self.answer(key, context, now)
        self.reasons[item.reason] += 1
        return item

    def answer(self, key: str, context: dict[str, Any], now: float) -> Item:
        answer = self.flags.evaluate(key, context, now=now)
        missing = not context.get("targetingKey")
        if answer.index < 0:
            return encode(key, answer, missing)
        known = (key, answer.index, missing)
        item = self.items.get(known)
        if item is None:
            item = self.items[known] = encode(key, answer, missing)
        return item

    def evaluate_all(self, context: dict[str, Any], now: float) -> bytes:
        """The whole bulk answer; a broken flag is a failure among the others."""
        items = b",".join([self.evaluate(key, context, now).body for key in self.keys])
        return b'{"flags":[' + items + self.bulk_end

    def bulk_tag(self, body: bytes, turn: int) -> bytes:
        """Covers environment, version, the raw request, and the address of the event stream, which changes with the
        turn: a match needs no parsing."""
        known = self.tags.get(body)
        if known is not None and known[0] == turn:
            return known[1]
        digest = self.seed.copy()
        digest.update(b"%d\n" % turn)
        digest.update(body)
        return f'"{self.version}-{digest.hexdigest()}"'.encode()

    def remember_tag(self, body: bytes, turn: int, tag: bytes) -> None:
        """Of a request that comes again and again, as pollers do."""
        if len(body) <= LONGEST_TAGGED and self.tags.get(body) != (turn, tag):
            if len(self.tags) >= MOST_TAGS:
                self.tags.clear()
            self.tags[body] = (turn, tag)

    def remember_bulk(self, tag: bytes, answer: bytes) -> None:
        """Bounded in bytes, oldest first; dies with the version."""
        self.bulks[tag] = answer
        self.bulk_bytes += len(answer)
        while self.bulk_bytes > CACHE_BYTES and len(self.bulks) > 1:
            self.bulk_bytes -= len(self.bulks.pop(next(iter(self.bulks))))


class Document(msgspec.Struct):
    """Our own document, its flags left as they are written."""

    flags: dict[str, msgspec.Raw]
    metadata: dict[str, Any]


split = msgspec.json.Decoder(Document).decode


def compiled(body: bytes, previous: Compiled | None) -> Compiled:
    """Of 10,000 flags only those that changed are parsed: the others are known by their bytes."""
    try:
        document = split(body)
    except (msgspec.DecodeError, UnicodeDecodeError):  # it refuses a little that JSON allows: lone surrogates
        return Compiled.from_flagd(body, previous=previous)
    return Compiled.from_texts(document.flags, document.metadata, previous=previous)


def form(body: bytes, etag: bytes, *more: Header) -> Form:
    same: list[Header] = [(b"etag", etag), PRIVATE, VARY]
    length = (b"content-length", b"%d" % len(body))
    return Form(
        body,
        etag,
        start={"type": "http.response.start", "status": 200, "headers": [JSON_TYPE, length, *more, *same]},
        rest={"type": "http.response.body", "body": body},
        not_modified={"type": "http.response.start", "status": 304, "headers": same},
    )


def encode(key: str, answer: Resolution, missing: bool) -> Item:
    if missing and answer.metadata.get(NEEDED) is True and answer.error_code is None:
        return failure(key, "TARGETING_KEY_MISSING", "This flag needs a targetingKey.")
    if answer.error_code is not None:
        code = answer.error_code if answer.error_code in CODES else "GENERAL"
        return failure(key, code, answer.error_details or code)
    metadata: dict[str, Any] = dict(answer.metadata)
    if answer.assigned_by:
        metadata["assigned_by"] = answer.assigned_by
    if missing:
        metadata[MISSING] = True
    told: dict[str, Any] = {"key": key, "reason": answer.reason, "variant": answer.variant or "", "metadata": metadata}
    if answer.has_value:  # absent, never null: the caller's own default
        told["value"] = answer.value
    return item(200, told, answer.variant or "", answer.assigned_by or "", answer.reason, counts=True)


def failure(key: str, code: str, details: str) -> Item:
    return item(
        STATUS.get(code, 400), {"key": key, "errorCode": code, "errorDetails": details}, "", "", "ERROR", counts=False
    )


def item(status: int, told: Mapping[str, Any], variant: str, assigned_by: str, reason: str, *, counts: bool) -> Item:
    body = json.dumps(told, separators=(",", ":"), allow_nan=False).encode()
    return Item(status, body, (b"content-length", b"%d" % len(body)), variant, assigned_by, reason, counts)
