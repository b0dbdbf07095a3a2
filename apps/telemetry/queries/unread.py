"""For judges: everything that was committed since they last looked, and how a variant did before."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db.models import Q

from apps.telemetry.domain.histogram import Histogram
from apps.telemetry.models import Cursor, OutcomeSum, RequestSum, Writer

FIRST, LAST = datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class Increment:
    """What was committed of one arm of one split since the last look. `latency` holds answered requests only."""

    environment: str
    route: str
    trial: str
    split: int
    assigned: str
    arm: str
    assigned_by: str
    requests: int = 0
    errors: int = 0
    unfinal: int = 0
    attempts: int = 0
    unnamed: int = 0
    cost_nano: int = 0
    estimated_nano: int = 0
    unpriced: int = 0
    latency: Histogram = field(default_factory=Histogram)
    cost: Histogram = field(default_factory=Histogram)
    first_at: datetime = FIRST  # when the first and the last of them ended
    last_at: datetime = LAST


@dataclass(slots=True)
class OutcomeIncrement:
    environment: str
    route: str
    trial: str
    split: int
    assigned: str
    arm: str
    assigned_by: str
    name: str
    n: int = 0
    k: int = 0  # ones
    zeros: int = 0
    total: float = 0.0


@dataclass(slots=True)
class Unread:
    increments: list[Increment]
    outcomes: list[OutcomeIncrement]
    cursor: dict[str, int]  # to be saved with what was made of it


SPLIT = ("environment", "route", "trial", "split", "assigned", "arm", "assigned_by")
COUNTS = (
    "requests", "errors", "unfinal", "attempts", "unnamed", "cost_nano", "estimated_nano", "unpriced", "first_at",
    "last_at", "latency", "cost",
)  # fmt: skip
TOLD = ("count", "ones", "zeros", "total")


def unread(reader: str, shard: int) -> Unread:
    """All that was committed for this shard since the reader saved its cursor, late rows included.

    First the ends are read, then the rows up to them: groups that commit meanwhile are of the next look.
    """
    ends = dict(Writer.objects.values_list("id", "seq"))
    begun = dict(Cursor.objects.filter(reader=reader, shard=shard).values_list("writer", "seq"))
    news = {writer: (begun.get(writer, 0), end) for writer, end in ends.items() if end > begun.get(writer, 0)}
    increments: dict[tuple[Any, ...], Increment] = {}
    outcomes: dict[tuple[Any, ...], OutcomeIncrement] = {}
    for writer, (begin, end) in sorted(news.items()):
        between = Q(shard=shard, writer=writer, seq__gt=begin, seq__lte=end) & ~Q(trial="")
        for row in RequestSum.objects.filter(between).order_by("id").values_list(*SPLIT, *COUNTS):
            add_request_row(increments, row[: len(SPLIT)], row[len(SPLIT) :])
        for told in OutcomeSum.objects.filter(between).order_by("id").values_list(*SPLIT, "name", *TOLD):
            add_outcome_row(outcomes, told[: len(SPLIT) + 1], told[len(SPLIT) + 1 :])
    return Unread(
        list(increments.values()), list(outcomes.values()), {writer: end for writer, (_, end) in news.items()}
    )


def add_request_row(increments: dict[tuple[Any, ...], Increment], key: tuple[Any, ...], row: tuple[Any, ...]) -> None:
    sums = increments.get(key)
    if sums is None:
        sums = increments[key] = Increment(*key)
    requests, errors, unfinal, attempts, unnamed, *money, first_at, last_at, latency, cost = row
    cost_nano, estimated_nano, unpriced = money
    sums.requests += requests
    sums.errors += errors
    sums.unfinal += unfinal
    sums.attempts += attempts
    sums.unnamed += unnamed
    sums.cost_nano += cost_nano
    sums.estimated_nano += estimated_nano
    sums.unpriced += unpriced
    sums.first_at, sums.last_at = min(sums.first_at, first_at), max(sums.last_at, last_at)
    sums.latency.merge(Histogram.unpack(latency))
    sums.cost.merge(Histogram.unpack(cost))


def add_outcome_row(
    outcomes: dict[tuple[Any, ...], OutcomeIncrement], key: tuple[Any, ...], row: tuple[Any, ...]
) -> None:
    sums = outcomes.get(key)
    if sums is None:
        sums = outcomes[key] = OutcomeIncrement(*key)
    count, ones, zeros, total = row
    sums.n += count
    sums.k += ones
    sums.zeros += zeros
    sums.total += total


@dataclass(slots=True)
class Baseline:
    """How a variant did before: what marks are frozen from."""

    latency: Histogram = field(default_factory=Histogram)
    requests: int = 0
    errors: int = 0
    cost: Histogram = field(default_factory=Histogram)
    cost_nano: int = 0

    def __iter__(self) -> Iterator[Any]:
        return iter((self.latency, self.requests, self.errors, self.cost, self.cost_nano))


def baseline(environment: str, route: str, variant: str, since: datetime, until: datetime) -> Baseline:
    """Live requests assigned by split or default, whatever trial they were of."""
    rows = RequestSum.objects.filter(
        environment=environment,
        route=route,
        assigned=variant,
        arm="live",
        assigned_by__in=["split", "default"],
        starts_at__gte=since,
        starts_at__lt=until,
    )
    sums = Baseline()
    for row in rows.order_by("id"):
        sums.requests += row.requests
        sums.errors += row.errors
        sums.cost_nano += row.cost_nano
        sums.latency.merge(Histogram.unpack(row.latency))
        sums.cost.merge(Histogram.unpack(row.cost))
    return sums
