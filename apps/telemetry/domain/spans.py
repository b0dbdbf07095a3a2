"""From a span or a log event to one call at a provider, in our own words.

The table of names decides which attribute is meant; `usage`, `endings`, `providers` and `naming` decide what a value
means.
"""

from __future__ import annotations

from datetime import UTC, datetime

import mmh3

from apps.telemetry.domain import aliases
from apps.telemetry.domain.attributes import text
from apps.telemetry.domain.endings import error_class, finish_of
from apps.telemetry.domain.naming import name_route
from apps.telemetry.domain.otlp import Log, Resource, Span, Told, is_finite
from apps.telemetry.domain.providers import answered_by, invoked_model
from apps.telemetry.domain.span_calls import GATEWAY, SpanCall
from apps.telemetry.domain.usage import told_cost_nano, usage_of

SECOND = 10**9
MOST_DURATION = 86_400 * SECOND


def operation_of(told: Told) -> str | None:
    """`call`, `embedding`, or None for all that is no call at a provider."""
    named = told.get("operation")
    if isinstance(named, str):
        return aliases.OPERATIONS.get(named.lower())
    if told.get("provider") and told.get("asked_model"):  # before operations had names
        return aliases.CALL
    return None


def call_of_span(span: Span) -> SpanCall | None:
    told = span.told
    kind = operation_of(told)
    if kind is None:
        return None
    call = describe(told, kind, source="span", begin=span.begin, end=span.end)
    call.span, call.parent = span.span_id, span.parent_id
    told_id = text(told, "call_id", 200)
    call.id = f"{GATEWAY}{told_id}" if told_id else f"{span.trace_id}\n{span.span_id}"
    of_resource(call, span.resource, span.scope)
    if not call.error and (span.status == 2 or text(told, "level") == "ERROR"):
        call.error = "other"
    if span.events:
        hear_events(call, span)
    if not call.error and call.finish == "error" and not call.has_usage and span.status == 0:
        call.error = "cancelled"
    call.tell_no_usage_of_failure()
    if span.scope.startswith("logfire"):
        kind_of_span = text(told, "span_type")
        call.joins = kind_of_span == "log"
        call.may_be_joined = kind_of_span == "span" and not call.has_usage and not call.error
        if call.joins:  # a moment: its stream began `duration` before
            seconds = told.get("log_duration")
            length = int(seconds * SECOND) if isinstance(seconds, int | float) and 0 <= seconds <= 86_400 else 0
            call.begin, call.end = span.end - length, span.end
    if "ot=" in span.trace_state and is_sampled(span.trace_state):
        call.notes = [*call.notes, "sampled"]
    return call


def hear_events(call: SpanCall, span: Span) -> None:
    """Which error it was, and when the first token came, where the span's attributes do not tell."""
    is_unnamed = call.error in ("", "other")
    for event in span.events:
        if event.name == aliases.EXCEPTION_EVENT and span.status == 2 and is_unnamed:
            call.error = error_class(event.attributes.get("exception.type"), None) or call.error
        if event.name == aliases.FIRST_TOKEN_EVENT and call.first_token_ms is None and event.at > span.begin:
            call.first_token_ms = (event.at - span.begin) / 1e6


def is_sampled(trace_state: str) -> bool:
    """Does the sender keep a part of its traces only? A threshold of zero rejects none."""
    members = (member.strip().partition("=") for member in trace_state.split(","))
    fields = (field for key, _, told in members if key == "ot" for field in told.split(";"))
    return any(field.startswith("th:") and field[3:].strip("0") != "" for field in fields)


def call_of_log(log: Log) -> SpanCall | None:
    told = log.told
    kind = operation_of(told)
    if kind is None:
        return None
    call = describe(told, kind, source="log", begin=log.at, end=log.at)
    of_resource(call, log.resource, log.scope)
    call.span = log.span_id or digest_of(call)
    call.id = f"log\n{log.trace_id}\n{call.span}"
    if not call.error and call.finish == "error" and not call.has_usage:
        call.error = "cancelled"
    call.tell_no_usage_of_failure()
    return call


def digest_of(call: SpanCall) -> str:
    """Stands for the span of a call that was logged without one: by all that is known of it."""
    return mmh3.hash_bytes(call.response_id or repr(call)).hex()[:16]


def of_resource(call: SpanCall, resource: Resource, scope: str) -> None:
    call.service = resource.told["service"][:128]
    call.scope = scope[:128]
    call.resource_route = resource.told["route"][:512]
    call.resource_variant = resource.told["variant"][:128]
    call.resource_flag = resource.told["flag"][:512]
    call.resource_flag_variant = resource.told["flag_variant"][:128]


def describe(told: Told, kind: str, *, source: str, begin: int, end: int) -> SpanCall:
    call = SpanCall(source=source, span="", parent="", begin=begin, end=end, id="")  # set below: that is faster
    notes: list[str] = []
    call.is_embedding = kind == aliases.EMBEDDING
    call.provider, call.host = answered_by(told)
    call.asked_model = text(told, "asked_model", 200) or invoked_model(told)
    call.response_model = text(told, "response_model", 200)
    (
        call.input_tokens, call.cached_input_tokens, call.output_tokens,
        call.cache_write_tokens, call.cache_write_1h_tokens,
    ) = usage_of(told, notes)  # fmt: skip
    call.service_tier = text(told, "tier", 32)
    if call.is_embedding and call.input_tokens is not None and call.output_tokens is None:
        call.output_tokens = 0
    call.finish = finish_of(told)
    call.error = error_class(told.get("error"), told.get("error_code"))
    if not call.error and call.finish == "content_filter":
        call.error = "content_filtered"
    call.first_token_ms = first_token_ms(told, begin)
    call.response_id = text(told, "response_id", 200)
    call.told_cost_nano = told_cost_nano(told)
    call.notes = notes
    name_route(call, told)
    return call


NO_STREAM = (False, "False", "false")


def first_token_ms(told: Told, begin: int) -> float | None:
    """Of a stream: an answer that comes whole has no first token."""
    seconds, moment = told.get("first_token"), told.get("first_token_at")
    if (seconds is None and moment is None) or told.get("stream") in NO_STREAM:
        return None
    if isinstance(seconds, int | float) and not isinstance(seconds, bool):
        return seconds * 1000 if is_finite(seconds) and 0 <= seconds <= 86_400 else None
    if isinstance(moment, str):
        try:
            at = datetime.fromisoformat(moment.strip('"'))
        except ValueError:
            return None
        elapsed = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000 - begin / 1e6
        return elapsed if 0 <= elapsed <= 86_400_000 else None
    return None
