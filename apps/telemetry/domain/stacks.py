"""Which spans and log events of a trace tell of one call.

Instrumentations that stand on one another tell of it twice, a log event repeats its span, and a stream is told in two
parts: the innermost counts, with what only the others say of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from apps.telemetry.domain.span_calls import SpanCall

SECOND = 10**9
MOST_STEPS = 200  # from a call to its ancestors
RANK = {"webhook": 3, "span": 2, "log": 1}
SLACK = {"webhook": 60 * SECOND, "span": 0, "log": SECOND}

OF_REQUEST = ("arm", "request_id", "snapshot", "assigned", "assigned_by", "pair_id", "tag")
OF_CALL = ("attempt", "is_final", "told_cost_nano")

Calls = Mapping[str, SpanCall]  # by span
Stacks = dict[str, list[SpanCall]]  # span of a call that counts -> the others that tell of it, the nearest first


def stacked(calls: Calls, links: Mapping[str, str]) -> Stacks:
    outers = {
        span: [calls[above] for above in ancestors(links, span, call.parent)[1:] if above in calls]
        for span, call in calls.items()
    }
    covered = {outer.span for above in outers.values() for outer in above}
    stacks = {span: above for span, above in outers.items() if span not in covered}
    for name in ("id", "response_id"):
        by_id: dict[str, list[SpanCall]] = {}
        for span in stacks:
            if told_id := getattr(calls[span], name):
                by_id.setdefault(told_id, []).append(calls[span])
        for same in by_id.values():
            cover_by_id(same, stacks)
    return stacks


def cover_by_id(same: list[SpanCall], stacks: Stacks) -> None:
    """Calls with one id: those that overlap are one call. The shortest span is the innermost; of several rows of a
    gateway, which repeats an answer from its cache, the nearest in time is the call's."""
    same.sort(key=lambda call: (-RANK[call.source], call.end - call.begin, call.begin, call.span))
    counts: dict[str, str] = {}  # span -> the one that counts for it
    for number, call in enumerate(same):
        told = [one for one in same[:number] if do_overlap(one, call)]
        if rows := [one for one in told if one.source == "webhook"]:
            told = [min(rows, key=lambda row: abs(row.told_begin - call.told_begin))]
        inner = counts[told[0].span] if told else call.span
        counts[call.span] = inner
        if inner != call.span:
            stacks[inner] += [call, *stacks.pop(call.span)]


def do_overlap(one: SpanCall, other: SpanCall) -> bool:
    """A log event is a moment, at about the end of its call. A gateway has its own clock, and a row for each call."""
    if one.source == other.source == "webhook":
        return False
    slack = max(SLACK[one.source], SLACK[other.source])
    return one.told_begin <= other.told_end + slack and other.told_begin <= one.told_end + slack


def ancestors(links: Mapping[str, str], span: str, parent: str) -> list[str]:
    """From the nearest on; the call's own span stands in front. A circle ends the walk."""
    found = [span]
    step = parent or links.get(span, "")
    while step and step not in found and len(found) < MOST_STEPS:
        found.append(step)
        step = links.get(step, "")
    return found


def shared_outers(stacks: Stacks) -> set[str]:
    """Spans that cover several calls, as one of a request covers those of its attempts."""
    times = Counter(outer.span for outers in stacks.values() for outer in outers)
    return {span for span, n in times.items() if n > 1}


def completed(call: SpanCall, outers: Collection[SpanCall], shared: Collection[str]) -> SpanCall:
    """With what only its outer spans say of it."""
    told: dict[str, Any] = {}
    for outer in outers:
        for name in OF_REQUEST if outer.span in shared else (*OF_REQUEST, *OF_CALL):
            if name not in told and not getattr(call, name) and (value := getattr(outer, name)):
                told[name] = value
    return msgspec.structs.replace(call, **told) if told else call


def joined_streams(calls: Calls) -> dict[str, str]:
    """Span of a stream's headers -> log of its end: same parent and model, and the log begins where the span ends."""
    logs = sorted((call for call in calls.values() if call.joins), key=lambda call: (call.told_begin, call.span))
    joined: dict[str, str] = {}
    for log in logs:
        heads = [
            call
            for call in calls.values()
            if call.may_be_joined
            and call.span not in joined
            and (call.parent, call.asked_model) == (log.parent, log.asked_model)
            and abs(call.told_end - log.told_begin) <= SECOND
        ]
        if heads:
            joined[min(heads, key=lambda call: (abs(call.told_end - log.told_begin), call.span)).span] = log.span
    return joined


def with_stream(head: SpanCall, log: SpanCall) -> SpanCall:
    return msgspec.structs.replace(
        head,
        end=max(log.told_end, head.told_end) - head.ahead,
        input_tokens=log.input_tokens,
        cached_input_tokens=log.cached_input_tokens,
        output_tokens=log.output_tokens,
        cache_write_tokens=log.cache_write_tokens,
        cache_write_1h_tokens=log.cache_write_1h_tokens,
        service_tier=log.service_tier or head.service_tier,
        finish=log.finish or head.finish,
        error=log.error or head.error,
        response_model=log.response_model or head.response_model,
        response_id=log.response_id or head.response_id,
        told_cost_nano=head.told_cost_nano if log.told_cost_nano is None else log.told_cost_nano,
    )
