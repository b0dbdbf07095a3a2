"""What goes, and what is drawn together. Both may run twice, or be broken off at any place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q

from apps.telemetry import rows
from apps.telemetry.domain.histogram import Histogram
from apps.telemetry.models import (
    Batch,
    CallId,
    CallMinute,
    Compacted,
    Cursor,
    Heard,
    Instance,
    LatencyRange,
    LedgerLine,
    MetricBooking,
    MetricStream,
    OutcomeSum,
    RequestSum,
    Source,
    UntoldUsage,
    Window,
    Writer,
)
from apps.telemetry.queries.money import rolled_to
from apps.telemetry.queries.steps import floor

BATCHES_STAY = timedelta(hours=49)  # longer than a call may lie back
WRITERS_STAY = timedelta(hours=49)
STREAMS_STAY = timedelta(days=7)  # a cumulative stream that was silent for longer begins anew, as a baseline
HEARD_STAYS = timedelta(days=90)
AT_ONCE = 500  # keys of one statement
QUIET = timedelta(minutes=10)  # after the end of a span its rows are drawn together
SPAN = 600  # seconds
MOST_ROWS = 100_000  # in one run


def forget_old(now: datetime) -> None:
    """Call ids DEDUPE_HOURS after the last arrival of their minute, batch keys and ended writers after 49 hours."""
    forget_calls(now - timedelta(hours=settings.DEDUPE_HOURS))
    Batch.objects.filter(at__lt=now - BATCHES_STAY).delete()
    forget_writers(now - WRITERS_STAY)
    MetricStream.objects.filter(at__lt=now - STREAMS_STAY).delete()
    MetricBooking.objects.filter(at__lt=now - BATCHES_STAY).delete()
    UntoldUsage.objects.filter(at__lt=now - BATCHES_STAY).delete()
    Source.objects.filter(last_at__lt=now - BATCHES_STAY).delete()
    Instance.objects.filter(last_at__lt=now - STREAMS_STAY).delete()
    Heard.objects.filter(hour__lt=now - HEARD_STAYS).delete()
    LatencyRange.objects.filter(starts_at__lt=now - HEARD_STAYS).delete()
    for compaction in COMPACTIONS:
        compact(compaction, now)


def forget_calls(before: datetime) -> None:
    while True:
        with transaction.atomic():
            quiet = CallMinute.objects.select_for_update().filter(last_arrival_at__lt=before).order_by("minute")
            minutes = list(quiet.values_list("minute", flat=True)[:AT_ONCE])
            CallId.objects.filter(minute__in=minutes).delete()
            CallMinute.objects.filter(minute__in=minutes).delete()
        if len(minutes) < AT_ONCE:
            return


@transaction.atomic
def forget_writers(before: datetime) -> None:
    """Those that are silent, and that everybody who reads has read to their end."""
    behind = Cursor.objects.filter(writer=OuterRef("id"), seq__lt=OuterRef("seq"))
    gone = list(Writer.objects.filter(~Exists(behind), at__lt=before).values_list("id", flat=True))
    Cursor.objects.filter(writer__in=gone).delete()
    Writer.objects.filter(id__in=gone).delete()


@dataclass(frozen=True, slots=True)
class Compaction:
    """Rows with one key become one row. `ready` says which of a span's rows nobody needs apart."""

    model: type[models.Model]
    at: str
    keys: tuple[str, ...]
    sums: tuple[str, ...]
    histograms: tuple[str, ...] = ()
    first: tuple[str, ...] = ()  # of these the smallest
    last: tuple[str, ...] = ()  # and the largest
    keeps_first: bool = False  # what is drawn together stays where the first row was
    ready: Callable[[], Q] = Q


def has_been_read() -> Q:
    """Rows of no trial, which judges leave out, and rows that every reader of their shard has read."""
    ready = Q(trial="")
    read: dict[tuple[int, str], list[int]] = {}
    readers: dict[int, set[str]] = {}
    for reader, shard, writer, seq in Cursor.objects.values_list("reader", "shard", "writer", "seq"):
        read.setdefault((shard, writer), []).append(seq)
        readers.setdefault(shard, set()).add(reader)
    for (shard, writer), seqs in read.items():
        if len(seqs) == len(readers[shard]):
            ready |= Q(shard=shard, writer=writer, seq__lte=min(seqs))
    return ready | Q(writer="")  # drawn together before: everybody had read them


def is_in_totals() -> Q:
    """Lines that stand in the totals of their hour. Drawn together they keep an id of theirs, so they stay old ones."""
    return Q(pk__lte=rolled_to())


JUDGED = ("environment", "route", "shard", "trial", "split", "assigned", "arm", "assigned_by")
COMPACTIONS = (
    Compaction(
        Window,
        at="starts_at",
        keys=("environment", "route", "variant", "arm", "starts_at"),
        sums=("calls", "errors", "input_tokens", "cached_input_tokens", "output_tokens", "confirmed_nano",
              "estimated_nano", "unpriced", "late", "coarse"),
        histograms=("latency",),
    ),
    Compaction(
        LedgerLine,
        at="minute",
        keys=("environment", "route", "minute", "variant", "provider", "model", "owner", "arm", "trial", "tag", "rule",
              "rate"),
        sums=("calls", "confirmed_nano", "estimated_nano", "unpriced", "input_tokens", "cached_input_tokens",
              "output_tokens", "cache_write_tokens", "cache_write_1h_tokens"),
        ready=is_in_totals,
        keeps_first=True,
    ),
    Compaction(
        RequestSum,
        at="starts_at",
        keys=(*JUDGED, "starts_at"),
        sums=("requests", "errors", "unfinal", "attempts", "cost_nano", "estimated_nano", "unpriced",
              "unnamed"),
        histograms=("latency", "cost"),
        first=("first_at",),
        last=("last_at",),
        ready=has_been_read,
    ),
    Compaction(
        OutcomeSum,
        at="starts_at",
        keys=(*JUDGED, "variant", "name", "starts_at"),
        sums=("count", "ones", "zeros", "total"),
        ready=has_been_read,
    ),
)  # fmt: skip
SUMS_BY_WINDOW = [compaction for compaction in COMPACTIONS if compaction.at == "starts_at"]


def compact(compaction: Compaction, now: datetime) -> None:
    """Walks over the rows in the order in which they came, span by span of their own time.

    How far it came is kept: rows of a span that is not quiet yet are looked at again at the next run.
    """
    name = compaction.model.__name__
    progress, _ = Compacted.objects.get_or_create(name=name, defaults={"last_id": 0})
    ready = compaction.ready()
    fresh = compaction.model._default_manager.filter(pk__gt=progress.last_id).order_by("pk")
    found = list(fresh.values_list("pk", "environment", "route", compaction.at)[:MOST_ROWS])
    if not found:
        return
    spans: dict[tuple[str, str, datetime], int] = {}  # with the first row of each
    for pk, environment, route, at in found:
        spans.setdefault((environment, route, floor(at, SPAN)), pk)
    waiting = {pk for (_, _, begin), pk in spans.items() if begin + timedelta(seconds=SPAN) + QUIET > now}
    for span, pk in spans.items():
        if pk not in waiting:
            draw_together(compaction, ready, *span)
    progress.move_to(min(waiting) - 1 if waiting else found[-1][0])


@transaction.atomic
def draw_together(
    compaction: Compaction, ready: Q, environment: str, route: str, begin: datetime, *, span: int = SPAN, to: int = 1
) -> None:
    """Rows whose moments are the same, down to `to` seconds."""
    model = compaction.model
    end = begin + timedelta(seconds=span)
    within = {f"{compaction.at}__gte": begin, f"{compaction.at}__lt": end, "environment": environment, "route": route}
    many = list(model._default_manager.select_for_update().filter(ready, **within).order_by("pk"))
    groups: dict[tuple[Any, ...], list[models.Model]] = {}
    for row in many:
        setattr(row, compaction.at, floor(getattr(row, compaction.at), to))
        groups.setdefault(tuple(getattr(row, name) for name in compaction.keys), []).append(row)
    groups = {key: rows_of_key for key, rows_of_key in groups.items() if len(rows_of_key) > 1}
    if not groups:
        return
    keeps = int(compaction.keeps_first)
    gone = [row.pk for rows_of_key in groups.values() for row in rows_of_key[keeps:]]
    for position in range(0, len(gone), AT_ONCE):
        model._default_manager.filter(pk__in=gone[position : position + AT_ONCE]).delete()
    if not keeps:
        rows.insert(model, [one_row(compaction, rows_of_key) for rows_of_key in groups.values()])
        return
    for first, *others in groups.values():
        for name in compaction.sums:
            setattr(first, name, getattr(first, name) + sum(getattr(row, name) for row in others))
    model._default_manager.bulk_update([first for first, *_ in groups.values()], compaction.sums, batch_size=200)


def one_row(compaction: Compaction, many: Sequence[models.Model]) -> list[Any]:
    def value(name: str) -> Any:
        values = [getattr(row, name) for row in many]
        if name in compaction.sums:
            return sum(values)
        if name in compaction.histograms:
            whole = Histogram()
            for packed in values:
                whole.merge(Histogram.unpack(packed))
            return whole.pack()
        if name in compaction.first:
            return min(values)
        if name in compaction.last:
            return max(values)
        if name in compaction.keys:
            return values[0]
        return {"writer": "", "seq": 0}[name]  # of no writer: no judge will read it again

    return [value(str(column.attname)) for column in rows.columns_of(compaction.model)]
