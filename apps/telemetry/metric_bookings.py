"""What a point of metrics books: a line of the ledger and its part in a window, so that both can be given back.

Tokens are money; durations are calls. Calls of which no tokens are told, since their stream was broken off or never
said them, cost something all the same: so many are estimated as durations of a minute were counted more than inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NamedTuple

import mmh3
import msgspec

from apps.catalog.domain.names import service_tier_of
from apps.catalog.domain.pricing import Price
from apps.telemetry import rows
from apps.telemetry.domain import aliases, attribution, endings, model_names, naming, points, providers
from apps.telemetry.domain.attributes import text
from apps.telemetry.domain.fold import Fold
from apps.telemetry.domain.otlp import Point
from apps.telemetry.domain.points import Delta
from apps.telemetry.domain.pricing import EVERYWHERE, REFUSED, Rule, Usual
from apps.telemetry.domain.ranges import Bounds
from apps.telemetry.domain.routes import UNASSIGNED
from apps.telemetry.domain.sums import WindowKey, WindowSum
from apps.telemetry.domain.traces import Line
from apps.telemetry.memory import WriterMemory
from apps.telemetry.models import LatencyRange, MetricBooking, UntoldUsage

METRIC = "metric"
AT_ONCE = 500


class Booking(msgspec.Struct, array_like=True):
    line: Line
    calls: int
    errors: int
    starts_at: int
    coarse: int
    service: str
    model: str
    is_unassigned: bool
    ranges: list[tuple[Bounds, int]] = []


encode = msgspec.msgpack.Encoder().encode
decode_booking = msgspec.msgpack.Decoder(Booking).decode


class Subject(NamedTuple):
    """Whose calls a point is about."""

    environment: str
    service: str
    named: str  # the route that the metric names itself, mostly none
    route: str
    variant: str
    provider: str
    model: str
    asked: str  # the model, without its provider
    tier: str
    is_mapped: bool  # to some route: named, or by what people have settled


class Balance(NamedTuple):
    """Calls of a minute that succeeded, how many inputs they told, and when a point last said so (seconds)."""

    calls: int = 0
    told: int = 0
    at: int = 0

    @property
    def untold(self) -> int:
        return max(self.calls - self.told, 0)

    def plus(self, other: Balance) -> Balance:
        return Balance(self.calls + other.calls, self.told + other.told, max(self.at, other.at))


RangeKey = tuple[str, str, datetime, str, str]  # environment, route, begin of the window, variant, arm


@dataclass(slots=True)
class Bookings:
    """Of one commit group."""

    fold: Fold
    writer: WriterMemory
    ranges: dict[tuple[RangeKey, Bounds], int] = field(default_factory=dict)
    balances: dict[tuple[Subject, int], Balance] = field(default_factory=dict)  # by subject and minute
    made: list[tuple[str, str, str, datetime, bytes]] = field(default_factory=list)

    def book(self, subject: Subject, point: Point, delta: Delta) -> None:
        meaning = points.meaning_of(point)
        price, error = self.price_of(subject, point), endings.error_class(points.told_of(point).get("error"), None)
        confirmed = estimated = unpriced = inputs = cached = outputs = written = calls = errors = coarse = 0
        if meaning == aliases.DURATION:
            calls = delta.count
            errors = calls if error else 0
            coarse = 0 if delta.is_fine else calls
            if errors and error not in REFUSED:
                estimated, unpriced = self.estimate(subject, price, errors)
        else:
            n = round(delta.total)
            inputs, cached, outputs, written = (
                n if meaning == kind else 0 for kind in (aliases.INPUT, aliases.CACHED, aliases.OUTPUT, aliases.WRITTEN)
            )
            if price is None:
                unpriced = max(delta.count, 1) if meaning == aliases.INPUT and n else 0  # counters count no calls
            elif cached or written:  # parts of the input, which came with the full price
                confirmed = price.cost_nano(n, cached, 0, written) - price.cost_nano(n, 0, 0)
            else:
                fees = delta.count if meaning == aliases.INPUT else 0
                confirmed = price.cost_nano(inputs, 0, outputs, calls=fees)
        if not error:
            self.balance(subject, point, delta, meaning)
        if not any((calls, inputs, cached, outputs, written, unpriced)):
            return
        tokens = (inputs, cached, outputs, written)
        line = self.line(subject, point.counted_at // 10**9, confirmed, estimated, unpriced, tokens)
        booking = self.booking(subject, line, point.counted_at // 10**9)
        booking.calls, booking.errors, booking.coarse = calls, errors, coarse
        if meaning == aliases.DURATION:
            booking.ranges = list(points.ranges_of(point, delta).items())
            if delta.is_fine:
                self.window(subject.environment, booking).latency.merge(delta.histogram)
        self.keep(subject, booking, point.counted_at // 10**9)

    def balance(self, subject: Subject, point: Point, delta: Delta, meaning: str | None) -> None:
        """Only of the pair of histograms of which each holds one value a call: counters of tokens count no calls."""
        name, at = points.name_of(point), point.counted_at // 10**9
        if name == aliases.CALLS_IN_PAIRS and meaning == aliases.DURATION:
            told = Balance(calls=delta.count, at=at)
        elif name == aliases.TOKENS_IN_PAIRS and meaning == aliases.INPUT:
            told = Balance(told=delta.count, at=at)
        else:
            return
        key = (subject._replace(tier=""), at // 60)  # it stands not always on both
        self.balances[key] = self.balances.get(key, Balance()).plus(told)

    def estimate(self, subject: Subject, price: Price | None, n: int) -> tuple[int, int]:
        """Nano-USD of so many usual calls of the model; where nobody knows them: so many calls without a price."""
        environment, model = subject.environment, f"{subject.provider}/{subject.model}"
        self.writer.load_histories({(environment, subject.route), (environment, EVERYWHERE)})
        of_route, everywhere = (self.writer.history(environment, route) for route in (subject.route, EVERYWHERE))
        inputs, (outputs, _) = of_route.usual_input, Usual(of_route, everywhere, model).output()
        if price is None or inputs is None or outputs is None:
            return 0, n
        return n * price.cost_nano(inputs, 0, outputs), 0

    def price_of(self, subject: Subject, point: Point) -> Price | None:
        price = self.writer.price_book.find(
            subject.provider or None, subject.model, moment(point.counted_at), subject.tier or None
        )
        # Many calls in one number: a tier of large prompts cannot be seen in it.
        return replace(price, bands=()) if price else None

    def line(
        self,
        subject: Subject,
        seconds: int,
        confirmed: int,
        estimated: int,
        unpriced: int,
        tokens: tuple[int, int, int, int],
    ) -> Line:
        known = self.writer.route(subject.environment, subject.route) if subject.is_mapped else UNASSIGNED
        trial = known.split_of(None, datetime.fromtimestamp(seconds, UTC)).trial
        inputs, cached, outputs, written = tokens
        return Line(
            seconds // 60, subject.route, subject.variant, subject.provider[:128], subject.model, known.owner, "live",
            trial, "", Rule.METRIC, confirmed, estimated, unpriced, inputs, cached, outputs,
            rate=service_tier_of(subject.tier), cache_write_tokens=written,
        )  # fmt: skip

    def booking(self, subject: Subject, line: Line, seconds: int) -> Booking:
        is_known = subject.is_mapped and self.writer.route(subject.environment, subject.route).is_known
        starts_at = self.fold.window_at(seconds)
        return Booking(line, 0, 0, starts_at, 0, subject.service, subject.asked, not is_known)

    def keep(self, subject: Subject, booking: Booking, seconds: int) -> None:
        self.add(subject.environment, booking, 1)
        at = datetime.fromtimestamp(seconds, UTC)
        self.made.append((subject.environment, subject.service, subject.named, at, encode(booking)))

    def add(self, environment: str, booking: Booking, sign: int) -> None:
        """With the sign -1 it is given back; fine latencies are not: the better source tells the same ones."""
        line = booking.line
        key, sums = line.entry(environment, calls=booking.calls)
        self.fold.add_line(key, sums, sign)
        window = self.window(environment, booking)
        window.calls += sign * booking.calls
        window.errors += sign * booking.errors
        window.coarse += sign * booking.coarse
        window.input_tokens += sign * line.input_tokens
        window.cached_input_tokens += sign * line.cached_input_tokens
        window.output_tokens += sign * line.output_tokens
        window.confirmed_nano += sign * line.confirmed_nano
        window.estimated_nano += sign * line.estimated_nano
        window.unpriced += sign * line.unpriced
        of_window = (environment, line.route, moment(booking.starts_at * 10**9), line.variant, line.arm)
        for bounds, n in booking.ranges:
            self.ranges[of_window, bounds] = self.ranges.get((of_window, bounds), 0) + sign * n
        if booking.is_unassigned and booking.calls:
            self.fold.unassign(environment, line.route, sign * booking.calls)
            self.fold.unassigned_of[environment, line.route] = (booking.service, booking.model)

    def window(self, environment: str, booking: Booking) -> WindowSum:
        line = booking.line
        key = WindowKey(environment, line.route, line.variant, line.arm, booking.starts_at)
        return self.fold.windows.setdefault(key, WindowSum())

    def write(self) -> None:
        self.estimate_untold()
        rows.insert(MetricBooking, self.made)
        rows.insert(
            LatencyRange,
            [(*key, *bounds, n) for (key, bounds), n in sorted(self.ranges.items()) if n],
            "ON CONFLICT (environment, route, starts_at, variant, arm, above, up_to)"
            " DO UPDATE SET n = telemetry_latencyrange.n + excluded.n",
        )

    def estimate_untold(self) -> None:
        """Durations and inputs come in any order, maybe in several bodies: each time only the difference is booked."""
        keys = {key_of(*told): told for told in self.balances}
        before = load_balances(sorted(keys))
        written = []
        for key, (subject, minute) in sorted(keys.items()):
            old = before.get(key, Balance())
            new = old.plus(self.balances[subject, minute])
            at = datetime.fromtimestamp(new.at, UTC)
            written.append((key, at, new.calls, new.told))
            if n := new.untold - old.untold:
                price = self.writer.price_book.find(subject.provider or None, subject.model, at)
                estimated, unpriced = self.estimate(subject, price, n)
                line = self.line(subject, new.at, 0, estimated, unpriced, (0, 0, 0, 0))
                self.keep(subject, self.booking(subject, line, new.at), new.at)
        rows.insert(
            UntoldUsage,
            written,
            "ON CONFLICT (key) DO UPDATE SET at = excluded.at, calls = excluded.calls, told = excluded.told",
        )


def subject_of(environment: str, point: Point, writer: WriterMemory) -> Subject:
    told = points.told_of(point)
    asked, answered = text(told, "asked_model", 200), text(told, "response_model", 200)
    service, routes = service_of(point), writer.routes.get(environment, {})
    named = attribution.of_point(naming.namings_of(told), naming.namings_of(point.resource.told), routes)
    ruled = model_names.ruled(writer.rules.get(environment, {}), service, asked, answered)
    said, host = providers.answered_by(told)
    provider = providers.settled_at(writer.endpoints.get(environment, {}), host) or said
    at, model = moment(point.counted_at), asked or answered
    found = (writer.price_book.find(provider or None, name, at) for name in (answered, asked) if name)
    price = next((one for one in found if one), None)
    return Subject(
        environment=environment,
        service=service,
        named=named.route,
        route=named.route or ruled or model_names.name_of_unassigned(service, model),
        variant=named.variant,
        provider=price.provider if price else provider,
        model=price.model if price else model.lower(),
        asked=model_names.plain_name(model),
        tier=text(told, "tier", 32),
        is_mapped=bool(named.route or ruled),
    )


def key_of(subject: Subject, minute: int) -> str:
    return mmh3.hash_bytes("\n".join([*map(str, subject), str(minute)])).hex()


def load_balances(keys: Sequence[str]) -> Mapping[str, Balance]:
    found = {}
    for position in range(0, len(keys), AT_ONCE):
        locked = UntoldUsage.objects.select_for_update().filter(key__in=keys[position : position + AT_ONCE])
        found.update({row.key: Balance(row.calls, row.told, int(row.at.timestamp())) for row in locked.order_by("key")})
    return found


def service_of(point: Point) -> str:
    return point.resource.told["service"][:128]


def moment(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)
