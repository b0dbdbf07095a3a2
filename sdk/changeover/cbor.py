"""Canonical CBOR of JSON values: what the third bucketing algorithm hashes.

Whole floats become integers first, so that `7` and `7.0` land in the same bucket; other floats take their shortest
exact form; maps are sorted by length of the encoded key, then by its bytes. A value that has no form raises ValueError.
"""

from __future__ import annotations

import math
import struct
from typing import Any

_LEAST, _MOST = -(2**63), 2**64 - 1


def head(major: int, number: int) -> bytes:
    """The first bytes of an item: its major type and its number, length or value."""
    kind = major << 5
    if number < 24:
        return bytes((kind | number,))
    for more, width in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * width:
            return bytes((kind | more,)) + number.to_bytes(width, "big")
    raise ValueError("too long for CBOR")


def encode(value: Any) -> bytes:
    if isinstance(value, str):
        data = value.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
        return head(3, len(data)) + data
    if value is True:
        return b"\xf5"
    if value is False:
        return b"\xf4"
    if value is None:
        return b"\xf6"
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, (list, tuple)):
        return head(4, len(value)) + b"".join(map(encode, value))
    if isinstance(value, dict):
        items = sorted(((encode(key), encode(item)) for key, item in value.items()), key=lambda i: (len(i[0]), i[0]))
        return head(5, len(items)) + b"".join(key + item for key, item in items)
    raise ValueError(f"{type(value).__name__} has no canonical form")


def _integer(value: int) -> bytes:
    major, number = (0, value) if value >= 0 else (1, -1 - value)
    if number <= _MOST:
        return head(major, number)
    data = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return head(6, 2 + major) + head(2, len(data)) + data


def _float(value: float) -> bytes:
    if math.isnan(value):
        return b"\xf9\x7e\x00"
    if value.is_integer() and _LEAST <= value <= _MOST:
        return _integer(int(value))
    for first, form in ((b"\xf9", ">e"), (b"\xfa", ">f")):
        try:
            data = struct.pack(form, value)
        except OverflowError:
            continue
        if struct.unpack(form, data)[0] == value:
            return first + data
    return b"\xfb" + struct.pack(">d", value)
