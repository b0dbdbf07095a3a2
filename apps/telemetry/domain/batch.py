"""A native batch, from bytes to plain values.

The fast way decodes and checks the whole batch at once. If that fails the batch is read once more, call by call: a
broken call costs itself, never its batch. Only what cannot be read at all is Unreadable, with the place of the fault.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

BACK = timedelta(hours=48)
AHEAD = timedelta(minutes=5)
MAX_COST_USD = Decimal(1_000_000)
MOST_DIGITS = 1_000

Id = Annotated[str, Meta(min_length=1, max_length=200)]
RouteName = Annotated[str, Meta(min_length=1, max_length=512)]
Name = Annotated[str, Meta(max_length=128)]
Moment = Annotated[datetime, Meta(tz=True)]
Milliseconds = Annotated[float, Meta(ge=0, le=86_400_000)]
Tokens = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Version = Annotated[int, Meta(ge=0, le=2_147_483_647)]
Number = Annotated[int, Meta(ge=0, le=2_147_483_647)]
Arm = Literal["live", "shadow"]
TokensSource = Literal["reported", "counted", "estimated"]  # by the provider; by the sender's tokenizer; by guessing
AssignedBy = Literal["split", "rule", "default", "fallback"]


class Call(Struct, gc=False):
    """One attempt at one provider. `at` is when it began. Null tokens are unknown, 0 is zero."""

    id: Id
    at: Moment
    route: RouteName
    latency_ms: Milliseconds
    variant: Name | None = None
    provider: Name | None = None
    model: Annotated[str, Meta(max_length=200)] | None = None
    request_id: Annotated[str, Meta(max_length=200)] | None = None
    attempt: Number | None = None
    first_token_ms: Milliseconds | None = None
    input_tokens: Tokens | None = None
    cached_input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    cache_write_tokens: Tokens | None = None  # parts of the input, as the cached ones
    cache_write_1h_tokens: Tokens | None = None  # and of those that were written
    output_chars: Tokens | None = None  # streamed before it broke off
    tokens_source: TokensSource | None = None
    service_tier: Name | None = None
    cost_usd: Decimal | None = None
    error: Name | None = None
    arm: Arm | None = None
    pair_id: Annotated[str, Meta(max_length=200)] | None = None
    final: bool | None = None
    snapshot: Version | None = None
    assigned: Name | None = None
    assigned_by: AssignedBy | None = None
    tag: Name | None = None


class Outcome(Struct, gc=False):
    """What a request led to, told later: a handoff, a grade, a click."""

    id: Id
    at: Moment
    route: RouteName
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    value: Annotated[float, Meta(ge=-1e15, le=1e15)]
    variant: Name | None = None
    request_id: Annotated[str, Meta(max_length=200)] | None = None
    arm: Arm | None = None
    snapshot: Version | None = None
    assigned: Name | None = None
    assigned_by: AssignedBy | None = None


class Client(Struct):
    name: Annotated[str, Meta(min_length=1, max_length=128)]
    sdk: Name = ""
    snapshot: Version | None = None


class Exposure(Struct):
    """How many evaluations of a minute gave this variant."""

    flag: RouteName
    variant: Name
    minute: Moment
    count: Annotated[int, Meta(ge=1, le=1_000_000_000)]
    snapshot: Version = 0
    assigned_by: Name | None = None
    subjects: list[Annotated[str, Meta(max_length=200)]] = []


class Rejected(Struct):
    """A call or an outcome that was not taken, and why."""

    id: str
    reason: str


class Wire(Struct):
    batch_id: Id
    calls: list[Call] = []
    outcomes: list[Outcome] = []
    client: Client | None = None
    exposures: list[Exposure] = []


class Envelope(Struct):
    """The same, with its parts unread."""

    batch_id: Id
    calls: list[Any] = []
    outcomes: list[Any] = []
    client: Any = None
    exposures: list[Any] = []


@dataclass(slots=True)
class Batch:
    batch_id: str
    calls: list[Call]
    outcomes: list[Outcome]
    client: Client | None
    exposures: list[Exposure]
    rejected: list[Rejected] = field(default_factory=list)
    rejected_outcomes: list[Rejected] = field(default_factory=list)


class Unreadable(ValueError):
    """The batch as a whole. The text names the place of the fault."""


_decode = msgspec.json.Decoder(Wire).decode
Part = TypeVar("Part", Call, Outcome, Exposure, Client)


def read(body: bytes, now: datetime) -> Batch:
    try:
        if b"\\u0000" in body:  # PostgreSQL stores no such text: one string of this kind must not cost its batch
            raise msgspec.ValidationError("a text contains a zero character")
        wire = _decode(body)
        batch = Batch(wire.batch_id, wire.calls, wire.outcomes, wire.client, wire.exposures)
    except (msgspec.DecodeError, UnicodeDecodeError):
        batch = read_part_by_part(body)
    check_each(batch, now)
    return batch


def read_part_by_part(body: bytes) -> Batch:
    try:
        loose = json.loads(body, parse_int=whole_number)  # takes NaN, which msgspec refuses with the whole body
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    except ValueError as error:
        raise Unreadable(str(error)) from None
    try:
        envelope = msgspec.convert(loose, Envelope)
    except msgspec.ValidationError as error:
        raise Unreadable(str(error)) from None
    if not is_storable(envelope.batch_id):
        raise Unreadable("a text that cannot be stored - at `$.batch_id`")
    rejected: list[Rejected] = []
    rejected_outcomes: list[Rejected] = []
    clients = keep([] if envelope.client is None else [envelope.client], Client, [])
    return Batch(
        batch_id=envelope.batch_id,
        calls=keep(envelope.calls, Call, rejected),
        outcomes=keep(envelope.outcomes, Outcome, rejected_outcomes),
        client=clients[0] if clients else None,
        exposures=keep(envelope.exposures, Exposure, []),
        rejected=rejected,
        rejected_outcomes=rejected_outcomes,
    )


def whole_number(digits: str) -> int | float:
    """One that is too long to be read is too large for any field: its call is told so, and not its batch."""
    return int(digits) if len(digits) < MOST_DIGITS else float("inf")


def keep(parts: list[Any], kind: type[Part], rejected: list[Rejected]) -> list[Part]:
    kept = []
    for part in parts:
        try:
            whole = msgspec.convert(part, kind)
        except msgspec.ValidationError as error:
            rejected.append(Rejected(name_of(part), str(error)))
            continue
        if all(is_storable(value) for value in msgspec.structs.astuple(whole) if isinstance(value, str)):
            kept.append(whole)
        else:
            rejected.append(Rejected(name_of(part), "a text contains a character that cannot be stored"))
    return kept


def name_of(part: Any) -> str:
    """The id that the sender gave, as far as it gave one that can be told back."""
    name = part.get("id") if isinstance(part, dict) else None
    return name[:200].encode("utf-8", "replace").decode() if isinstance(name, str) else ""


def is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return "\0" not in text


def check_each(batch: Batch, now: datetime) -> None:
    """What the types cannot say: moments near now, costs that are amounts of money."""
    earliest, latest = now - BACK, now + AHEAD
    if not all([earliest <= call.at <= latest and call.cost_usd is None for call in batch.calls]):
        batch.calls = sift(batch.calls, lambda call: fault_of_call(call, earliest, latest), batch.rejected)
    batch.outcomes = sift(
        batch.outcomes, lambda outcome: fault_of_moment(outcome.at, earliest, latest), batch.rejected_outcomes
    )


Item = TypeVar("Item", Call, Outcome)


def sift(items: list[Item], fault_of: Callable[[Item], str | None], rejected: list[Rejected]) -> list[Item]:
    kept = []
    for item in items:
        fault = fault_of(item)
        if fault is None:
            kept.append(item)
        else:
            rejected.append(Rejected(item.id, fault))
    return kept


def fault_of_call(call: Call, earliest: datetime, latest: datetime) -> str | None:
    if not earliest <= call.at <= latest:
        return fault_of_moment(call.at, earliest, latest)
    cost = call.cost_usd
    if cost is not None and not (cost.is_finite() and 0 <= cost <= MAX_COST_USD):
        return f"cost_usd is no amount of money: {cost}"[:100]
    return None


def fault_of_moment(at: datetime, earliest: datetime, latest: datetime) -> str | None:
    if at < earliest:
        return "at is more than 48 hours back"
    if at > latest:
        return "at is more than 5 minutes ahead"
    return None
