"""Prometheus's families as OpenTelemetry's. Import it only where metrics are sent: it needs the SDK."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Metric as Told
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import Metric
from prometheus_client.samples import Sample

CUMULATIVE = AggregationTemporality.CUMULATIVE
Labels = tuple[tuple[str, str], ...]


def translated(families: Iterable[Metric], resource: Resource, began: int, now: int) -> MetricsData:
    """`began`, `now`: nanoseconds since 1970."""
    told = [Told(named(one), one.documentation, unit(one.name), data(one, began, now)) for one in families]
    scope = ScopeMetrics(InstrumentationScope("changeover"), told, schema_url="")
    return MetricsData([ResourceMetrics(resource, [scope], schema_url="")])


def named(family: Metric) -> str:
    """As `/metrics` spells it."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def unit(name: str) -> str:
    return "s" if name.endswith("_seconds") else "By" if name.endswith("_bytes") else ""


def data(family: Metric, began: int, now: int) -> Gauge | Histogram | Sum:
    if family.type == "histogram":
        return Histogram(list(histogram_points(family.samples, began, now)), CUMULATIVE)
    points = [NumberDataPoint(one.labels, began, now, one.value) for one in family.samples]
    return Gauge(points) if family.type == "gauge" else Sum(points, CUMULATIVE, is_monotonic=True)


def histogram_points(samples: Iterable[Sample], began: int, now: int) -> Iterator[HistogramDataPoint]:
    """Prometheus's buckets count everything below their edge, OpenTelemetry's only what lies between two."""
    buckets: dict[Labels, dict[float, int]] = {}
    sums: dict[Labels, float] = {}
    for one in samples:
        labels = tuple(sorted((name, value) for name, value in one.labels.items() if name != "le"))
        if one.name.endswith("_bucket"):
            buckets.setdefault(labels, {})[float(one.labels["le"])] = int(one.value)
        elif one.name.endswith("_sum"):
            sums[labels] = one.value
    for labels, below in buckets.items():
        edges = sorted(below)
        counts = [b - a for a, b in pairwise([0, *(below[edge] for edge in edges)])]
        yield HistogramDataPoint(
            attributes=dict(labels), start_time_unix_nano=began, time_unix_nano=now, count=sum(counts),
            sum=sums[labels], bucket_counts=counts, explicit_bounds=edges[:-1],
            min=None, max=None,  # type: ignore[arg-type]  # unknown: the encoder leaves them out
        )  # fmt: skip
