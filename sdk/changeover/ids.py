"""Ids that sort by the time they were made (UUIDv7): of requests, calls and batches."""

from __future__ import annotations

import os
import time
import uuid


def new_id() -> str:
    milliseconds = time.time_ns() // 1_000_000
    number = (milliseconds & (2**48 - 1)) << 80 | int.from_bytes(os.urandom(10), "big")
    number = number & ~(0xF << 76) | 0x7 << 76  # version
    number = number & ~(0x3 << 62) | 0x2 << 62  # variant
    return str(uuid.UUID(int=number))
