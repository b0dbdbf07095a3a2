"""What a call itself says of its route, by our attributes, a flag's or a gateway's tags; and who evaluated a flag."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from apps.telemetry.domain import aliases
from apps.telemetry.domain.attributes import fields_of, text
from apps.telemetry.domain.otlp import Log, Span, Told
from apps.telemetry.domain.span_calls import Evaluation, SpanCall
from apps.telemetry.domain.usage import tokens


def name_route(call: SpanCall, told: Told) -> None:
    """What the call itself says of its route: ours, a flag's, a gateway's tags."""
    if not told.keys().isdisjoint(OURS):
        describe_attempt(call, told)
    if route := text(told, "route", 512):
        call.route, call.variant, call.named_by = route, text(told, "variant"), "changeover"
        return
    if route := text(told, "flag", 512):
        call.route, call.variant, call.named_by = route, text(told, "flag_variant"), "flag"
        return
    if told.keys().isdisjoint(TAGS):
        return
    name_by_tags(call, told.get("tags"))
    told_route, told_variant = text(told, "told_route", 512), text(told, "told_variant")
    if told_route:
        call.route, call.named_by = told_route.strip('"'), "tags"
    call.variant = call.variant or told_variant.strip('"')


def describe_attempt(call: SpanCall, told: Told) -> None:
    number = tokens(told.get("attempt"))
    if number is None:
        number = attempt_of_retry(told.get("retry_count"))
    call.attempt = number if number is not None and number < 1_000 else None
    call.request_id, call.pair_id = text(told, "request_id", 200), text(told, "pair_id", 200)
    call.is_final = told.get("final") is True
    version = tokens(told.get("snapshot"))
    call.snapshot = version if version is not None and version < 2**31 else None
    call.assigned = text(told, "assigned")
    said = text(told, "assigned_by")
    call.assigned_by = said if said in ("split", "rule", "default", "fallback") else ""
    call.tag = text(told, "tag")
    arm = text(told, "arm")
    if arm in ("live", "shadow"):
        call.arm = arm


def attempt_of_retry(header: Any) -> int | None:
    """OpenAI's clients count their retries from 0 in a header, which HTTP instrumentations tell as a list."""
    count = tokens(header[0] if isinstance(header, list) and header else header)
    return None if count is None else count + 1


# Most spans carry neither, and are not searched for each of them.
OURS = frozenset(
    {"attempt", "retry_count", "request_id", "pair_id", "final", "snapshot", "assigned", "assigned_by", "tag", "arm"}
)
TAGS = frozenset({"tags", "told_route", "told_variant"})


def name_by_tags(call: SpanCall, told: Any) -> None:
    """`route:…`, `variant:…`, `arm:shadow` among a gateway's tags."""
    tags: Iterable[Any] = told if isinstance(told, list) else ()
    for tag in tags:
        name, colon, value = tag.partition(":") if isinstance(tag, str) else ("", "", "")
        if not colon or not value:
            continue
        if name == "route":
            call.route, call.named_by = value[:512], "tags"
        elif name == "variant":
            call.variant = value[:128]
        elif name == "arm" and value in ("live", "shadow"):
            call.arm = value


def evaluations_of(span: Span) -> list[Evaluation]:
    """Flag events on a span, as OpenFeature's hook leaves them. One without a variant was a failure."""
    found = []
    for event in span.events:
        if event.name in aliases.FLAG_EVENTS:
            told = fields_of(event.attributes)
            route, variant = text(told, "flag", 512), text(told, "flag_variant")
            if route and variant:
                found.append(Evaluation(span.span_id, event.at, route, variant))
    return found


def evaluation_of_log(log: Log) -> Evaluation | None:
    told = log.told
    route, variant = text(told, "flag", 512), text(told, "flag_variant")
    return Evaluation(log.span_id, log.at, route, variant, "log") if route and variant and log.trace_id else None
