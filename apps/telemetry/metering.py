"""Metrics in tables, and who has the money: webhook, span, log event, metric, the first that tells of a service.

Metrics name no call, so they cannot be matched with spans one by one. Where a better source tells of the same service
and moment, what metrics had booked is given back, and what they tell from then on only serves for comparison.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import mmh3
import msgspec
from django.db import connection

from apps.telemetry import rows
from apps.telemetry.domain import aliases, endings, points, providers
from apps.telemetry.domain.attributes import text
from apps.telemetry.domain.fold import Fold
from apps.telemetry.domain.intake import Intake
from apps.telemetry.domain.otlp import Point
from apps.telemetry.domain.points import Delta, State
from apps.telemetry.domain.pricing import REFUSED
from apps.telemetry.domain.ranges import Bounds
from apps.telemetry.domain.routes import UNASSIGNED, RouteFacts
from apps.telemetry.domain.sums import LedgerKey, LedgerSum, WindowKey, WindowSum
from apps.telemetry.domain.traces import Line
from apps.telemetry.memory import WriterMemory
from apps.telemetry.models import Instance, LatencyRange, MetricBooking, MetricStream, Source

Taken = tuple[str, Intake, Sequence[bool]]
METRIC = "metric"
AT_ONCE = 500
COUNTS_AFTER = timedelta(hours=24)  # a better source that fell silent for longer no longer has the money

encode = msgspec.msgpack.Encoder().encode
decode_state = msgspec.msgpack.Decoder(State).decode


class Booking(msgspec.Struct, array_like=True):
    """A line of the ledger and its part in a window, so that both can be given back."""

    line: Line
    calls: int
    errors: int
    starts_at: int
    coarse: int
    service: str
    model: str
    is_unassigned: bool
    ranges: list[tuple[Bounds, int]] = []


RangeKey = tuple[str, str, datetime, str, str]  # environment, route, begin of the window, variant, arm
WindowRanges = dict[tuple[RangeKey, Bounds], int]
decode_booking = msgspec.msgpack.Decoder(Booking).decode


def meet(taken: Sequence[Taken], now: datetime) -> None:
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
                key = (environment, call.service, call.route, call.source)
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


def moment(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)


def take(taken: Sequence[Taken], fold: Fold, writer: WriterMemory, now: datetime) -> None:
    """Points in the order of their moments: of two points of one stream in one group the earlier is read first."""
    fresh: list[tuple[str, Point]] = []
    for environment, intake, new in taken:
        fresh += [(environment, point) for point, is_new in zip(intake.points, new, strict=True) if is_new]
    if not fresh:
        return
    fresh.sort(key=lambda one: one[1].at)
    keys = [stream_key(environment, point) for environment, point in fresh]
    states = load_states(sorted(set(keys)))
    known = known_since({environment for environment, _ in fresh})
    sources = Sources({environment for environment, _ in fresh})
    bookings: list[tuple[str, str, str, datetime, bytes]] = []
    ranges: WindowRanges = {}
    kept: dict[str, State] = {}
    for key, (environment, point) in zip(keys, fresh, strict=True):
        since = known.get((environment, service_of(point), instance_of(point)), now)
        before = states.get(key)
        delta, state, kind = points.read(point, before, int(since.timestamp() * 1e9))
        if state is not None:
            states[key] = kept[key] = state
        if kind in ("gap", "late", "reset"):
            fold.hear(environment, service_of(point), METRIC, kind)
        if delta is not None:
            hear_interval(environment, point, before, fold)
            bookings += book(environment, point, delta, sources, fold, writer, ranges)
    rows.insert(
        MetricStream,
        [(key, now, encode(state)) for key, state in sorted(kept.items())],
        "ON CONFLICT (key) DO UPDATE SET at = excluded.at, body = excluded.body",
    )
    rows.insert(MetricBooking, bookings)
    write_ranges(ranges)


def hear_interval(environment: str, point: Point, before: State | None, fold: Fold) -> None:
    """No window that metrics feed is finer than the time between two points of theirs."""
    since = before.at if before is not None and before.begin == point.begin else point.begin
    if points.meaning_of(point) == aliases.DURATION and 0 < since < point.at:
        fold.hear(environment, service_of(point), METRIC, "points")
        fold.hear(environment, service_of(point), METRIC, "point_seconds", round((point.at - since) / 1e9))


def write_ranges(ranges: WindowRanges) -> None:
    rows.insert(
        LatencyRange,
        [(*key, *bounds, n) for (key, bounds), n in sorted(ranges.items()) if n],
        "ON CONFLICT (environment, route, starts_at, variant, arm, above, up_to)"
        " DO UPDATE SET n = telemetry_latencyrange.n + excluded.n",
    )


def stream_key(environment: str, point: Point) -> str:
    return f"{mmh3.hash64(environment, signed=False)[0]:016x}{points.stream_of(point)}"


def service_of(point: Point) -> str:
    return str(point.resource.attributes.get("service.name") or "")[:128]


def instance_of(point: Point) -> str:
    return str(point.resource.attributes.get("service.instance.id") or "")[:200]


def load_states(keys: Sequence[str]) -> dict[str, State]:
    states = {}
    for position in range(0, len(keys), AT_ONCE):
        found = MetricStream.objects.select_for_update().filter(key__in=keys[position : position + AT_ONCE])
        for key, body in found.order_by("key").values_list("key", "body"):
            states[key] = decode_state(bytes(body))
    return states


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


def book(
    environment: str,
    point: Point,
    delta: Delta,
    sources: Sources,
    fold: Fold,
    writer: WriterMemory,
    ranges: WindowRanges,
) -> list[tuple[str, str, str, datetime, bytes]]:
    service, meaning = service_of(point), points.meaning_of(point)
    if meaning == aliases.DURATION and delta.count:
        fold.hear(environment, service, METRIC, "calls", delta.count)
    facts = describe(environment, point, writer)
    at = moment(point.at)
    if sources.tells_of(environment, service, facts["named"], at):
        return []
    booking = booking_of(facts, point, delta, fold, writer, environment)
    if booking is None:
        return []
    if meaning == aliases.DURATION:
        booking.ranges = list(points.ranges_of(point, delta).items())
    add(environment, booking, delta if meaning == aliases.DURATION else None, fold, ranges, 1)
    return [(environment, service, facts["named"], at, encode(booking))]


def describe(environment: str, point: Point, writer: WriterMemory) -> dict[str, Any]:
    told = points.told_of(point)
    asked, answered = text(told, "asked_model", 200), text(told, "response_model", 200)
    route = text(told, "route", 512)
    variant = text(told, "variant")
    flag = text(told, "flag", 512)
    routes, service = writer.routes.get(environment, {}), service_of(point)
    if not route and flag in routes:
        route, variant = flag, text(told, "flag_variant")
    if not route:
        route = str(point.resource.attributes.get("changeover.route") or "")[:512]
    rules = writer.rules.get(environment, {})
    ruled = rules.get((service, asked)) or rules.get((service, answered)) or rules.get((service, ""))
    at = moment(point.at)
    provider = providers.provider_of(told)
    price = next(
        (
            price
            for model in (answered, asked)
            if model and (price := writer.price_book.find(provider or None, model, at))
        ),
        None,
    )
    model = asked or answered
    return {
        "named": route,
        "route": route or ruled or f"{service or 'unknown'}: {model or 'unknown'}"[:512],
        "variant": variant,
        "service": service,
        "is_unassigned": not route and not ruled,
        "provider": price.provider if price else provider,
        "model": price.model if price else model.lower(),
        "asked": model,
        # Many calls in one number: a tier of large prompts cannot be seen in it.
        "price": replace(price, bands=()) if price else None,
        "error": endings.error_class(told.get("error"), None),
    }


def booking_of(
    facts: dict[str, Any], point: Point, delta: Delta, fold: Fold, writer: WriterMemory, environment: str
) -> Booking | None:
    meaning, price = points.meaning_of(point), facts["price"]
    confirmed = estimated = unpriced = inputs = cached = outputs = calls = errors = coarse = 0
    if meaning == aliases.DURATION:
        calls = delta.count
        errors = calls if facts["error"] else 0
        coarse = 0 if delta.is_fine else calls
        if errors and facts["error"] not in REFUSED:
            estimated, unpriced = estimate_errors(facts, errors, writer, environment)
    else:
        n = round(delta.total)
        inputs, cached, outputs = (n if meaning == kind else 0 for kind in
                                   (aliases.INPUT, aliases.CACHED, aliases.OUTPUT))  # fmt: skip
        if price is None:
            unpriced = delta.count
        elif meaning == aliases.CACHED:  # a part of the input, which came with the full price
            confirmed = price.cost_nano(n, n, 0) - price.cost_nano(n, 0, 0)
        else:
            confirmed = price.cost_nano(inputs, 0, outputs)
    if not any((calls, inputs, cached, outputs, unpriced)):
        return None
    known: RouteFacts = UNASSIGNED if facts["is_unassigned"] else writer.route(environment, facts["route"])
    seconds = point.at // 10**9
    line = Line(
        seconds // 60, facts["route"], facts["variant"], facts["provider"][:128], facts["model"], known.owner, "live",
        known.split_of(None, moment(point.at)).trial, "", METRIC, confirmed, estimated, unpriced, inputs, cached,
        outputs,
    )  # fmt: skip
    is_unassigned = not known.is_known
    starts_at = fold.window_at(seconds)
    return Booking(line, calls, errors, starts_at, coarse, facts["service"], facts["asked"], is_unassigned)


def estimate_errors(facts: dict[str, Any], errors: int, writer: WriterMemory, environment: str) -> tuple[int, int]:
    writer.load_histories({(environment, facts["route"])})
    history = writer.history(environment, facts["route"])
    price, inputs, outputs = facts["price"], history.usual_input, history.usual_output
    if price is None or inputs is None or outputs is None:
        return 0, errors
    return errors * price.cost_nano(inputs, 0, outputs), 0


def add(environment: str, booking: Booking, delta: Delta | None, fold: Fold, ranges: WindowRanges, sign: int) -> None:
    """The line of money, and the window. Fine latencies are not taken back: the better source tells the same ones."""
    line = booking.line
    key = LedgerKey(
        line.minute, environment, line.route, line.variant, line.provider, line.model, line.owner, line.arm,
        line.trial, line.tag, line.rule, line.rate,
    )  # fmt: skip
    sums = LedgerSum(
        booking.calls, line.confirmed_nano, line.estimated_nano, line.unpriced, line.input_tokens,
        line.cached_input_tokens, line.output_tokens,
    )  # fmt: skip
    fold.add_line(key, sums, sign)
    window_key = WindowKey(environment, line.route, line.variant, line.arm, booking.starts_at)
    window = fold.windows.setdefault(window_key, WindowSum())
    window.calls += sign * booking.calls
    window.errors += sign * booking.errors
    window.coarse += sign * booking.coarse
    window.input_tokens += sign * line.input_tokens
    window.cached_input_tokens += sign * line.cached_input_tokens
    window.output_tokens += sign * line.output_tokens
    window.confirmed_nano += sign * line.confirmed_nano
    window.estimated_nano += sign * line.estimated_nano
    window.unpriced += sign * line.unpriced
    if delta is not None and delta.is_fine:
        window.latency.merge(delta.histogram)
    of_window = (environment, line.route, moment(booking.starts_at * 10**9), line.variant, line.arm)
    for bounds, n in booking.ranges:
        ranges[of_window, bounds] = ranges.get((of_window, bounds), 0) + sign * n
    if booking.is_unassigned and booking.calls:
        name = (environment, line.route)
        fold.unassigned[name] = fold.unassigned.get(name, 0) + sign * booking.calls
        fold.unassigned_of[name] = (booking.service, booking.model)


def give_back(fold: Fold, now: datetime) -> None:
    """Bookings of moments of which a better source tells by now."""
    environments = {environment for environment, *_ in fold.heard}
    sources = Sources(environments)
    ranges: WindowRanges = {}
    gone = []
    for (environment, service), better in sources.rows.items():
        since, until = min(row.first_at for row in better), max(row.last_at for row in better) + COUNTS_AFTER
        booked = MetricBooking.objects.select_for_update().filter(
            environment=environment, service=service, at__gte=since, at__lte=until
        )
        for row in booked.order_by("id"):
            if sources.tells_of(environment, service, row.route, row.at):
                add(environment, decode_booking(bytes(row.body)), None, fold, ranges, -1)
                fold.hear(environment, service, METRIC, "given_back")
                gone.append(row.pk)
    write_ranges(ranges)
    for position in range(0, len(gone), AT_ONCE):
        MetricBooking.objects.filter(pk__in=gone[position : position + AT_ONCE]).delete()
