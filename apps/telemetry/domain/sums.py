"""The sums that a commit group leaves behind: one of each per key. Adding two of one key in any order is the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec import Struct

from apps.telemetry.domain.histogram import Histogram


class WindowKey(NamedTuple):
    environment: str
    route: str
    variant: str
    arm: str
    starts_at: int  # seconds, as all moments here


@dataclass(slots=True)
class WindowSum:
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


class RequestKey(NamedTuple):
    environment: str
    route: str
    trial: str
    split: int
    assigned: str
    arm: str
    assigned_by: str
    starts_at: int


@dataclass(slots=True)
class RequestSum:
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


@dataclass(slots=True)
class OutcomeSum:
    count: int = 0
    ones: int = 0
    zeros: int = 0
    total: float = 0.0


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
