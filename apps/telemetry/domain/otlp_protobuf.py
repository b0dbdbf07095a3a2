"""OTLP as protobuf. Messages are walked, never turned into dictionaries: that would cost fifty times as much."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from apps.telemetry.domain import aliases
from apps.telemetry.domain.attributes import KEPT, places_of
from apps.telemetry.domain.batch import Unreadable
from apps.telemetry.domain.otlp import (
    MOST_ATTRIBUTES,
    MOST_DEPTH,
    MOST_SPANS,
    NO_ID,
    NO_NUMBER,
    TOO_MANY,
    TOO_WIDE,
    Attributes,
    Body,
    Event,
    Log,
    Point,
    Resource,
    Span,
    Told,
    clean,
    fault_of_buckets,
    id_of,
    identity,
    is_of_sdk,
)

NO_TRACE, NO_SPAN = "0" * 32, "0" * 16
KINDS = {"histogram": "explicit", "exponential_histogram": "exponential", "sum": "sum"}


def value_of(value: Any, depth: int = 0) -> Any:
    if text := value.string_value:  # nearly always; asking which kind it is costs more
        return clean(text)
    if number := value.int_value:
        return number
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return ""
    if kind == "array_value" and depth < MOST_DEPTH:
        return [value_of(one, depth + 1) for one in value.array_value.values]
    if kind == "kvlist_value" and depth < MOST_DEPTH:
        return {one.key: value_of(one.value, depth + 1) for one in value.kvlist_value.values}
    if kind in ("int_value", "double_value", "bool_value"):
        return getattr(value, kind)
    return None


def kept(pairs: Iterable[Any], names: frozenset[str]) -> Attributes:
    found = {}
    for number, pair in enumerate(pairs):
        key = pair.key
        if key in names:
            found[key] = value_of(pair.value)
        if number >= MOST_ATTRIBUTES:
            break
    return found


def told_of(pairs: Sequence[Any]) -> Told:
    """As `fields_of(kept(...))` would have it, without asking for each name again what it stands for."""
    looked_at = list(pairs)
    known = KEPT.get
    told = {}
    for place, field in places_of(tuple([known(pair.key) for pair in looked_at])):
        value = value_of(looked_at[place].value)
        if value is not None and value != "":
            told[field] = value
    return told


def identity_of(pairs: Iterable[Any]) -> str:
    return identity({pair.key: value_of(pair.value) for pair in pairs if not is_of_sdk(pair.key)})


def resource_of(message: Any, *, with_identity: bool = False) -> Resource:
    attributes = kept(message.resource.attributes, aliases.KEPT_OF_RESOURCE)
    return Resource(attributes, identity_of(message.resource.attributes) if with_identity else "")


def each(items: Sequence[Any], resource: Resource, body: Body) -> Sequence[Any]:
    """As many as are not too many. The others are a fault."""
    room = MOST_SPANS - body.seen
    body.seen += min(len(items), room)
    if len(items) <= room:
        return items
    body.fault(resource, TOO_MANY, len(items) - room)
    return items[:room]


def read_traces(raw: bytes) -> Body:
    request = parse(ExportTraceServiceRequest, raw)
    body = Body()
    for of_resource in request.resource_spans:
        resource = resource_of(of_resource)
        for of_scope in of_resource.scope_spans:
            scope = clean(of_scope.scope.name)
            for span in each(of_scope.spans, resource, body):
                trace_id, span_id, parent_id = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
                if len(trace_id) != 32 or len(span_id) != 16 or trace_id == NO_TRACE or span_id == NO_SPAN:
                    body.fault(resource, NO_ID)
                    continue
                if len(span.attributes) > MOST_ATTRIBUTES:
                    body.fault(resource, TOO_WIDE)
                    continue
                body.spans.append(
                    Span(
                        trace_id,
                        span_id,
                        "" if parent_id == NO_SPAN else parent_id,
                        span.start_time_unix_nano,
                        span.end_time_unix_nano,
                        span.status.code,
                        span.trace_state[:512],
                        told_of(span.attributes),
                        [
                            Event(
                                event.name, event.time_unix_nano, kept(event.attributes, aliases.KEPT_OF_EVENT)
                            )
                            for event in span.events
                            if event.name in aliases.EVENTS
                        ],
                        resource,
                        scope,
                    )
                )  # fmt: skip
    return body


def read_logs(raw: bytes) -> Body:
    request = parse(ExportLogsServiceRequest, raw)
    body = Body()
    for of_resource in request.resource_logs:
        resource = resource_of(of_resource)
        for of_scope in of_resource.scope_logs:
            scope = clean(of_scope.scope.name)
            for record in each(of_scope.log_records, resource, body):
                if len(record.attributes) > MOST_ATTRIBUTES:
                    body.fault(resource, TOO_WIDE)
                    continue
                name = record.event_name or next(
                    (pair.value.string_value for pair in record.attributes if pair.key == "event.name"), ""
                )
                if name == aliases.CALL_EVENT or name in aliases.FLAG_EVENTS:
                    body.logs.append(
                        Log(
                            id_of(record.trace_id.hex(), 32),
                            id_of(record.span_id.hex(), 16),
                            record.time_unix_nano or record.observed_time_unix_nano,
                            name,
                            told_of(record.attributes),
                            resource,
                            scope,
                        )
                    )
    return body


def read_metrics(raw: bytes) -> Body:
    request = parse(ExportMetricsServiceRequest, raw)
    body = Body()
    for of_resource in request.resource_metrics:
        resource = resource_of(of_resource, with_identity=True)
        for of_scope in of_resource.scope_metrics:
            scope = clean(of_scope.scope.name)
            for metric in of_scope.metrics:
                kind = metric.WhichOneof("data")
                if kind in KINDS:
                    data = getattr(metric, kind)
                    temporality = data.aggregation_temporality
                    for point in each(data.data_points, resource, body):
                        if not point.flags & 1:  # a point without a recorded value
                            body.points.append(point_of(metric, kind, temporality, point, resource, scope))
    return body


def point_of(metric: Any, kind: str, temporality: int, point: Any, resource: Resource, scope: str) -> Point:
    cells: dict[int, int] = {}
    scale = zero = 0
    bounds: tuple[float, ...] = ()
    fault = ""
    threshold, most, is_summed = 0.0, math.inf, True
    if kind == "sum":
        total = float(point.as_int if point.WhichOneof("value") == "as_int" else point.as_double)
        count = 0
    else:
        total, count, is_summed = point.sum, point.count, point.HasField("sum")
        if point.HasField("max"):
            most = point.max
        if kind == "histogram":
            cells = {number: n for number, n in enumerate(point.bucket_counts) if n}
            bounds = tuple(point.explicit_bounds)
            fault = fault_of_buckets(count, point.bucket_counts, bounds, cells)
        else:
            scale, zero, threshold = point.scale, point.zero_count, point.zero_threshold
            cells = {point.positive.offset + number: n for number, n in enumerate(point.positive.bucket_counts) if n}
            fault = "negative" if any(point.negative.bucket_counts) else ""
        if not (math.isfinite(point.min) and math.isfinite(point.max)):
            fault = NO_NUMBER
    return Point(
        clean(metric.name), metric.unit, KINDS[kind], temporality, point.start_time_unix_nano,
        point.time_unix_nano, count, total, cells, scale, zero, bounds, kept(point.attributes, aliases.KEPT_OF_POINT),
        identity_of(point.attributes), resource, scope, fault, threshold, most, is_summed,
    )  # fmt: skip


def parse(kind: Any, raw: bytes) -> Any:
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise Unreadable(f"broken protobuf: {error}"[:200]) from None
