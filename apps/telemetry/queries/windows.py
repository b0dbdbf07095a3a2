"""For people: calls, requests and outcomes by time and variant."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from apps.telemetry.domain import ranges
from apps.telemetry.domain.histogram import Histogram
from apps.telemetry.domain.ranges import Bounds, Ranges
from apps.telemetry.domain.sums import OutcomeKey, RequestKey, Sums, WindowKey
from apps.telemetry.models import LatencyRange, OutcomeSum, RequestSum, Window
from apps.telemetry.queries.money import REPRICED, spend
from apps.telemetry.queries.steps import ALL, Steps, floor
from apps.telemetry.queries.waiting import with_waiting
from apps.telemetry.rows import moment

Key = WindowKey | RequestKey | OutcomeKey

TOO_COARSE = (
    "The sender's buckets are too coarse for percentiles. Set there"
    " OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION=base2_exponential_bucket_histogram (where that is set, a"
    " larger max_size, such as 320), or send spans."
)
WIDENED = (
    "The sender's exponential cells grew wide over its range of latencies: percentiles are within {error:.1%}. A larger"
    " max_size there, such as 320, keeps them finer."
)
QUANTILES = (0.5, 0.95, 0.99)
NARROW = 2**0.5 * (1 + 1e-9)  # exponential cells of scale 1


@dataclass(slots=True)
class Seen:
    """Requests of which all attempts are known: those that have an id, and whose last attempt was told."""

    requests: int = 0
    attempts: int = 0

    def add(self, requests: int, attempts: int, unfinal: int, unnamed: int) -> None:
        """A request without an id or an end was counted with one attempt."""
        self.requests += requests - unfinal - unnamed
        self.attempts += attempts - unfinal - unnamed

    @property
    def attempts_per_request(self) -> float | None:
        """None: not visible from this source."""
        return self.attempts / self.requests if self.requests > 0 else None


SEEN_OF = ("requests", "attempts", "unfinal", "unnamed")


@dataclass(slots=True)
class WindowRow:
    """Calls by the variant that answered, and `requests` by the variant that was assigned."""

    since: datetime
    until: datetime
    variant: str
    arm: str
    calls: int = 0
    errors: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    confirmed_nano: int = 0
    estimated_nano: int = 0
    unpriced: int = 0
    late: int = 0
    coarse: int = 0  # calls whose latency is not in the histogram: nobody told it finely enough
    requests: int = 0
    seen: Seen = field(default_factory=Seen)
    latency: Histogram = field(default_factory=Histogram)
    ranges: Ranges = field(default_factory=dict)  # of the coarse ones, as far as their sender told it
    outcomes: dict[str, tuple[int, float]] = field(default_factory=dict)

    @property
    def cost_nano(self) -> int:
        return self.confirmed_nano + self.estimated_nano

    @property
    def is_too_coarse(self) -> bool:
        """More than one call in a hundred stands in no cell: then a percentile would be a guess."""
        return self.coarse * 100 > self.calls

    def range_of(self, q: float) -> Bounds | None:
        """Between which seconds a quantile lies, all that is known of every call taken together."""
        unknown = self.coarse - sum(self.ranges.values())
        return ranges.quantile(q, self.latency, self.ranges, unknown)

    def quantile(self, q: float) -> float | None:
        """In seconds. None where its bounds are so far apart that a number between them would be a guess."""
        if not self.is_too_coarse:
            return self.latency.quantile(q)
        bounds = self.range_of(q) if self.latency_error is not None else None
        return None if bounds is None else math.sqrt(bounds[0] * bounds[1])

    @property
    def latency_error(self) -> float | None:
        """By how much percentiles may be off where cells were wider than ours. None: not, or by too much."""
        if not self.is_too_coarse:
            return None
        widths = [ranges.width(self.range_of(q)) for q in QUANTILES]
        return math.sqrt(max(widths)) - 1 if max(widths) <= NARROW else None

    @property
    def latency_note(self) -> str | None:
        if not self.is_too_coarse:
            return None
        return TOO_COARSE if self.latency_error is None else WIDENED.format(error=self.latency_error)


CALL_SUMS = (
    "calls", "errors", "input_tokens", "cached_input_tokens", "output_tokens", "confirmed_nano", "estimated_nano",
    "unpriced", "late", "coarse",
)  # fmt: skip


def windows(environment: str, route: str, since: datetime, until: datetime, step: str | int = ALL) -> list[WindowRow]:
    """By time, variant and arm; a window belongs to the step in which it starts."""
    steps = Steps.of(since, until, step)
    table, waiting = with_waiting(lambda: in_rows(environment, route, steps))
    table.add_waiting(waiting, environment, route)
    table.add_repriced(environment, route)
    return [table.found[key] for key in sorted(table.found)]


@dataclass(slots=True)
class Table:
    steps: Steps
    found: dict[tuple[datetime, str, str], WindowRow] = field(default_factory=dict)

    def row_of(self, at: datetime, variant: str, arm: str) -> WindowRow:
        begin = self.steps.begin(at)
        key = (begin, variant, arm)
        if key not in self.found:
            self.found[key] = WindowRow(begin, self.steps.end(begin), variant, arm)
        return self.found[key]

    def add_calls(self, row: WindowRow, counts: Sequence[int], latency: Histogram) -> None:
        add_up(row, CALL_SUMS, counts)
        row.latency.merge(latency)

    def add_requests(self, row: WindowRow, counts: Sequence[int]) -> None:
        row.requests += counts[0]
        row.seen.add(*counts)

    def add_outcome(self, row: WindowRow, name: str, count: int, total: float) -> None:
        before = row.outcomes.get(name, (0, 0.0))
        row.outcomes[name] = (before[0] + count, before[1] + total)

    def add_waiting(self, sums: Sums, environment: str, route: str) -> None:
        for window, calls in sums.windows.items():
            if row := self.row_of_waiting(window, window.variant, environment, route):
                self.add_calls(row, counts_of(calls, CALL_SUMS), calls.latency)
        for request, told in sums.requests.items():
            if row := self.row_of_waiting(request, request.assigned, environment, route):
                self.add_requests(row, counts_of(told, SEEN_OF))
        for key, outcome in sums.outcomes.items():
            if row := self.row_of_waiting(key, key.variant, environment, route):
                self.add_outcome(row, key.name, outcome.count, outcome.total)

    def add_repriced(self, environment: str, route: str) -> None:
        """What was priced again since the calls arrived, so that their money is what `spend` says; by whole minutes."""
        steps, where = self.steps, {"route": route, "rule": REPRICED}
        step = steps.seconds or ALL
        for added in spend(environment, steps.since, steps.until, ("variant", "arm"), where, step, steps.zone):
            row = self.row_of(max(added.since, steps.since), added.keys["variant"], added.keys["arm"])
            row.confirmed_nano += added.confirmed_nano
            row.estimated_nano += added.estimated_nano
            row.unpriced += added.unpriced

    def row_of_waiting(self, key: Key, variant: str, environment: str, route: str) -> WindowRow | None:
        at = moment(key.starts_at)
        if (key.environment, key.route) == (environment, route) and begin_of(self.steps) <= at < self.steps.until:
            return self.row_of(at, variant, key.arm)
        return None


def in_rows(environment: str, route: str, steps: Steps) -> Table:
    table = Table(steps)
    calls = between(Window.objects.all(), environment, route, steps)
    for starts_at, variant, arm, latency, *counts in calls.values_list(
        "starts_at", "variant", "arm", "latency", *CALL_SUMS
    ):
        table.add_calls(table.row_of(starts_at, variant, arm), counts, Histogram.unpack(latency))
    for coarse in between(LatencyRange.objects.all(), environment, route, steps):
        key = (steps.begin(coarse.starts_at), coarse.variant, coarse.arm)
        if key in table.found:  # else its window was drawn together with others
            ranges.add(table.found[key].ranges, [((coarse.above, coarse.up_to), coarse.n)])
    requests = between(RequestSum.objects.all(), environment, route, steps)
    for starts_at, assigned, arm, *counts in requests.values_list("starts_at", "assigned", "arm", *SEEN_OF):
        table.add_requests(table.row_of(starts_at, assigned, arm), counts)
    for told in between(OutcomeSum.objects.all(), environment, route, steps):
        table.add_outcome(table.row_of(told.starts_at, told.variant, told.arm), told.name, told.count, told.total)
    return table


def counts_of(sums: object, names: Sequence[str]) -> list[int]:
    return [getattr(sums, name) for name in names]


def add_up(sums: object, names: Sequence[str], counts: Sequence[int]) -> None:
    for name, count in zip(names, counts, strict=True):
        if count:
            setattr(sums, name, getattr(sums, name) + count)


def between(rows: "QuerySet[Any]", environment: str, route: str, steps: Steps) -> "QuerySet[Any]":
    within = {"starts_at__gte": begin_of(steps), "starts_at__lt": steps.until}
    return rows.filter(environment=environment, route=route, **within).order_by("starts_at", "id")


def begin_of(steps: Steps) -> datetime:
    """Of the whole window in which the time begins."""
    return floor(steps.since, settings.WINDOW_SECONDS)


@dataclass(slots=True)
class RequestRow:
    """Requests by the variant that was assigned: for charts and the before/after table."""

    since: datetime
    until: datetime
    variant: str
    arm: str
    requests: int = 0
    errors: int = 0
    unfinal: int = 0
    attempts: int = 0
    cost_nano: int = 0
    estimated_nano: int = 0
    unpriced: int = 0
    latency: Histogram = field(default_factory=Histogram)
    cost: Histogram = field(default_factory=Histogram)

    @property
    def n(self) -> int:
        return self.requests

    @property
    def priced(self) -> int:
        return self.requests - self.unpriced


REQUEST_SUMS = ("requests", "errors", "unfinal", "attempts", "cost_nano", "estimated_nano", "unpriced")


def requests(
    environment: str, route: str, since: datetime, until: datetime, step: str | int = ALL, trial: str | None = None
) -> list[RequestRow]:
    steps = Steps.of(since, until, step)
    found: dict[tuple[datetime, str, str], RequestRow] = {}
    rows = between(RequestSum.objects.all(), environment, route, steps)
    if trial is not None:
        rows = rows.filter(trial=trial)
    for starts_at, assigned, arm, latency, cost, *counts in rows.values_list(
        "starts_at", "assigned", "arm", "latency", "cost", *REQUEST_SUMS
    ):
        begin = steps.begin(starts_at)
        key = (begin, assigned, arm)
        if key not in found:
            found[key] = RequestRow(begin, steps.end(begin), assigned, arm)
        sums = found[key]
        add_up(sums, REQUEST_SUMS, counts)
        sums.latency.merge(Histogram.unpack(latency))
        sums.cost.merge(Histogram.unpack(cost))
    return [found[key] for key in sorted(found)]


@dataclass(slots=True)
class OutcomeRow:
    since: datetime
    until: datetime
    variant: str  # assigned
    arm: str
    name: str
    count: int = 0
    ones: int = 0
    zeros: int = 0
    total: float = 0.0


def outcomes(
    environment: str, route: str, since: datetime, until: datetime, step: str | int = ALL, trial: str | None = None
) -> list[OutcomeRow]:
    steps = Steps.of(since, until, step)
    found: dict[tuple[datetime, str, str, str], OutcomeRow] = {}
    rows = between(OutcomeSum.objects.all(), environment, route, steps)
    for row in rows if trial is None else rows.filter(trial=trial):
        begin = steps.begin(row.starts_at)
        key = (begin, row.assigned, row.arm, row.name)
        if key not in found:
            found[key] = OutcomeRow(begin, steps.end(begin), row.assigned, row.arm, row.name)
        sums = found[key]
        sums.count += row.count
        sums.ones += row.ones
        sums.zeros += row.zeros
        sums.total += row.total
    return [found[key] for key in sorted(found)]
