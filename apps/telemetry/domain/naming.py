"""What a call itself says of its route, by our attributes, a flag's or a gateway's tags; and who evaluated a flag."""

from __future__ import annotations

from typing import Any

from apps.telemetry.domain import aliases
from apps.telemetry.domain.attributes import fields_of, packed_list, text
from apps.telemetry.domain.otlp import Log, Span, Told
from apps.telemetry.domain.span_calls import Evaluation, Naming, SpanCall
from apps.telemetry.domain.usage import tokens


def name_route(call: SpanCall, told: Told) -> None:
    """What the call itself says of its route: ours, a flag's, a gateway's tags. Who believes which comes later."""
    if not told.keys().isdisjoint(OURS):
        describe_attempt(call, told)
    for naming in namings_of(told):
        call.name(naming)
    if told.keys().isdisjoint(TAGS):
        return
    if (naming := metadata_of(told)).by:
        call.name(naming)
    name_by_tags(call, told.get("tags"))


def namings_of(told: Told) -> list[Naming]:
    """Of a span, a point or a resource."""
    found = []
    if not told.keys().isdisjoint(OUR_NAMES):
        route, variant = text(told, "route", 512), text(told, "variant")
        if route or variant:
            found.append(Naming(route, variant, "changeover"))
    if flag := text(told, "flag", 512):
        found.append(Naming(flag, text(told, "flag_variant"), "flag"))
    return found


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
OUR_NAMES = frozenset({"route", "variant"})
TAGS = frozenset({"tags", "told_route", "told_variant"})


def metadata_of(told: Told) -> Naming:
    """Langfuse's, whose values are JSON."""
    route, variant = text(told, "told_route", 512).strip('"'), text(told, "told_variant").strip('"')
    return Naming(route, variant, "tags" if route or variant else "")


def name_by_tags(call: SpanCall, told: Any) -> None:
    naming, arm = tagged(told)
    call.arm = arm or call.arm
    if naming.by:
        call.name(naming)


def tagged(told: Any) -> tuple[Naming, str]:
    """`route:…`, `variant:…`, `arm:shadow` among a gateway's tags, and which arm that is."""
    route = variant = arm = ""
    for tag in packed_list(told):  # Langfuse's clients in other languages, and LiteLLM for Langfuse, pack it as JSON
        name, colon, value = tag.partition(":") if isinstance(tag, str) else ("", "", "")
        if not colon or not value:
            continue
        if name == "route":
            route = value[:512]
        elif name == "variant":
            variant = value[:128]
        elif name == "arm" and value in ("live", "shadow"):
            arm = value
    return Naming(route, variant, "tags" if route or variant else ""), arm


def trace_tags_of(span: Span) -> Evaluation | None:
    """Tags of a whole trace, on a span that is no call: Langfuse's clients set them on one of its spans."""
    told = span.told
    if told.keys().isdisjoint(TAGS):
        return None
    in_metadata, (in_tags, _) = metadata_of(told), tagged(told.get("tags"))
    route, variant = in_metadata.route or in_tags.route, in_metadata.variant or in_tags.variant
    return Evaluation("", 0, route, variant, "tags") if route else None


def evaluations_of(span: Span) -> list[Evaluation]:
    """Flag events on a span, as OpenFeature's hook leaves them. One that failed names no variant, but its route."""
    found = []
    for event in span.events:
        if event.name in aliases.FLAG_EVENTS:
            told = fields_of(event.attributes)
            if route := text(told, "flag", 512):
                found.append(Evaluation(span.span_id, event.at, route, text(told, "flag_variant")))
    return found


def evaluation_of_log(log: Log) -> Evaluation | None:
    route = text(log.told, "flag", 512)
    if not route or not log.trace_id:
        return None
    return Evaluation(log.span_id, log.at, route, text(log.told, "flag_variant"), "log")
