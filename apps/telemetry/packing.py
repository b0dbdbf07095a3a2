"""Packed bodies: inflated no further than the limit, however much is in them."""

import zlib

from apps.core.asgi import TooLarge
from apps.telemetry.domain.batch import Unreadable

MOST_MEMBERS = 1_000  # each costs a copy of all that stand behind it


class UnknownEncoding(Exception):
    pass


def unpack(packed: bytes, encoding: bytes | None, limit: int) -> bytes:
    match (encoding or b"identity").strip().lower():
        case b"identity" | b"":
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
        if len(parts) == MOST_MEMBERS:
            raise Unreadable(f"more than {MOST_MEMBERS:,} gzip members")
        stream = zlib.decompressobj(bits)
        try:
            part = stream.decompress(packed, limit + 1 - size)
        except zlib.error as error:
            raise Unreadable(f"broken compression: {error}") from None
        size += len(part)
        if size > limit:
            raise TooLarge
        if not stream.eof:
            raise Unreadable("the compressed body ends too early")
        parts.append(part)
        packed = stream.unused_data  # gzip: one member may follow another
    return b"".join(parts)
