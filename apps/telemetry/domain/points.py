"""From points of metrics to what is new in them.

A delta point is new itself. Of a cumulative stream the difference to its last point is; if it began anew, or any of its
counts is smaller than before, the point itself. The first point of a stream is only what later ones are subtracted
from, unless the stream began after its sender was first heard of: then everything in it is new.

Workers that do not say which of them they are share one stream. Each began at a nanosecond of its own: a point is
subtracted from the one before it with the same beginning, and so are the points of each restart.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from itertools import pairwise

from msgspec import Struct

from apps.telemetry.domain import aliases, ranges, spans
from apps.telemetry.domain.attributes import fields_of
from apps.telemetry.domain.histogram import HIGHEST, LOWEST, SCALE, Histogram
from apps.telemetry.domain.otlp import NO_BOUNDS, NO_NUMBER, OTHER_COUNT, Attributes, Point, Told, is_finite
from apps.telemetry.domain.ranges import Ranges

BACK = 48 * 3600 * 10**9
DELTA, CUMULATIVE = 1, 2
WIDEST = -11  # the scale at which one cell holds all numbers above 1 that there are
MOST_SECONDS = 2**53  # or milliseconds: beyond it floats do not count
MOST_TOKENS, MOST_CALLS = 10**12, 10**10  # of one point: more would be more nano-USD than a row of money holds
MOST_LIVES = 100  # of one stream: who has been silent for longest makes way


class State(Struct, gc=False, array_like=True):
    """The newest point of one life of a cumulative stream: of those with the same beginning."""

    begin: int
    at: int
    count: int
    total: float
    cells: dict[int, int]
    scale: int
    zero: int
    bounds: tuple[float, ...] = ()
    zero_threshold: float = 0.0


class Stream(Struct, gc=False, array_like=True):
    """The lives of a cumulative stream: mostly one, one more for each restart and for each worker beside it."""

    lives: list[State] = []  # who told something last stands first
    forgotten: int = 0  # no life that made way began later

    def life(self, begin: int) -> State | None:
        return next((life for life in self.lives if life.begin == begin), None)

    def after(self, now: State) -> Stream:
        others = [life for life in self.lives if life.begin != now.begin]
        lives = sorted([now, *others], key=lambda life: life.at, reverse=True)
        return Stream(lives[:MOST_LIVES], max([self.forgotten, *(life.begin for life in lives[MOST_LIVES:])]))

    def since(self, point: Point) -> int:
        """When what a point tells of began."""
        before = self.life(point.begin)
        return before.at if before else point.begin

    def is_shared_with(self, point: Point) -> bool:
        """Has another life told something in the time of which a point tells?"""
        since = self.since(point)
        return any(life.at >= since for life in self.lives if life.begin != point.begin)


@dataclass(frozen=True, slots=True)
class Delta:
    """What is new: values, their sum, and where they fall: with `is_fine` in our cells, else in the sender's."""

    count: int
    total: float
    cells: dict[int, int] = field(default_factory=dict)  # at `scale`; of explicit buckets by their number
    scale: int = SCALE
    zero: int = 0
    is_fine: bool = False

    @property
    def histogram(self) -> Histogram:
        if not self.is_fine:
            return Histogram()
        histogram = Histogram(zero=self.zero)
        for index, n in self.cells.items():
            within = min(max(index, LOWEST), HIGHEST)
            histogram.clamped += n if within != index else 0
            histogram.cells[within] = histogram.cells.get(within, 0) + n
        return histogram


def meaning_of(point: Point) -> str | None:
    """duration, input, output, cached; None for metrics of other things, and for what repeats the others."""
    if point.scope in aliases.SCOPES_WITHOUT_METRICS:
        return None
    meaning = aliases.METRICS.get(name_of(point))
    if meaning == aliases.TOKENS:
        return aliases.TOKEN_TYPES.get(str(attributes_of(point).get(aliases.TOKEN_TYPE, "")).lower())
    if meaning == aliases.DURATION and "operation" in (told := told_of(point)):
        return meaning if spans.operation_of(told) is not None else None
    return meaning


def name_of(point: Point) -> str:
    """With underscores, and without what Prometheus-shaped pipelines put behind it."""
    name = point.metric.lower().replace(".", "_")
    for _ in aliases.METRIC_SUFFIXES:
        for suffix in aliases.METRIC_SUFFIXES:
            if name not in aliases.METRICS:
                name = name.removesuffix(suffix)
    return name


def told_of(point: Point) -> Told:
    return fields_of(attributes_of(point))


def attributes_of(point: Point) -> Attributes:
    return {aliases.WITH_DOTS.get(name, name): value for name, value in point.attributes.items()}


def stream_of(point: Point) -> str:
    told = (point.resource.identity, point.scope, point.metric, point.unit, point.kind, point.identity)
    return hashlib.sha256("\n".join(told).encode("utf-8", "replace")).hexdigest()[:48]


def fault_of(point: Point, now: int) -> str:
    """Why a point is refused; empty for a good one."""
    if point.fault:
        return point.fault
    if point.temporality not in (DELTA, CUMULATIVE):
        return "no_temporality"
    if point.at <= 0 or point.at < now - BACK:
        return "too_old"
    is_time = meaning_of(point) == aliases.DURATION
    if not is_finite(point.total) or not 0 <= point.total <= (MOST_SECONDS if is_time else MOST_TOKENS):
        return NO_NUMBER
    if point.kind != "sum":
        counts = [point.count, point.zero, *point.cells.values()]
        if min(counts) < 0 or max(counts) > MOST_CALLS:
            return NO_NUMBER
        if point.count and not point.is_summed and not is_time:  # tokens that nobody has counted are not free
            return "no_sum"
        # Explicit buckets may be left out, exponential ones may not.
        has_buckets = point.kind == "exponential" or point.cells
        if has_buckets and point.count != point.zero + sum(point.cells.values()):
            return OTHER_COUNT
        if point.kind == "exponential" and point.scale < WIDEST:
            return "no_scale"
        if point.kind == "explicit" and not are_bounds(point):
            return NO_BOUNDS
        if not is_finite(point.zero_threshold) or point.zero_threshold < 0 or math.isnan(point.most):
            return NO_NUMBER
    return ""


def are_bounds(point: Point) -> bool:
    """Growing numbers, one less than there are buckets."""
    bounds = point.bounds
    return (
        all(map(is_finite, bounds))
        and all(low < high for low, high in pairwise(bounds))
        and max(point.cells, default=0) <= len(bounds)
    )


def state_of(point: Point) -> State:
    cells, scale = point.cells, point.scale
    if point.kind == "exponential" and scale > SCALE:
        cells, scale = coarser(cells, scale - SCALE), SCALE
    return State(
        point.begin, point.at, point.count, point.total, cells, scale, point.zero, point.bounds, point.zero_threshold
    )  # fmt: skip


def coarser(cells: dict[int, int], steps: int) -> dict[int, int]:
    """Each step halves the number of cells to a doubling; shifting rounds negative indexes down, as it must."""
    merged: dict[int, int] = {}
    for index, n in cells.items():
        merged[index >> steps] = merged.get(index >> steps, 0) + n
    return merged


def read(point: Point, stream: Stream, known_since: int) -> tuple[Delta | None, Stream | None, str]:
    """What is new, what to keep of the stream, and what kind of point it was: delta, first, gap, reset, late."""
    now = state_of(point)
    if point.temporality == DELTA:
        return difference(point, now, None), None, "delta"
    before = stream.life(point.begin)
    if before is None:
        kind = kind_of_beginning(now, stream, known_since)
        return None if kind == "gap" else difference(point, now, None), stream.after(now), kind
    if now.at <= before.at:
        return None, None, "late"
    if has_shrunk(now, before):
        return difference(point, now, None), stream.after(now), "reset"
    return difference(point, now, before), stream.after(now), "delta"


def kind_of_beginning(now: State, stream: Stream, known_since: int) -> str:
    """Of the first point of a life. One whose beginning may have been forgotten is not counted a second time."""
    if stream.lives and now.begin > stream.lives[0].at:
        return "reset"
    return "first" if now.begin >= known_since and now.begin > stream.forgotten else "gap"


def has_shrunk(now: State, before: State) -> bool:
    if now.count < before.count or now.total < before.total:
        return True
    if now.zero_threshold != before.zero_threshold:  # cells went into the zero: only the count can be compared
        return False
    if now.zero < before.zero or (before.bounds and now.bounds != before.bounds):
        return True
    mine, old = at_one_scale(now, before)
    return any(mine.get(index, 0) < n for index, n in old.items())


def at_one_scale(now: State, before: State) -> tuple[dict[int, int], dict[int, int]]:
    scale = min(now.scale, before.scale)
    return coarser(now.cells, now.scale - scale), coarser(before.cells, before.scale - scale)


def difference(point: Point, now: State, before: State | None) -> Delta:
    if before is None:
        count, total, zero, cells, scale = now.count, now.total, now.zero, now.cells, now.scale
    elif now.zero_threshold != before.zero_threshold:  # how many are new is known, where they fall is not
        return Delta(now.count - before.count, (now.total - before.total) * seconds_of(point))
    else:
        mine, old = at_one_scale(now, before)
        cells = {index: left for index, n in mine.items() if (left := n - old.get(index, 0))}
        count, total = now.count - before.count, now.total - before.total
        zero, scale = now.zero - before.zero, min(now.scale, before.scale)
    factor = seconds_of(point)
    # A histogram in milliseconds can never merge with one in seconds: 1,000 is no whole number of cells.
    is_fine = point.kind == "exponential" and scale == SCALE and factor == 1 and not (zero and point.zero_threshold)
    return Delta(count, total * factor if point.kind != "sum" else total, cells, scale, zero, is_fine)


def seconds_of(point: Point) -> float:
    """How many seconds the point's unit is; 1 for what is no time."""
    unit = point.unit or ("ms" if point.metric.endswith("_milliseconds") else "s")
    return {"ms": 1e-3, "us": 1e-6, "ns": 1e-9}.get(unit, 1.0)


def ranges_of(point: Point, delta: Delta) -> Ranges:
    """Between which bounds the new latencies lie, where they are not in cells of ours."""
    factor = seconds_of(point)
    if delta.is_fine or point.kind == "sum":
        return {}
    if point.kind == "explicit":
        return ranges.of_explicit(delta.cells, point.bounds, factor, point.most)
    found = ranges.of_exponential(delta.cells, delta.scale, factor)
    return ranges.add(found, [((0.0, point.zero_threshold * factor), delta.zero)] if delta.zero else ())
