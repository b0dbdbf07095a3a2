"""Single calls, kept for some hours to be looked at: what a call said of itself, what it cost and by which rule.

Like calls lie together, what they share once and their own numbers in columns: a few dozen bytes a call. Nothing else
reads them; money, windows and judging have their own sums.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Struct

from apps.telemetry.domain.batch import Call
from apps.telemetry.domain.pricing import Priced

COMPRESSION = 1  # the others cost more time than their bytes are worth
# A body has a few hundred bytes: clearing the tables of the usual window takes ten times as long as packing them.
WINDOW_BITS, MEMORY_LEVEL = 12, 6
SHARED = ("variant", "arm", "provider", "model", "error", "snapshot", "assigned", "assigned_by", "tag")
OWN = ("id", "request_id", "attempt", "final", "pair_id", "latency_ms", "first_token_ms", "input_tokens",
       "cached_input_tokens", "output_tokens")  # fmt: skip
shared_of = attrgetter(*SHARED)
columns_of = [attrgetter(name) for name in OWN]


class Pack(Struct, array_like=True):
    """Calls of one route. `columns` in the order of OWN; moments in seconds, money in nano-USD."""

    shared: list[Any]
    rule: str
    began: list[float]
    confirmed: list[int]
    estimated: list[int]
    columns: list[list[Any]]


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


def pack_of(calls: Sequence[Call], prices: Sequence[Priced]) -> Pack:
    """Of calls that share a variant, a model, an error and the rule of their price."""
    return Pack(
        list(shared_of(calls[0])),
        prices[0].rule,
        [call.at.timestamp() for call in calls],
        [price.confirmed_nano for price in prices],
        [price.estimated_nano for price in prices],
        [list(map(of_call, calls)) for of_call in columns_of],
    )


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Pack]).decode


def pack(packs: list[Pack]) -> bytes:
    packing = zlib.compressobj(COMPRESSION, zlib.DEFLATED, WINDOW_BITS, MEMORY_LEVEL)
    return packing.compress(_encode(packs)) + packing.flush()


def unpack(body: bytes | memoryview) -> Iterable[RawCall]:
    for packed in _decode(zlib.decompress(body)):
        shared = dict(zip(SHARED, packed.shared, strict=True))
        money = zip(packed.began, packed.confirmed, packed.estimated, strict=True)
        for (began, confirmed, estimated), own in zip(money, zip(*packed.columns, strict=True), strict=True):
            facts = shared | dict(zip(OWN, own, strict=True))
            yield RawCall(datetime.fromtimestamp(began, UTC), facts, confirmed, estimated, packed.rule)
