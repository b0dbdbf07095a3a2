"""What the spans of one trace say together, however they came: one call per provider call, and the route of each.

The state of a trace is a set that only grows: spans' parents, flag evaluations, calls. `read` looks at the whole of it,
so that the order in which its parts arrived cannot matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from msgspec import Struct

from apps.telemetry.domain.span_calls import Evaluation, SpanCall
from apps.telemetry.domain.spans import SECOND

MOST_LINKS = 5_000
MOST_STEPS = 200  # from a call to its ancestors
RANK = {"webhook": 3, "span": 2, "log": 1}


class Line(Struct, frozen=True, gc=False, array_like=True):
    """A line of the ledger as it was booked, so that it can be taken back to the nano-USD."""

    minute: int
    route: str
    variant: str
    provider: str
    model: str
    owner: str
    arm: str
    trial: str
    tag: str
    rule: str
    confirmed_nano: int
    estimated_nano: int
    unpriced: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    rate: str = ""
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0


class Booked(Struct, gc=False, array_like=True):
    """What was made of a call so far."""

    of: str  # what it was booked as: when this changes, the money moves
    line: Line | None = None
    is_counted: bool = False  # in windows and requests; that happens once
    is_unassigned: bool = False
    by: str = ""  # how it found its route


class Trace(Struct, array_like=True):
    links: dict[str, str] = {}  # span -> parent
    evaluations: list[Evaluation] = []
    calls: dict[str, SpanCall] = {}
    booked: dict[str, Booked] = {}

    def link(self, span: str, parent: str) -> None:
        if parent and len(self.links) < MOST_LINKS:
            self.links[span] = parent

    def evaluate(self, evaluation: Evaluation) -> None:
        if evaluation not in self.evaluations and len(self.evaluations) < MOST_LINKS:
            self.evaluations.append(evaluation)

    def add(self, call: SpanCall) -> bool:
        """Of a span and a log event that tell of one call, the span counts."""
        known = self.calls.get(call.span)
        if known is not None and RANK[known.source] >= RANK[call.source]:
            return False
        self.calls[call.span] = call
        return True


@dataclass(frozen=True, slots=True)
class Reading:
    call: SpanCall
    is_covered: bool = False  # another span tells of the same call
    is_waiting: bool = False  # for the end of its stream
    route: str = ""  # empty: nobody knows
    variant: str = ""
    attributed_by: str = "unassigned"


def read(trace: Trace, is_route: Callable[[str], bool], rule: Callable[[SpanCall], str | None]) -> dict[str, Reading]:
    """Each call of the trace, by its span. `rule` is what people have settled for a service and a model."""
    covered, joined = covered_spans(trace), joined_streams(trace)
    readings = {}
    for span, call in trace.calls.items():
        if span in covered or span in joined.values():
            readings[span] = Reading(call, is_covered=True)
            continue
        is_waiting = call.may_be_joined and span not in joined
        if span in joined:
            call = with_stream(call, trace.calls[joined[span]])
        route, variant, by = attribute(trace, call, is_route, rule)
        readings[span] = Reading(call, False, is_waiting, route, variant, by)
    return readings


def attribute(
    trace: Trace, call: SpanCall, is_route: Callable[[str], bool], rule: Callable[[SpanCall], str | None]
) -> tuple[str, str, str]:
    if call.named_by == "changeover" or (call.named_by and is_route(call.route)):
        return call.route, call.variant, call.named_by
    on_spans: dict[str, list[Evaluation]] = {}
    in_logs: list[Evaluation] = []
    for evaluation in trace.evaluations:
        if evaluation.at <= call.begin and is_route(evaluation.route):
            (on_spans.setdefault(evaluation.span, []) if evaluation.span else in_logs).append(evaluation)
    if on_spans:
        for ancestor in ancestors(trace, call.span, call.parent):
            if ancestor in on_spans:
                latest = max(on_spans[ancestor], key=lambda one: (one.at, one.route, one.variant))
                return latest.route, latest.variant, "ancestor"
    if in_logs:
        latest = max(in_logs, key=lambda one: (one.at, one.route, one.variant))
        return latest.route, latest.variant, "log"
    if call.resource_route:
        return call.resource_route, call.resource_variant or call.variant, "resource"
    if ruled := rule(call):
        return ruled, call.variant, "mapped"
    return "", "", "unassigned"


def ancestors(trace: Trace, span: str, parent: str) -> list[str]:
    """From the nearest on; the call's own span stands in front. A circle ends the walk."""
    found = [span]
    step = parent or trace.links.get(span, "")
    while step and step not in found and len(found) < MOST_STEPS:
        found.append(step)
        step = trace.links.get(step, "")
    return found


def covered_spans(trace: Trace) -> set[str]:
    """Instrumentations that stand on one another tell of one call twice: the innermost counts."""
    calls = trace.calls
    covered: set[str] = set()
    if len(calls) < 2:
        return covered
    for span, call in calls.items():
        covered.update(above for above in ancestors(trace, span, call.parent)[1:] if above in calls)
    by_response: dict[str, list[SpanCall]] = {}
    for span, call in calls.items():
        if call.response_id and span not in covered:
            by_response.setdefault(call.response_id, []).append(call)
    for same in by_response.values():
        same.sort(key=lambda call: (call.end - call.begin, call.begin, call.span))  # the innermost is the shortest
        for number, call in enumerate(same):
            if any(one.begin <= call.end and call.begin <= one.end for one in same[:number]):
                covered.add(call.span)
    return covered


def joined_streams(trace: Trace) -> dict[str, str]:
    """Span of a stream's headers -> log of its end: same parent and model, and the log begins where the span ends."""
    logs = sorted((call for call in trace.calls.values() if call.joins), key=lambda call: (call.begin, call.span))
    joined: dict[str, str] = {}
    for log in logs:
        heads = [
            call
            for call in trace.calls.values()
            if call.may_be_joined
            and call.span not in joined
            and (call.parent, call.asked_model) == (log.parent, log.asked_model)
            and abs(call.end - log.begin) <= SECOND
        ]
        if heads:
            joined[min(heads, key=lambda call: (abs(call.end - log.begin), call.span)).span] = log.span
    return joined


def with_stream(head: SpanCall, log: SpanCall) -> SpanCall:
    return msgspec.structs.replace(
        head,
        end=max(log.end, head.end),
        input_tokens=log.input_tokens,
        cached_input_tokens=log.cached_input_tokens,
        output_tokens=log.output_tokens,
        cache_write_tokens=log.cache_write_tokens,
        cache_write_1h_tokens=log.cache_write_1h_tokens,
        service_tier=log.service_tier or head.service_tier,
        finish=log.finish or head.finish,
        error=log.error or head.error,
        response_model=log.response_model or head.response_model,
    )


def suspected_shadows(trace: Trace) -> list[SpanCall]:
    """A gateway mirrors calls without a mark: of successes of different groups in one request, the later ones."""
    done = sorted(
        (call for call in trace.calls.values() if call.source == "webhook" and not call.error and call.arm != "shadow"),
        key=lambda call: (call.begin, call.span),
    )
    return [call for call in done[1:] if call.group != done[0].group]
