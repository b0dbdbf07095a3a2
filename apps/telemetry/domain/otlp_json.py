"""OTLP as JSON. It differs from protobuf's own JSON: ids are hex, enums are numbers, 64-bit numbers are texts.

Spans, log records and points stay unread until their turn comes, so that a broken one costs itself; attribute values
until their key is found to be allowed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from apps.telemetry.domain import aliases
from apps.telemetry.domain.attributes import fields_of
from apps.telemetry.domain.batch import Unreadable
from apps.telemetry.domain.otlp import (
    MOST_ATTRIBUTES,
    MOST_DEPTH,
    MOST_SPANS,
    NO_ID,
    NO_NUMBER,
    TOO_MANY,
    TOO_WIDE,
    UNREADABLE,
    Attributes,
    Body,
    Event,
    Log,
    Point,
    Resource,
    Span,
    clean,
    fault_of_buckets,
    id_of,
    identity,
    is_finite,
    is_of_sdk,
)
from apps.telemetry.domain.otlp_messages import (
    Buckets,
    KeyValue,
    LogIn,
    Logs,
    MetricIn,
    Metrics,
    Number,
    PointIn,
    Real,
    ResourceIn,
    ScopeIn,
    SpanIn,
    Traces,
)

Request = TypeVar("Request", Traces, Logs, Metrics)
Item = TypeVar("Item")

ESCAPED = re.compile(rb"\\(u[dD][89abAB]..\\u[dD][c-fC-F]..|u[dD][89a-fA-F]..|.)", re.DOTALL)

as_span = msgspec.json.Decoder(SpanIn).decode
as_log = msgspec.json.Decoder(LogIn).decode
as_point = msgspec.json.Decoder(PointIn).decode


def parse(kind: type[Request], raw: bytes) -> Request:
    try:
        return decode(kind, raw)
    except msgspec.DecodeError:
        mended = ESCAPED.sub(whole_characters, raw)
    try:
        return decode(kind, mended)
    except msgspec.DecodeError as error:
        raise Unreadable(str(error)[:200]) from None


def decode(kind: type[Request], raw: bytes) -> Request:
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    except UnicodeDecodeError as error:
        raise Unreadable(str(error)[:200]) from None


def whole_characters(escape: re.Match[bytes]) -> bytes:
    """JavaScript cuts a text in the middle of a character, and writes the half that is left."""
    is_half = escape[1][:1] == b"u" and len(escape[1]) == 5
    return rb"\ufffd" if is_half else escape[0]


def each(items: Iterable[Raw] | None, read: Callable[[Raw], Item], resource: Resource, body: Body) -> Iterator[Item]:
    """One after the other, as far as they can be read and are not too many. What cannot be is a fault."""
    for item in items or ():
        if body.seen >= MOST_SPANS:
            body.fault(resource, TOO_MANY)
            continue
        body.seen += 1
        try:
            yield read(item)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            body.fault(resource, UNREADABLE)


def whole(number: Number) -> int:
    """64-bit numbers are texts, and some senders write them as numbers."""
    if isinstance(number, str):
        try:
            number = int(number)
        except ValueError:
            raise Unreadable("no whole number") from None
    if isinstance(number, float):
        if not number.is_integer():
            raise Unreadable("no whole number")
        number = int(number)
    if number and not -(2**63) <= number < 2**64:
        raise Unreadable("a whole number has 64 bits")
    return number or 0


def short(number: Number) -> int:
    """Of 32 bits."""
    found = whole(number)
    if not -(2**31) <= found < 2**32:
        raise Unreadable("a number has 32 bits")
    return found


def real(number: Real) -> float:
    if isinstance(number, str):
        try:
            return float(number)
        except ValueError:
            raise Unreadable(f"no number: {number[:40]!r}") from None
    return number or 0.0


def value_of(value: Any, depth: int = 0) -> Any:
    if not isinstance(value, dict) or depth >= MOST_DEPTH:
        return None
    for kind, held in value.items():
        if held is None:
            continue
        if kind == "stringValue" and isinstance(held, str):
            return clean(held.encode("utf-8", "replace").decode())
        if kind == "intValue":
            return whole(held)
        if kind == "doubleValue":
            return real(held)
        if kind == "boolValue":
            return bool(held)
        if kind == "arrayValue" and isinstance(held, dict):
            return [value_of(one, depth + 1) for one in held.get("values") or ()]
        if kind == "kvlistValue" and isinstance(held, dict):
            return {one.get("key", ""): value_of(one.get("value"), depth + 1) for one in held.get("values") or ()}
    return None


def decoded(value: Raw) -> Any:
    try:
        return value_of(msgspec.json.decode(value))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, AttributeError, TypeError):
        raise Unreadable("an attribute's value cannot be read") from None


def kept(pairs: Iterable[KeyValue] | None, names: frozenset[str]) -> Attributes:
    found = {}
    for number, pair in enumerate(pairs or ()):
        if pair.key in names:
            found[pair.key] = decoded(pair.value)
        if number >= MOST_ATTRIBUTES:
            break
    return found


def identity_of(pairs: Iterable[KeyValue] | None) -> str:
    return identity({pair.key: decoded(pair.value) for pair in pairs or () if not is_of_sdk(pair.key)})


def resource_of(resource: ResourceIn | None, *, with_identity: bool = False) -> Resource:
    pairs = resource.attributes if resource else None
    return Resource(kept(pairs, aliases.KEPT_OF_RESOURCE), identity_of(pairs) if with_identity else "")


def scope_of(scope: ScopeIn | None) -> str:
    return clean(scope.name) if scope and scope.name else ""


def read_traces(raw: bytes) -> Body:
    body = Body()
    for of_resource in parse(Traces, raw).resourceSpans or ():
        resource = resource_of(of_resource.resource)
        for of_scope in of_resource.scopeSpans or ():
            scope = scope_of(of_scope.scope)
            for span in each(of_scope.spans, as_span, resource, body):
                trace_id, span_id = id_of(span.traceId or "", 32), id_of(span.spanId or "", 16)
                if not trace_id or not span_id:
                    body.fault(resource, NO_ID)
                    continue
                if len(span.attributes or ()) > MOST_ATTRIBUTES:
                    body.fault(resource, TOO_WIDE)
                    continue
                try:
                    body.spans.append(span_of(span, trace_id, span_id, resource, scope))
                except Unreadable:
                    body.fault(resource, UNREADABLE)
    return body


def span_of(span: SpanIn, trace_id: str, span_id: str, resource: Resource, scope: str) -> Span:
    events = [
        Event(event.name, whole(event.timeUnixNano), kept(event.attributes, aliases.KEPT_OF_EVENT))
        for event in span.events or ()
        if event.name in aliases.EVENTS
    ]
    return Span(
        trace_id, span_id, id_of(span.parentSpanId or "", 16), whole(span.startTimeUnixNano),
        whole(span.endTimeUnixNano), (span.status.code or 0) if span.status else 0, (span.traceState or "")[:512],
        fields_of(kept(span.attributes, aliases.KEPT)), events, resource, scope,
    )  # fmt: skip


def read_logs(raw: bytes) -> Body:
    body = Body()
    for of_resource in parse(Logs, raw).resourceLogs or ():
        resource = resource_of(of_resource.resource)
        for of_scope in of_resource.scopeLogs or ():
            scope = scope_of(of_scope.scope)
            for record in each(of_scope.logRecords, as_log, resource, body):
                if len(record.attributes or ()) > MOST_ATTRIBUTES:
                    body.fault(resource, TOO_WIDE)
                    continue
                try:
                    name = record.eventName or kept(record.attributes, NAME).get("event.name")
                    if name == aliases.CALL_EVENT or name in aliases.FLAG_EVENTS:
                        at = whole(record.timeUnixNano) or whole(record.observedTimeUnixNano)
                        told = fields_of(kept(record.attributes, aliases.KEPT))
                        trace_id, span_id = id_of(record.traceId or "", 32), id_of(record.spanId or "", 16)
                        body.logs.append(Log(trace_id, span_id, at, name, told, resource, scope))
                except Unreadable:
                    body.fault(resource, UNREADABLE)
    return body


NAME = frozenset({"event.name"})


def read_metrics(raw: bytes) -> Body:
    body = Body()
    for of_resource in parse(Metrics, raw).resourceMetrics or ():
        resource = resource_of(of_resource.resource, with_identity=True)
        for of_scope in of_resource.scopeMetrics or ():
            scope = scope_of(of_scope.scope)
            for metric in of_scope.metrics or ():
                kinds = (("sum", metric.sum), ("explicit", metric.histogram),
                         ("exponential", metric.exponentialHistogram))  # fmt: skip
                for kind, data in kinds:
                    told = data.aggregationTemporality if data else None
                    temporality = told if isinstance(told, int) else 0
                    for point in each(data.dataPoints, as_point, resource, body) if data else ():
                        try:
                            if not short(point.flags) & 1:  # a point without a recorded value
                                body.points.append(point_of(metric, kind, temporality, point, resource, scope))
                        except Unreadable:
                            body.fault(resource, UNREADABLE)
    return body


def point_of(metric: MetricIn, kind: str, temporality: int, point: PointIn, resource: Resource, scope: str) -> Point:
    cells: dict[int, int] = {}
    scale = zero = 0
    bounds: tuple[float, ...] = ()
    fault = ""
    total, count = real(point.sum), whole(point.count)
    if kind == "sum":
        total, count = float(whole(point.asInt)) if point.asInt is not None else real(point.asDouble), 0
    elif kind == "explicit":
        cells = {number: n for number, one in enumerate(point.bucketCounts or ()) if (n := whole(one))}
        bounds = tuple(real(bound) for bound in point.explicitBounds or ())
        fault = fault_of_buckets(count, point.bucketCounts or (), bounds, cells)
    else:
        scale, zero = short(point.scale), whole(point.zeroCount)
        positive, negative = point.positive or Buckets(), point.negative or Buckets()
        offset = short(positive.offset)
        cells = {offset + number: n for number, one in enumerate(positive.bucketCounts or ()) if (n := whole(one))}
        fault = "negative" if any(whole(one) for one in negative.bucketCounts or ()) else ""
    if not (is_finite(real(point.min)) and is_finite(real(point.max))):
        fault = NO_NUMBER
    return Point(
        clean(metric.name or ""), metric.unit or "", kind, temporality, whole(point.startTimeUnixNano),
        whole(point.timeUnixNano), count, total, cells, scale, zero, bounds,
        kept(point.attributes, aliases.KEPT_OF_POINT), identity_of(point.attributes), resource, scope, fault,
        real(point.zeroThreshold), math.inf if point.max is None else real(point.max),
        kind == "sum" or point.sum is not None,
    )  # fmt: skip
