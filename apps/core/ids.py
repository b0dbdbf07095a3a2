"""Public ids: UUIDv7 as text (RFC 9562, 5.7), so that ids sort by the moment they were made."""

import os
import time
import uuid


def new_id() -> str:
    """48 bits of Unix milliseconds, then 74 random bits, in the usual 8-4-4-4-12 form."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return str(uuid.UUID(int=value))
