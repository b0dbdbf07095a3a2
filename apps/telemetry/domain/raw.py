"""Single calls, kept for some hours to be looked at: what a call said of itself, what it cost and by which rule.

The calls of some routes lie together, one after the other, compressed: a few dozen bytes a call. Nothing else reads
them; money, windows and judging have their own sums.
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
KEPT = ("route", "at", "variant", "arm", "provider", "model", "error", "snapshot", "assigned", "assigned_by", "tag",
        "id", "request_id", "attempt", "final", "pair_id", "latency_ms", "first_token_ms", "input_tokens",
        "cached_input_tokens", "output_tokens")  # fmt: skip
facts_of = attrgetter(*KEPT)
money_of = attrgetter("confirmed_nano", "estimated_nano", "rule")

Some = tuple[Sequence[Call], Sequence[Priced]]  # calls, and the price of each


class Pack(Struct, array_like=True):
    """`names` of the facts of each call, and of each its facts and its money."""

    names: list[str]
    facts: list[list[Any]]
    money: list[tuple[int, int, str]]


@dataclass(frozen=True, slots=True)
class RawCall:
    at: datetime
    facts: dict[str, Any]  # by the names of KEPT
    confirmed_nano: int
    estimated_nano: int
    rule: str

    @property
    def cost_nano(self) -> int:
        return self.confirmed_nano + self.estimated_nano


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Pack).decode


def pack(kept: Sequence[Some]) -> bytes:
    facts = [facts_of(call) for calls, _ in kept for call in calls]
    money = [money_of(price) for _, prices in kept for price in prices]
    packing = zlib.compressobj(COMPRESSION, zlib.DEFLATED, WINDOW_BITS, MEMORY_LEVEL)
    return packing.compress(_encode((KEPT, facts, money))) + packing.flush()


def unpack(body: bytes | memoryview, route: str) -> Iterable[RawCall]:
    """Those of the route."""
    packed = _decode(zlib.decompress(body))
    for own, (confirmed, estimated, rule) in zip(packed.facts, packed.money, strict=True):
        facts = dict(zip(packed.names, own, strict=True))
        if facts["route"] == route:
            yield RawCall(facts["at"], facts, confirmed, estimated, rule)
