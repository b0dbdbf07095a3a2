"""The messages of OTLP as JSON, as far as they are read. All may be left out, or be null."""

from __future__ import annotations

from msgspec import Raw, Struct

Number = int | float | str | None
Real = float | str | None
NULL = Raw(b"null")


class KeyValue(Struct, gc=False):
    key: str = ""
    value: Raw = NULL


class ResourceIn(Struct):
    attributes: list[KeyValue] | None = None


class ScopeIn(Struct):
    name: str | None = None


class StatusIn(Struct):
    code: int | None = None


class EventIn(Struct):
    name: str | None = None
    timeUnixNano: Number = None
    attributes: list[KeyValue] | None = None


class SpanIn(Struct):
    traceId: str | None = None
    spanId: str | None = None
    parentSpanId: str | None = None
    startTimeUnixNano: Number = None
    endTimeUnixNano: Number = None
    traceState: str | None = None
    status: StatusIn | None = None
    attributes: list[KeyValue] | None = None
    events: list[EventIn] | None = None


class ScopeSpans(Struct):
    scope: ScopeIn | None = None
    spans: list[Raw] | None = None  # SpanIn


class ResourceSpans(Struct):
    resource: ResourceIn | None = None
    scopeSpans: list[ScopeSpans] | None = None


class Traces(Struct):
    resourceSpans: list[ResourceSpans] | None = None


class LogIn(Struct):
    traceId: str | None = None
    spanId: str | None = None
    timeUnixNano: Number = None
    observedTimeUnixNano: Number = None
    eventName: str | None = None
    attributes: list[KeyValue] | None = None


class ScopeLogs(Struct):
    scope: ScopeIn | None = None
    logRecords: list[Raw] | None = None  # LogIn


class ResourceLogs(Struct):
    resource: ResourceIn | None = None
    scopeLogs: list[ScopeLogs] | None = None


class Logs(Struct):
    resourceLogs: list[ResourceLogs] | None = None


class Buckets(Struct):
    offset: Number = None
    bucketCounts: list[Number] | None = None


class PointIn(Struct):
    startTimeUnixNano: Number = None
    timeUnixNano: Number = None
    count: Number = None
    sum: Real = None
    asInt: Number = None
    asDouble: Real = None
    bucketCounts: list[Number] | None = None
    explicitBounds: list[Real] | None = None
    scale: Number = None
    zeroCount: Number = None
    zeroThreshold: Real = None
    min: Real = None
    max: Real = None
    positive: Buckets | None = None
    negative: Buckets | None = None
    flags: Number = None
    attributes: list[KeyValue] | None = None


class Data(Struct):
    aggregationTemporality: int | str | None = None  # by its name it is none: enums are numbers
    dataPoints: list[Raw] | None = None  # PointIn


class MetricIn(Struct):
    name: str | None = None
    unit: str | None = None
    sum: Data | None = None
    histogram: Data | None = None
    exponentialHistogram: Data | None = None


class ScopeMetrics(Struct):
    scope: ScopeIn | None = None
    metrics: list[MetricIn] | None = None


class ResourceMetrics(Struct):
    resource: ResourceIn | None = None
    scopeMetrics: list[ScopeMetrics] | None = None


class Metrics(Struct):
    resourceMetrics: list[ResourceMetrics] | None = None
