"""What the spans of one trace say together, however they came: one call per provider call, and the route of each.

The state of a trace is a set that only grows: spans' parents, flag evaluations, calls. `read` looks at the whole of it,
so that the order in which its parts arrived cannot matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from msgspec import Struct

from apps.catalog.domain.names import normalised
from apps.telemetry.domain.routes import RouteFacts
from apps.telemetry.domain.span_calls import Evaluation, SpanCall
from apps.telemetry.domain.spans import SECOND
from apps.telemetry.domain.sums import LedgerKey, LedgerSum

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

    @classmethod
    def of(cls, key: LedgerKey, sums: LedgerSum) -> Line:
        return cls(
            key.minute, key.route, key.variant, key.provider, key.model, key.owner, key.arm, key.trial, key.tag,
            key.rule, sums.confirmed_nano, sums.estimated_nano, sums.unpriced, sums.input_tokens,
            sums.cached_input_tokens, sums.output_tokens, key.rate, sums.cache_write_tokens, sums.cache_write_1h_tokens,
        )  # fmt: skip

    def entry(self, environment: str, *, calls: int = 1) -> tuple[LedgerKey, LedgerSum]:
        key = LedgerKey(
            self.minute, environment, self.route, self.variant, self.provider, self.model, self.owner, self.arm,
            self.trial, self.tag, self.rule, self.rate,
        )  # fmt: skip
        sums = LedgerSum(
            calls, self.confirmed_nano, self.estimated_nano, self.unpriced, self.input_tokens,
            self.cached_input_tokens, self.output_tokens, self.cache_write_tokens, self.cache_write_1h_tokens,
        )  # fmt: skip
        return key, sums


class Booked(Struct, gc=False, array_like=True):
    """What was made of a call so far."""

    of: str  # what it was booked as: when this changes, the money moves
    line: Line | None = None
    is_counted: bool = False  # in windows and requests; that happens once
    is_unassigned: bool = False
    by: str = ""  # how it found its route
    source: str = ""  # from which it is known


class Trace(Struct, gc=False, array_like=True):
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


class Reading(Struct, frozen=True, gc=False):
    call: SpanCall
    is_covered: bool = False  # another span tells of the same call, or a gateway answered from its cache
    is_waiting: bool = False  # for the end of its stream
    route: str = ""  # empty: nobody knows
    variant: str = ""
    attributed_by: str = "unassigned"
    is_ambiguous: bool = False  # flags of several routes, equally near


@dataclass(frozen=True, slots=True)
class Settled:
    """What people have settled in an environment: its routes, and which calls of a service are of which."""

    routes: Mapping[str, RouteFacts]
    rules: Mapping[tuple[str, str], str]  # (service, model) -> route; an empty model means any

    def rule(self, call: SpanCall) -> str | None:
        models = (call.asked_model, call.response_model, "")
        return next((route for model in models if (route := self.rules.get((call.service, model)))), None)

    def fits(self, call: SpanCall, evaluation: Evaluation) -> bool:
        """Is the call's model the one of the variant that the flag gave?"""
        planned = self.routes[evaluation.route].model_of(evaluation.variant)
        called = [normalised(call.provider, model)[1] for model in (call.asked_model, call.response_model) if model]
        return planned is not None and normalised("", planned)[1] in called


def read(trace: Trace, settled: Settled) -> dict[str, Reading]:
    """Each call of the trace, by its span."""
    if len(trace.calls) == 1:  # most traces
        ((span, call),) = trace.calls.items()
        return {span: Reading(call, call.is_from_cache, call.may_be_joined, *attribute(trace, call, settled))}
    covered, joined = covered_spans(trace), joined_streams(trace)
    readings = {}
    for span, call in trace.calls.items():
        if span in covered or span in joined.values() or call.is_from_cache:
            readings[span] = Reading(call, is_covered=True)
            continue
        is_waiting = call.may_be_joined and span not in joined
        if span in joined:
            call = with_stream(call, trace.calls[joined[span]])
        readings[span] = Reading(call, False, is_waiting, *attribute(trace, call, settled))
    return readings


def attribute(trace: Trace, call: SpanCall, settled: Settled) -> tuple[str, str, str, bool]:
    """Route, variant, how it was found, and whether others were as near. The first that is there."""
    if call.named_by == "changeover" or (call.named_by and call.route in settled.routes):
        return call.route, call.variant, call.named_by, False
    before = [one for one in trace.evaluations if one.at <= call.begin and one.route in settled.routes]
    if before:
        above = ancestors(trace, call.span, call.parent)
        for told_by in ("ancestor", "log"):
            told = [one for one in before if one.told_by == told_by]
            near = next((found for span in above if (found := [one for one in told if one.span == span])), [])
            if told_by == "log" and not near:  # of the same trace, if not of a span above
                near = told
            if near:
                chosen, is_ambiguous = choose(near, call, settled)
                return chosen.route, chosen.variant, told_by, is_ambiguous
    if call.resource_route:
        return call.resource_route, call.resource_variant or call.variant, "resource", False
    if ruled := settled.rule(call):
        return ruled, call.variant, "mapped", False
    return "", "", "unassigned", False


def choose(near: list[Evaluation], call: SpanCall, settled: Settled) -> tuple[Evaluation, bool]:
    """The latest. Where flags of several routes are equally near, the call's own model has the first word."""
    near = sorted(near, key=lambda one: (one.at, one.route, one.variant))
    latest = {one.route: one for one in near}
    if len(latest) == 1:
        return near[-1], False
    fitting = [one for one in near if one in latest.values() and settled.fits(call, one)]
    return (fitting or near)[-1], True


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
    answered = (
        call for call in trace.calls.values() if call.source == "webhook" and not call.error and not call.is_from_cache
    )
    done = sorted((call for call in answered if call.arm != "shadow"), key=lambda call: (call.begin, call.span))
    return [call for call in done[1:] if call.group != done[0].group]
