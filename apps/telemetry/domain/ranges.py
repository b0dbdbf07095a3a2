"""Latencies of which only bounds are known: what fell into buckets that are no cells of ours.

In: how many values lie above one bound and up to another, in seconds. Out: between which bounds a quantile lies. Values
keep their order when each is put to its lower bound, and when each is put to its upper one; so the quantile of the
former is not above, and that of the latter not below the true one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from apps.telemetry.domain.histogram import Histogram, lower_edge, upper_edge

Bounds = tuple[float, float]  # above, up to: seconds; infinite without an end
Ranges = dict[Bounds, int]


def of_explicit(cells: Mapping[int, int], bounds: Sequence[float], factor: float, most: float) -> Ranges:
    """Buckets by number: above the bound before, up to their own. The last has no end but the largest value told."""
    ends = [0.0, *(bound * factor for bound in bounds), most * factor]
    return add({}, (((max(ends[number], 0.0), max(ends[number + 1], 0.0)), n) for number, n in cells.items()))


def of_exponential(cells: Mapping[int, int], scale: int, factor: float) -> Ranges:
    """Bucket i at a scale s holds values in (2^(i/2^s), 2^((i+1)/2^s)]."""
    return add({}, (((edge(index, scale) * factor, edge(index + 1, scale) * factor), n) for index, n in cells.items()))


def edge(index: int, scale: int) -> float:
    exponent = math.ldexp(index, -scale)
    return math.pow(2.0, min(max(exponent, -1_000.0), 1_000.0))


def add(ranges: Ranges, more: Iterable[tuple[Bounds, int]]) -> Ranges:
    for bounds, n in more:
        ranges[bounds] = ranges.get(bounds, 0) + n
    return ranges


def quantile(q: float, fine: Histogram, ranges: Ranges, unknown: int = 0) -> Bounds | None:
    """Between which bounds the value of rank ceil(q·count) lies; `unknown` values lie anywhere. None without values."""
    told = [(bounds, n) for bounds, n in ranges.items() if n > 0]
    told += [((lower_edge(index), upper_edge(index)), n) for index, n in fine.cells.items()]
    told += [((0.0, 0.0), fine.zero), ((0.0, math.inf), max(unknown, 0))]
    count = sum(n for _, n in told)
    if not count:
        return None
    rank = min(max(math.ceil(q * count), 1), count)
    return ranked(rank, ((low, n) for (low, _), n in told)), ranked(rank, ((high, n) for (_, high), n in told))


def width(bounds: Bounds | None) -> float:
    """The upper bound against the lower one."""
    return bounds[1] / bounds[0] if bounds and bounds[0] > 0 else math.inf


def ranked(rank: int, values: Iterable[tuple[float, int]]) -> float:
    seen = 0
    for value, n in sorted(values):
        seen += n
        if rank <= seen:
            return value
    raise AssertionError("ranks end at the count")
