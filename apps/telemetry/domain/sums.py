"""The sums that a commit group leaves behind: one of each per key. Adding two of one key in any order is the same."""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct, field

from apps.telemetry.domain.histogram import Histogram


class WindowKey(NamedTuple):
    environment: str
    route: str
    variant: str
    arm: str
    starts_at: int  # seconds, as all moments here


class WindowSum(Struct, array_like=True, gc=False):
    """Calls that ended in a window."""

    calls: int = 0
    errors: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    confirmed_nano: int = 0
    estimated_nano: int = 0
    unpriced: int = 0
    late: int = 0
    coarse: int = 0  # calls whose latency nobody told finely enough
    latency: Histogram = field(default_factory=Histogram)

    def add(self, other: WindowSum) -> None:
        self.calls += other.calls
        self.errors += other.errors
        self.input_tokens += other.input_tokens
        self.cached_input_tokens += other.cached_input_tokens
        self.output_tokens += other.output_tokens
        self.confirmed_nano += other.confirmed_nano
        self.estimated_nano += other.estimated_nano
        self.unpriced += other.unpriced
        self.late += other.late
        self.coarse += other.coarse
        self.latency.merge(other.latency)


class RequestKey(NamedTuple):
    environment: str
    route: str
    trial: str
    split: int
    assigned: str
    arm: str
    assigned_by: str
    starts_at: int


class RequestSum(Struct, array_like=True, gc=False):
    """Requests that ended in a window. Latencies are those of answered requests: a failed one is above every mark."""

    requests: int = 0
    errors: int = 0
    unfinal: int = 0
    attempts: int = 0
    cost_nano: int = 0  # confirmed and estimated, of the requests that have a price
    estimated_nano: int = 0
    unpriced: int = 0
    unnamed: int = 0
    first_at: float = float("inf")
    last_at: float = float("-inf")
    latency: Histogram = field(default_factory=Histogram)
    cost: Histogram = field(default_factory=Histogram)

    def add(self, other: RequestSum) -> None:
        self.requests += other.requests
        self.errors += other.errors
        self.unfinal += other.unfinal
        self.attempts += other.attempts
        self.cost_nano += other.cost_nano
        self.estimated_nano += other.estimated_nano
        self.unpriced += other.unpriced
        self.unnamed += other.unnamed
        self.first_at = min(self.first_at, other.first_at)
        self.last_at = max(self.last_at, other.last_at)
        self.latency.merge(other.latency)
        self.cost.merge(other.cost)


class OutcomeKey(NamedTuple):
    environment: str
    route: str
    trial: str
    split: int
    variant: str
    assigned: str
    arm: str
    assigned_by: str
    name: str
    starts_at: int


class OutcomeSum(Struct, array_like=True, gc=False):
    count: int = 0
    ones: int = 0
    zeros: int = 0
    total: float = 0.0

    def add(self, other: OutcomeSum) -> None:
        self.count += other.count
        self.ones += other.ones
        self.zeros += other.zeros
        self.total += other.total


class Sums(Struct, array_like=True):
    """All that is not money of one commit group, or of several."""

    windows: dict[WindowKey, WindowSum] = {}
    requests: dict[RequestKey, RequestSum] = {}
    outcomes: dict[OutcomeKey, OutcomeSum] = {}

    def add(self, other: Sums) -> None:
        """Takes over the other's sums: nobody may go on with them."""
        add_each(self.windows, other.windows)
        add_each(self.requests, other.requests)
        add_each(self.outcomes, other.outcomes)

    def pack(self) -> bytes:
        return zlib.compress(_encode([list(part.items()) for part in (self.windows, self.requests, self.outcomes)]), 1)

    @classmethod
    def unpack(cls, packed: bytes | memoryview) -> Sums:
        return cls(*map(dict, _decode(zlib.decompress(packed))))


def add_each(mine: dict[Any, Any], others: dict[Any, Any]) -> None:
    for key, sums in others.items():
        known = mine.get(key)
        if known is None:
            mine[key] = sums
        else:
            known.add(sums)


Packed = tuple[
    list[tuple[WindowKey, WindowSum]], list[tuple[RequestKey, RequestSum]], list[tuple[OutcomeKey, OutcomeSum]]
]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Packed).decode


class LedgerKey(NamedTuple):
    minute: int
    environment: str
    route: str
    variant: str
    provider: str
    model: str
    owner: str
    arm: str
    trial: str
    tag: str
    rule: str
    rate: str = ""


class LedgerSum(Struct, gc=False):
    calls: int = 0
    confirmed_nano: int = 0
    estimated_nano: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0

    def add(self, other: LedgerSum, sign: int = 1) -> None:
        """With the sign -1 it is taken back."""
        self.calls += sign * other.calls
        self.confirmed_nano += sign * other.confirmed_nano
        self.estimated_nano += sign * other.estimated_nano
        self.unpriced += sign * other.unpriced
        self.input_tokens += sign * other.input_tokens
        self.cached_input_tokens += sign * other.cached_input_tokens
        self.output_tokens += sign * other.output_tokens
        self.cache_write_tokens += sign * other.cache_write_tokens
        self.cache_write_1h_tokens += sign * other.cache_write_1h_tokens

    @property
    def says_something(self) -> bool:
        """Not so where a line and its taking back met in one commit group."""
        return any((self.calls, self.confirmed_nano, self.estimated_nano, self.unpriced, self.input_tokens,
                    self.output_tokens))  # fmt: skip
