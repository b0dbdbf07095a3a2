"""Marks: the latency or cost that "too slow" and "too dear" are counted against.

p95 <= tau says the same as "at most 5 % of requests are above tau". So a quantile is judged as a rate, and the rate is
exact when tau is an edge of the histogram's cells. A limit is rounded up to the next edge (scale 4: steps of 4.4 %),
and the edge is what people are shown. A relative mark is frozen from the baseline before the data that it judges; the
tolerance is the nearest whole number of edges above it. A failed request stands above every mark.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from apps.telemetry.domain import histogram
from apps.telemetry.domain.histogram import Histogram

LEAST_BASELINE_REQUESTS = 2000
COST_MARKS = (1.0, 5.0)  # times the baseline's mean cost


@dataclass(frozen=True, slots=True)
class Mark:
    """`quantile`: which one this is, 0 for a cost mark. Requests above the cell's upper edge count."""

    quantile: float
    edge: int
    baseline_edge: int

    @property
    def rate(self) -> float:
        """The share of requests that may be above it."""
        return 1.0 - self.quantile

    @property
    def value(self) -> float:
        return histogram.upper_edge(self.edge)

    @property
    def baseline_value(self) -> float:
        return histogram.upper_edge(self.baseline_edge)


def at_limit(quantile: float, limit: float) -> Mark:
    edge = histogram.edge_index_at_or_above(limit)
    return Mark(quantile=quantile, edge=edge, baseline_edge=edge)


def edges_above(tolerance: float) -> int:
    """The nearest whole number of edges: 0.09 gives 2, 0.19 gives 4."""
    return round(math.log2(1.0 + tolerance) * histogram.CELLS_PER_DOUBLING)


def from_baseline(quantile: float, answered: Histogram, failed: int, *, tolerance: float) -> Mark:
    """Frozen at the edge that at most 1 - quantile of the baseline's requests are above."""
    requests = answered.count + failed
    allowed = math.floor((1.0 - quantile) * requests + 1e-9)
    above = failed
    edge = max(answered.cells, default=0)
    for index in sorted(answered.cells, reverse=True):
        above += answered.cells[index]
        if above > allowed:
            edge = index
            break
    return _with_tolerance(quantile, edge, tolerance)


def at_cost(mean: float, *, tolerance: float) -> tuple[Mark, ...]:
    """One and five times the baseline's mean cost: the fifth catches loops and retries."""
    return tuple(
        _with_tolerance(0.0, histogram.edge_index_at_or_above(mean * times), tolerance) for times in COST_MARKS
    )


def _with_tolerance(quantile: float, edge: int, tolerance: float) -> Mark:
    return Mark(quantile=quantile, edge=edge + edges_above(tolerance), baseline_edge=edge)
