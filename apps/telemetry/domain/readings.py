"""What the spans of one trace say together: one call per provider call, and the route of each."""

from __future__ import annotations

from msgspec import Struct

from apps.telemetry.domain.attribution import Attribution, Settled, attribute
from apps.telemetry.domain.span_calls import SpanCall
from apps.telemetry.domain.stacks import completed, joined_streams, shared_outers, stacked, with_stream
from apps.telemetry.domain.traces import Trace


class Reading(Struct, frozen=True, gc=False):
    call: SpanCall
    is_covered: bool = False  # another span tells of the same call, or a gateway answered from its cache
    is_waiting: bool = False  # for the end of its stream
    found: Attribution = Attribution()
    covers: tuple[str, ...] = ()  # spans that tell of the same call


def read(trace: Trace, settled: Settled) -> dict[str, Reading]:
    """Each call of the trace, by its span."""
    if len(trace.calls) == 1:  # most traces
        ((span, call),) = trace.calls.items()
        found = attribute(trace, [call], settled)
        return {span: Reading(call, call.is_from_cache, call.may_be_joined, found)}
    joined = joined_streams(trace.calls)
    ends = set(joined.values())
    calls = {
        span: with_stream(call, trace.calls[joined[span]]) if span in joined else call
        for span, call in trace.calls.items()
        if span not in ends
    }
    stacks = stacked(calls, trace.links)
    shared = shared_outers(stacks)
    readings = {span: Reading(call, is_covered=True) for span, call in trace.calls.items()}
    for span, outers in stacks.items():
        call = calls[span]
        if not call.is_from_cache:
            covers = (*(outer.span for outer in outers), *([joined[span]] if span in joined else []))
            found = attribute(trace, [call, *outers], settled)
            is_waiting = call.may_be_joined and span not in joined
            readings[span] = Reading(completed(call, outers, shared), False, is_waiting, found, covers)
    return readings
