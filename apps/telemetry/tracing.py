"""Traces in tables: what came before of a trace is added to what comes now, and the whole is read again.

Money is booked at once, under the best route that is known, and moved by two more lines when more becomes known. Into
windows and requests a call comes once: when its route is known, or when nothing more of its trace has come for a while.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import get_args

import mmh3
import msgspec

from apps.catalog.domain.names import normalised
from apps.catalog.domain.pricing import PriceBook
from apps.telemetry import meeting, rows, trace_rows
from apps.telemetry.domain import model_names, traces
from apps.telemetry.domain.attempts import Attempt
from apps.telemetry.domain.attribution import Settled
from apps.telemetry.domain.batch import AssignedBy, Call
from apps.telemetry.domain.fold import Fold
from apps.telemetry.domain.intake import Intake
from apps.telemetry.domain.lines import sums_of_one
from apps.telemetry.domain.providers import settled_at
from apps.telemetry.domain.readings import Reading, read
from apps.telemetry.domain.span_calls import SpanCall
from apps.telemetry.domain.traces import Booked, Line, Trace
from apps.telemetry.memory import WriterMemory
from apps.telemetry.models import SuspectedShadow
from apps.telemetry.models import Trace as TraceRow
from apps.telemetry.trace_rows import Key, home_of

STAYS = timedelta(minutes=30)  # after the last of it came
AT_ONCE = 500
ASSIGNED_BY: dict[str, AssignedBy] = {name: name for name in get_args(AssignedBy)}

Read = tuple[str, Booked, Reading, Call, str]  # environment, what was made of it, what it is now, and its fingerprint
Taken = tuple[str, Intake, Sequence[bool]]  # environment, what came, which of its calls are new

fingerprint = msgspec.msgpack.Encoder().encode


def take(taken: Sequence[Taken], fold: Fold, writer: WriterMemory, now: datetime) -> None:
    """In the commit group's transaction."""
    for environment, intake, _ in taken:
        for (service, source, what), n in intake.heard.items():
            key = intake.key if what.startswith("rejected:") else ""
            fold.hear(environment, service, source, what, n, key=key)
    keys = sorted({(environment, trace_id) for environment, intake, _ in taken for trace_id in intake.parts})
    if not keys:
        return
    names = meeting.names(taken, writer, now)
    states = trace_rows.load({*keys, *names, *meeting.places(names)})
    known = set(states)
    for trace in {*keys, *(home_of(states, key) for key in keys)}:
        states.setdefault(trace, Trace())
    meeting.unite(states, names)
    beyond: dict[Key, Trace] = {}
    for environment, intake, new in taken:
        endpoints = writer.endpoints.get(environment)
        for trace_id, part in intake.parts.items():
            state = states[home_of(states, (environment, trace_id))]
            for span, parent in part.links.items():
                state.link(span, parent)
            for evaluation in part.evaluations:
                state.evaluate(evaluation)
            for call in [intake.calls[number] for number in part.calls if new[number]]:
                if call.host and endpoints:
                    call.provider = settled_at(endpoints, call.host) or call.provider
                if state.has_room_for(call):
                    state.add(call)
                else:
                    beyond.setdefault((environment, trace_id), Trace(state.links, state.evaluations)).add(call)
                    fold.hear(environment, call.service, call.source, "beyond_its_trace")
    settle(states, fold, writer, is_last=False)
    settle(beyond, fold, writer, is_last=True)  # by what is known now: they are not remembered
    trace_rows.save(states, known, now)
    suspect(states)


def settle(states: dict[Key, Trace], fold: Fold, writer: WriterMemory, *, is_last: bool) -> None:
    """Reads each trace again, and books what is read otherwise than before. First all is learned, then priced."""
    found: list[Read] = []
    priced: dict[str, list[Call]] = {}  # by environment
    book_of_prices = writer.price_book
    settled = {environment: settled_in(writer, environment) for environment in {of for of, _ in states}}
    for environment, trace_id in sorted(states):
        state = states[environment, trace_id]
        for span, reading in read(state, settled[environment]).items():
            call = plain(reading, book_of_prices)
            of = "covered" if reading.is_covered else mmh3.hash_bytes(fingerprint(call)).hex()
            booked = state.booked.get(span)
            if booked is None:
                booked = state.booked[span] = Booked("")
            for other in reading.covers:
                if other in state.booked:
                    booked.take_over(state.booked[other])
            hear_source(environment, booked, reading, fold)
            found.append((environment, booked, reading, call, of))
            if booked.of != of and not reading.is_covered:
                priced.setdefault(environment, []).append(call)
    writer.load_histories({(environment, call.route) for environment, _, _, call, _ in found})
    attempts: dict[int, Attempt] = {}
    for environment, calls in priced.items():
        fold.learn_told(environment, calls)
        attempts |= {id(attempt.call): attempt for attempt in fold.attempts(environment, calls)}
    countable: dict[str, list[tuple[Booked, Attempt, SpanCall]]] = {}
    for environment, booked, reading, call, of in found:
        attempt = attempts.get(id(call))
        if booked.of != of:
            book(environment, booked, reading, attempt, of, fold)
        if not booked.is_counted and not reading.is_covered and (is_last or is_settled(reading)):
            attempt = attempt or fold.attempt_of(environment, call)
            countable.setdefault(environment, []).append((booked, attempt, reading.call))
    for environment, counted in countable.items():
        fold.count_attempts(environment, [attempt for _, attempt, told in counted if told.has_latency])
        for booked, attempt, told in counted:
            if not told.has_latency:
                fold.add_coarse(environment, attempt)
            booked.is_counted = True


def hear_source(environment: str, booked: Booked, reading: Reading, fold: Fold) -> None:
    """A log event may come before the span of its call: then the call is the span's from there on."""
    call = reading.call
    told_nano = 0 if reading.is_covered else call.told_cost_nano or 0
    if told_nano != booked.told_nano:
        fold.hear(environment, call.service, call.source, "told_nano", told_nano - booked.told_nano)
        booked.told_nano = told_nano
    if booked.source == call.source:
        return
    if booked.source:
        fold.hear(environment, call.service, booked.source, "calls", -1)
    fold.hear(environment, call.service, call.source, "calls")
    booked.source = call.source


def is_settled(reading: Reading) -> bool:
    return bool(reading.found.route) and not reading.is_waiting and reading.call.has_latency


def settled_in(writer: WriterMemory, environment: str) -> Settled:
    return Settled(writer.routes.get(environment, {}), writer.rules.get(environment, {}), writer.price_book)


def plain(reading: Reading, book: PriceBook) -> Call:
    """As if the native door had taken it."""
    call = reading.call
    at = datetime.fromtimestamp(call.begin / 1e9, UTC)
    provider, model = priced_model(call, book, at)
    return Call(  # in the order of its fields: names would cost six times as much
        call.id[:200],
        at,
        reading.found.route or model_names.name_of_unassigned(call.service, call.asked_model or call.response_model),
        (call.end - call.begin) / 1e6,
        reading.found.variant or None,
        provider or None,
        model or None,
        call.request_id or None,
        call.attempt,
        call.first_token_ms,
        call.input_tokens,
        call.cached_input_tokens,
        call.output_tokens,
        call.cache_write_tokens,
        call.cache_write_1h_tokens,
        None,  # output_chars
        None,  # tokens_source
        call.service_tier or None,
        None,  # cost_usd
        call.error or None,
        "shadow" if call.arm == "shadow" else "live",
        call.pair_id or None,
        call.is_final,
        call.snapshot,
        call.assigned or None,
        ASSIGNED_BY.get(call.assigned_by),
        call.tag or None,
    )


def priced_model(call: SpanCall, book: PriceBook, at: datetime) -> tuple[str, str]:
    """The answer's model where it has a price, else the one that was asked for, as the price book spells them."""
    for model in (call.response_model, call.asked_model):
        price = book.find(call.provider or None, model, at) if model else None
        if price is not None:
            return price.provider, price.model
    provider, model = normalised(call.provider, call.asked_model or call.response_model)
    return provider[:128], model[:200]


def book(environment: str, booked: Booked, reading: Reading, attempt: Attempt | None, of: str, fold: Fold) -> None:
    """Takes back what was booked, and books what is known now."""
    if booked.line is not None:
        unbook(environment, booked, booked.line, reading.call, fold)
    booked.of = of
    if attempt is None:
        fold.hear(environment, reading.call.service, reading.call.source, "covered")
        return
    key, sums = fold.ledger_key(environment, attempt), sums_of_one(attempt.call, attempt.price)
    fold.add_line(key, sums)
    booked.line = Line.of(key, sums)
    if not attempt.facts.is_known:
        count_unassigned(environment, attempt.call.route, reading, fold)
        booked.is_unassigned = True
    booked.by = reading.found.by
    fold.hear(environment, reading.call.service, reading.call.source, f"by:{booked.by}")
    if reading.found.is_ambiguous or is_conflict(attempt, fold.book):
        fold.hear(environment, reading.call.service, reading.call.source, "attribution_conflict")


def unbook(environment: str, booked: Booked, line: Line, call: SpanCall, fold: Fold) -> None:
    key, sums = line.entry(environment)
    fold.add_line(key, sums, -1)
    if booked.is_unassigned:
        fold.unassign(environment, line.route, -1)
    fold.hear(environment, call.service, call.source, "moved")
    fold.hear(environment, call.service, call.source, f"by:{booked.by}", -1)
    booked.line, booked.is_unassigned = None, False


def count_unassigned(environment: str, route: str, reading: Reading, fold: Fold) -> None:
    fold.unassign(environment, route, 1)
    if not reading.found.route:
        call = reading.call
        model = model_names.plain_name(call.asked_model or call.response_model)
        fold.unassigned_of[environment, route] = (call.service, model)


def is_conflict(attempt: Attempt, book: PriceBook) -> bool:
    """A variant whose model is not the call's: so a silent fallback looks. It is booked by its own model."""
    planned, call = attempt.facts.model_of(attempt.variant), attempt.call
    if planned is None or not call.model:
        return False
    return not model_names.is_same(book, planned, call.provider or "", call.model, call.at)


class Suspect(msgspec.Struct, array_like=True):
    call: SpanCall
    booked: Booked


decode_suspect = msgspec.msgpack.Decoder(Suspect).decode


def suspect(states: dict[Key, Trace]) -> None:
    """Mirrored calls carry no mark: they are listed, and somebody says what they are."""
    found = []
    for (environment, trace_id), state in states.items():
        for call in traces.suspected_shadows(state) if len(state.calls) > 1 else ():
            booked = state.booked[call.span]
            line = booked.line
            cost = line.confirmed_nano + line.estimated_nano if line else 0
            at = datetime.fromtimestamp(call.begin / 1e9, UTC)
            route = line.route if line else ""
            body = trace_rows.encode(Suspect(call, booked))
            found.append(
                (environment, call.span, trace_id, call.group, call.asked_model, route, cost, at, body, "", "", None)
            )
    rows.insert(
        SuspectedShadow,
        sorted(found),
        "ON CONFLICT (environment, call_id) DO UPDATE"
        " SET route = excluded.route, cost_nano = excluded.cost_nano, body = excluded.body",
    )


def move_to_shadow(found: SuspectedShadow, fold: Fold, writer: WriterMemory, now: datetime) -> None:
    """Its money: by its trace so long as more of it may come, else by what was kept of the call."""
    key = (found.environment, found.trace_id)
    states = trace_rows.load([key])
    key = home_of(states, key)
    state = states.get(key)
    is_remembered = state is not None and found.call_id in state.calls
    if state is None or not is_remembered:
        told = decode_suspect(bytes(found.body))
        if told.booked.line is not None:  # what gave it its route has gone with its trace
            told.call.route, told.call.variant = told.booked.line.route, told.booked.line.variant
            told.call.named_by = "changeover"
        state = Trace(calls={found.call_id: told.call}, booked={found.call_id: told.booked})
    state.calls[found.call_id].arm = "shadow"
    settle({key: state}, fold, writer, is_last=not is_remembered)
    if is_remembered:
        trace_rows.save({key: state}, [key], now)


def quiet(now: datetime) -> list[Key]:
    """Traces of which nothing has come for a while, locked."""
    old = TraceRow.objects.select_for_update(skip_locked=True).filter(at__lt=now - STAYS).order_by("at", "id")
    return list(old.values_list("environment", "trace_id")[:AT_ONCE])


def settle_quiet(keys: Sequence[Key], fold: Fold, writer: WriterMemory, now: datetime) -> None:
    """What was not counted yet is counted under the name of its service and model; then the traces go."""
    states = trace_rows.load_rows(keys)
    settle(states, fold, writer, is_last=True)
    suspect(states)
    for environment, trace_id in keys:
        TraceRow.objects.filter(environment=environment, trace_id=trace_id).delete()
