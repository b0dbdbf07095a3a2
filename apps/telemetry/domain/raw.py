"""Single calls, kept for some hours to be looked at: what a call said of itself, what it cost and by which rule.

Like calls lie together, what they share once, compressed: two dozen bytes a call. Nothing else reads them; money,
windows and judging have their own sums.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Struct

from apps.telemetry.domain.batch import Call
from apps.telemetry.domain.pricing import Priced

COMPRESSION = 1  # the others cost more time than their bytes are worth
# A body has some thousand bytes: clearing the tables of the usual window takes longer than packing them.
WINDOW_BITS, MEMORY_LEVEL = 13, 6
SHARED = ("route", "variant", "arm", "provider", "model", "error", "snapshot", "assigned", "assigned_by", "tag")
OWN = ("id", "at", "request_id", "attempt", "final", "pair_id", "latency_ms", "first_token_ms", "input_tokens",
       "cached_input_tokens", "output_tokens")  # fmt: skip
shared_of, own_of = attrgetter(*SHARED), attrgetter(*OWN)
money_of = attrgetter("confirmed_nano", "estimated_nano")

Alike = tuple[Sequence[Call], Sequence[Priced]]  # calls that share a rule too, and the price of each


class Of(Struct, array_like=True):
    """Like calls: the facts that they share, the rule, and of each its own facts and its money."""

    shared: list[Any]
    rule: str
    own: list[list[Any]]
    money: list[tuple[int, int]]


class Pack(Struct, array_like=True):
    shared: list[str]  # the names of the facts
    own: list[str]
    parts: list[Of]


@dataclass(frozen=True, slots=True)
class RawCall:
    at: datetime
    facts: dict[str, Any]  # by the names of SHARED and OWN
    confirmed_nano: int
    estimated_nano: int
    rule: str

    @property
    def cost_nano(self) -> int:
        return self.confirmed_nano + self.estimated_nano


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Pack).decode


def pack(kept: Sequence[Alike]) -> bytes:
    parts = [
        (shared_of(calls[0]), prices[0].rule, [own_of(call) for call in calls], [money_of(price) for price in prices])
        for calls, prices in kept
    ]
    packing = zlib.compressobj(COMPRESSION, zlib.DEFLATED, WINDOW_BITS, MEMORY_LEVEL)
    return packing.compress(_encode((SHARED, OWN, parts))) + packing.flush()


def named(routes: Iterable[str]) -> str:
    """So that a row is found by one of its routes: each between two line ends."""
    return "\n".join(["", *sorted(routes), ""])


def unpack(body: bytes | memoryview, route: str) -> Iterable[RawCall]:
    """Those of the route."""
    packed = _decode(zlib.decompress(body))
    for part in packed.parts:
        shared = dict(zip(packed.shared, part.shared, strict=True))
        if shared["route"] == route:
            for own, (confirmed, estimated) in zip(part.own, part.money, strict=True):
                facts = shared | dict(zip(packed.own, own, strict=True))
                yield RawCall(facts["at"], facts, confirmed, estimated, part.rule)
