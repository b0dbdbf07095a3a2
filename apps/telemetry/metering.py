"""Metrics in tables, and who has the money: webhook, span, log event, metric, the first that tells of a service.

Metrics name no call, so they cannot be matched with spans one by one. Where a better source tells of the same service
and moment, what metrics had booked is given back, and what they tell from then on only serves for comparison.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import mmh3
import msgspec
from django.db import connection

from apps.telemetry import rows
from apps.telemetry.domain import aliases, attribution, points
from apps.telemetry.domain.fold import Fold
from apps.telemetry.domain.histogram import SCALE
from apps.telemetry.domain.intake import Intake
from apps.telemetry.domain.otlp import Point
from apps.telemetry.domain.points import Delta, State, Stream
from apps.telemetry.memory import WriterMemory
from apps.telemetry.metric_bookings import (
    AT_ONCE,
    METRIC,
    Bookings,
    decode_booking,
    moment,
    service_of,
    subject_of,
)
from apps.telemetry.models import Instance, MetricBooking, MetricStream, Source

Taken = tuple[str, Intake, Sequence[bool]]
COUNTS_AFTER = timedelta(hours=24)  # a better source that fell silent for longer no longer has the money

encode = msgspec.msgpack.Encoder().encode
decode, decode_life = msgspec.msgpack.Decoder(Stream).decode, msgspec.msgpack.Decoder(State).decode


def meet(taken: Sequence[Taken], writer: WriterMemory, now: datetime) -> None:
    """Notes who sends, before anything of them is read: later streams of theirs are new from their beginning."""
    met = sorted({(environment, *sender) for environment, intake, _ in taken for sender in intake.senders})
    rows.insert(
        Instance,
        [(*sender, now, now) for sender in met],
        "ON CONFLICT (environment, service, instance) DO UPDATE SET last_at = excluded.last_at",
    )
    moments: dict[tuple[str, str, str, str], tuple[int, int]] = {}
    for environment, intake, new in taken:
        for call, is_new in zip(intake.calls, new, strict=True):
            if is_new:
                route = attribution.named_by_itself(call, writer.routes[environment])
                key = (environment, call.service, route, call.source)
                first, last = moments.get(key, (call.begin, call.begin))
                moments[key] = (min(first, call.begin), max(last, call.begin))
    least, most = ("LEAST", "GREATEST") if connection.vendor == "postgresql" else ("MIN", "MAX")
    rows.insert(
        Source,
        [(*key, moment(first), moment(last)) for key, (first, last) in sorted(moments.items())],
        "ON CONFLICT (environment, service, route, kind) DO UPDATE SET"
        f" first_at = {least}(telemetry_source.first_at, excluded.first_at),"
        f" last_at = {most}(telemetry_source.last_at, excluded.last_at)",
    )


def take(taken: Sequence[Taken], fold: Fold, writer: WriterMemory, now: datetime) -> None:
    """Points in the order of their moments: of two points of one stream in one group the earlier is read first."""
    fresh: list[tuple[str, Point]] = []
    for environment, intake, new in taken:
        fresh += [(environment, point) for point, is_new in zip(intake.points, new, strict=True) if is_new]
    if not fresh:
        return
    fresh.sort(key=lambda one: one[1].at)
    keys = [stream_key(environment, point) for environment, point in fresh]
    streams = load_streams(sorted(set(keys)))
    known = known_since({environment for environment, _ in fresh})
    sources = Sources({environment for environment, _ in fresh})
    bookings = Bookings(fold, writer)
    kept: dict[str, Stream] = {}
    for key, (environment, point) in zip(keys, fresh, strict=True):
        since = known.get((environment, service_of(point), instance_of(point)), now)
        before = streams.get(key, Stream())
        delta, stream, kind = points.read(point, before, int(since.timestamp() * 1e9) + point.ahead)
        if stream is not None:
            streams[key] = kept[key] = stream
            if before.is_shared_with(point):
                fold.hear(environment, service_of(point), METRIC, "two_writers")
        if kind in ("gap", "late", "reset"):
            fold.hear(environment, service_of(point), METRIC, kind)
        if delta is not None:
            hear_interval(environment, point, before, fold)
            book(environment, point, delta, sources, bookings)
    rows.insert(
        MetricStream,
        [(key, now, encode(stream)) for key, stream in sorted(kept.items())],
        "ON CONFLICT (key) DO UPDATE SET at = excluded.at, body = excluded.body",
    )
    bookings.write()


def hear_interval(environment: str, point: Point, before: Stream, fold: Fold) -> None:
    """No window that metrics feed is finer than the time between two points of theirs."""
    since = before.since(point)
    if points.meaning_of(point) == aliases.DURATION and 0 < since < point.at:
        fold.hear(environment, service_of(point), METRIC, "points")
        fold.hear(environment, service_of(point), METRIC, "point_seconds", round((point.at - since) / 1e9))


def stream_key(environment: str, point: Point) -> str:
    return f"{mmh3.hash64(environment, signed=False)[0]:016x}{points.stream_of(point)}"


def instance_of(point: Point) -> str:
    return str(point.resource.attributes.get("service.instance.id") or "")[:200]


def load_streams(keys: Sequence[str]) -> dict[str, Stream]:
    streams = {}
    for position in range(0, len(keys), AT_ONCE):
        found = MetricStream.objects.select_for_update().filter(key__in=keys[position : position + AT_ONCE])
        for key, body in found.order_by("key").values_list("key", "body"):
            streams[key] = stream_in(bytes(body))
    return streams


def stream_in(body: bytes) -> Stream:
    try:
        return decode(body)
    except msgspec.ValidationError:  # a row from when a stream had one life
        return Stream([decode_life(body)])


def known_since(environments: set[str]) -> dict[tuple[str, str, str], datetime]:
    found = Instance.objects.filter(environment__in=environments)
    return {(row.environment, row.service, row.instance): row.first_at for row in found}


class Sources:
    """Which better sources tell of a service, and of which moments."""

    def __init__(self, environments: set[str]) -> None:
        self.rows: dict[tuple[str, str], list[Source]] = {}
        for row in Source.objects.filter(environment__in=environments):
            self.rows.setdefault((row.environment, row.service), []).append(row)

    def tells_of(self, environment: str, service: str, route: str, at: datetime) -> bool:
        """A metric without a route is about any route of its service."""
        return any(
            (not route or not row.route or row.route == route) and row.first_at <= at <= row.last_at + COUNTS_AFTER
            for row in self.rows.get((environment, service), ())
        )


def book(environment: str, point: Point, delta: Delta, sources: Sources, bookings: Bookings) -> None:
    if points.meaning_of(point) == aliases.DURATION and delta.count:
        bookings.fold.hear(environment, service_of(point), METRIC, "calls", delta.count)
        if delta.zero and not point.zero_threshold:  # nothing lasts no time: a clock was set back
            bookings.fold.hear(environment, service_of(point), METRIC, "no_duration", delta.zero)
        if point.kind == "exponential" and delta.scale < SCALE:  # kept as ranges, each as wide as the sender's cell
            bookings.fold.hear(environment, service_of(point), METRIC, f"coarse_scale:{delta.scale}", delta.count)
    subject = subject_of(environment, point, bookings.writer)
    if not sources.tells_of(environment, subject.service, subject.named, moment(point.counted_at)):
        bookings.book(subject, point, delta)


def give_back(fold: Fold, writer: WriterMemory) -> None:
    """Bookings of moments of which a better source tells by now."""
    environments = {environment for environment, *_ in fold.heard}
    sources = Sources(environments)
    bookings = Bookings(fold, writer)
    gone = []
    for (environment, service), better in sources.rows.items():
        since, until = min(row.first_at for row in better), max(row.last_at for row in better) + COUNTS_AFTER
        booked = MetricBooking.objects.select_for_update().filter(
            environment=environment, service=service, at__gte=since, at__lte=until
        )
        for row in booked.order_by("id"):
            if sources.tells_of(environment, service, row.route, row.at):
                bookings.add(environment, decode_booking(bytes(row.body)), -1)
                fold.hear(environment, service, METRIC, "given_back")
                gone.append(row.pk)
    bookings.write()
    for position in range(0, len(gone), AT_ONCE):
        MetricBooking.objects.filter(pk__in=gone[position : position + AT_ONCE]).delete()
