"""What an OTLP body holds, whatever it was encoded in: only what the table of names allows.

Decoding never builds what is not kept. A span or point that cannot be read is a fault and costs itself; a body that
cannot be read at all is Unreadable.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sized
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from apps.telemetry.domain import aliases

MOST_SPANS = 50_000  # or log records, or points
MOST_ATTRIBUTES = 4_096  # of one span: instrumentations give each message its own; only allowed ones are kept
MOST_DEPTH = 16
MOST_TEXT = 8_192  # characters of a value that is kept

TOO_MANY, UNREADABLE, NO_ID, TOO_WIDE = "too_many", "unreadable_value", "no_id", "too_many_attributes"  # faults
NO_NUMBER, NO_BOUNDS, OTHER_COUNT = "no_number", "no_bounds", "count_is_not_its_buckets"  # of points

Attributes = dict[str, Any]
Told = dict[str, Any]  # by our own names; texts in which numbers are packed stand under their sender's


@dataclass(slots=True)
class Resource:
    attributes: Attributes = field(default_factory=dict)
    identity: str = ""  # all attributes but those of the SDK, for metric streams
    told: dict[str, str] = field(init=False)  # by our own names; empty for what it does not tell

    def __post_init__(self) -> None:
        self.told = {name: self.first(senders) for name, senders in aliases.RESOURCE.items()}

    def first(self, names: tuple[str, ...]) -> str:
        """The value of the newest name that has one."""
        values = map(self.attributes.get, names)
        return next((value for value in values if isinstance(value, str) and value), "")


class Event(Struct, gc=False):
    name: str
    at: int  # nanoseconds
    attributes: Attributes


class Span(Struct, gc=False):
    trace_id: str
    span_id: str
    parent_id: str
    begin: int  # nanoseconds
    end: int
    status: int
    trace_state: str
    told: Told
    events: list[Event]
    resource: Resource
    scope: str


class Log(Struct, gc=False):
    trace_id: str
    span_id: str
    at: int
    name: str
    told: Told
    resource: Resource
    scope: str


@dataclass(slots=True)
class Point:
    metric: str
    unit: str
    kind: str  # sum, explicit, exponential
    temporality: int  # 1 delta, 2 cumulative
    begin: int
    at: int
    count: int
    total: float
    cells: dict[int, int]  # explicit: by number of the bucket
    scale: int
    zero: int
    bounds: tuple[float, ...]
    attributes: Attributes
    identity: str
    resource: Resource
    scope: str
    fault: str = ""
    zero_threshold: float = 0.0  # exponential: values up to this are counted as zero
    most: float = math.inf  # the largest value, where the sender tells it
    is_summed: bool = True  # does the sender tell the sum?
    ahead: int = 0  # by how much its sender's clock is

    @property
    def counted_at(self) -> int:
        """By our clock. A stream is read by its sender's."""
        return self.at - self.ahead


@dataclass(slots=True)
class Body:
    spans: list[Span] = field(default_factory=list)
    logs: list[Log] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    faults: dict[tuple[str, str], int] = field(default_factory=dict)  # (service, reason) -> how many
    seen: int = 0

    def fault(self, resource: Resource, reason: str, n: int = 1) -> None:
        key = (str(resource.attributes.get("service.name", ""))[:128], reason)
        self.faults[key] = self.faults.get(key, 0) + n

    @property
    def rejected(self) -> int:
        return sum(self.faults.values())


def fault_of_buckets(count: int, buckets: Sized, bounds: Sized, cells: Sized) -> str:
    """Explicit buckets may be left out. Else there is one more than there are bounds, and they hold what was counted.

    `cells`: the buckets that hold something. Whether they hold the count is asked where the point's meaning is known.
    """
    if not buckets:
        return ""
    if len(buckets) != len(bounds) + 1:
        return NO_BOUNDS
    return OTHER_COUNT if count and not cells else ""


def is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number that no float can hold
        return False


def clean(text: str) -> str:
    """As every database takes it."""
    if "\0" in text:
        text = text.replace("\0", "")
    return text[:MOST_TEXT]


def is_of_sdk(name: str) -> bool:
    return name.startswith("telemetry.sdk.")


def identity(attributes: Attributes) -> str:
    """All attributes, in one order and one spelling."""
    return json.dumps(attributes, default=str, sort_keys=True)


HEX = frozenset("0123456789abcdef")


def id_of(text: str, length: int) -> str:
    """A trace's or span's id in lower case; empty where it is none."""
    text = text.lower()
    return text if len(text) == length and HEX.issuperset(text) and text.strip("0") else ""
