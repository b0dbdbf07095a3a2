"""From a span, a log event or a webhook's row to one call at a provider, in our own words.

The table of names decides which attribute is meant; this file decides what a value means. Cached tokens are part of the
input and reasoning tokens part of the output: neither is ever added. Costs that a sender states are for comparison.
"""

from __future__ import annotations

import ast
import ipaddress
import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from apps.telemetry.domain import aliases
from apps.telemetry.domain.otlp import Log, Span, is_finite

MOST_TOKENS = 1_000_000_000
MOST_DURATION = 86_400 * 10**9
SECOND = 10**9
_ERROR_CLASS = re.compile(r"[^A-Za-z0-9_.:-]")


class Evaluation(Struct, frozen=True, gc=False, array_like=True):
    """A flag was evaluated: by a hook on some span, or told in a log event (then without a span)."""

    span: str
    at: int
    route: str
    variant: str


class SpanCall(Struct, gc=False, array_like=True, kw_only=True):
    """What is kept of a call until its trace is complete. Moments are nanoseconds, None is unknown."""

    source: str  # webhook, span, log
    span: str
    parent: str
    begin: int
    end: int
    id: str  # by which it is the same call wherever it comes from
    service: str = ""
    scope: str = ""
    is_embedding: bool = False
    provider: str = ""
    asked_model: str = ""
    response_model: str = ""
    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    first_token_ms: float | None = None
    error: str = ""
    finish: str = ""
    response_id: str = ""
    told_cost_nano: int | None = None
    group: str = ""  # LiteLLM's model group
    route: str = ""  # named on the call itself
    variant: str = ""
    named_by: str = ""
    resource_route: str = ""
    resource_variant: str = ""
    arm: str = ""
    attempt: int | None = None
    request_id: str = ""
    pair_id: str = ""
    is_final: bool = False
    snapshot: int | None = None
    assigned: str = ""
    assigned_by: str = ""
    tag: str = ""
    joins: bool = False  # Logfire's log of a stream's end
    may_be_joined: bool = False  # and the span that ended with the stream's headers
    notes: list[str] = []  # what was odd about it

    @property
    def has_usage(self) -> bool:
        return self.input_tokens is not None or self.output_tokens is not None

    @property
    def has_latency(self) -> bool:
        return self.source != "log"


Told = dict[str, Any]  # by our own names; texts in which numbers are packed stand under their sender's
_FIELDS_OF: dict[str, tuple[tuple[str, int], ...]] = {}
for _field, _names in aliases.FIELDS.items():
    for _rank, _name in enumerate(_names):
        _FIELDS_OF[_name] = (*_FIELDS_OF.get(_name, ()), (_field, _rank))
for _name in (*aliases.INVOCATION, *aliases.USAGE, *aliases.COSTS):
    _FIELDS_OF[_name] = ((_name, 0),)


def fields_of(attributes: Mapping[str, Any]) -> Told:
    """Of each field the newest name that has a value. One walk over what was sent."""
    told: Told = {}
    ranks: dict[str, int] = {}
    for name, value in attributes.items():
        if value is None or value == "":
            continue
        for field, rank in _FIELDS_OF.get(name, ()):
            if rank < ranks.get(field, 99):
                told[field], ranks[field] = value, rank
    return told


def of_resource_named(attributes: Mapping[str, Any], field: str) -> str:
    """A resource's own name of a field; the newest that has a value."""
    for name in aliases.RESOURCE[field]:
        value = attributes.get(name)
        if isinstance(value, str) and value:
            return value
    return ""


def text(told: Told, field: str, length: int = 128) -> str:
    value = told.get(field)
    return value[:length] if isinstance(value, str) else ""


def operation_of(told: Told) -> str | None:
    """`call`, `embedding`, or None for all that is no call at a provider."""
    named = told.get("operation")
    if isinstance(named, str):
        return aliases.OPERATIONS.get(named.lower())
    if told.get("provider") and told.get("asked_model"):  # before operations had names
        return aliases.CALL
    return None


def call_of_span(span: Span) -> SpanCall | None:
    told = fields_of(span.attributes)
    kind = operation_of(told)
    if kind is None:
        return None
    call = describe(told, kind, source="span", begin=span.begin, end=span.end)
    call.span, call.parent = span.span_id, span.parent_id
    told_id = text(told, "call_id", 200)
    call.id = f"litellm\n{told_id}" if told_id else f"{span.trace_id}\n{span.span_id}"
    of_resource(call, span.resource.attributes, span.scope)
    if not call.error and (span.status == 2 or text(told, "level") == "ERROR"):
        call.error = "other"
    if call.error in ("", "other"):
        for event in span.events:
            if event.name == aliases.EXCEPTION_EVENT and span.status == 2:
                call.error = error_class(event.attributes.get("exception.type"), None) or call.error
    if not call.error and call.finish == "error" and not call.has_usage and span.status == 0:
        call.error = "cancelled"
    for event in span.events:
        if event.name == aliases.FIRST_TOKEN_EVENT and call.first_token_ms is None and event.at > span.begin:
            call.first_token_ms = (event.at - span.begin) / 1e6
    if span.scope.startswith("logfire"):
        kind_of_span = text(told, "span_type")
        call.joins = kind_of_span == "log"
        call.may_be_joined = kind_of_span == "span" and not call.has_usage and not call.error
        if call.joins:  # a moment: its stream began `duration` before
            seconds = told.get("log_duration")
            length = int(seconds * SECOND) if isinstance(seconds, int | float) and 0 <= seconds <= 86_400 else 0
            call.begin, call.end = span.end - length, span.end
    if "ot=th:" in span.trace_state:
        call.notes = [*call.notes, "sampled"]
    return call


def call_of_log(log: Log) -> SpanCall | None:
    told = fields_of(log.attributes)
    kind = operation_of(told)
    if kind is None:
        return None
    call = describe(told, kind, source="log", begin=log.at, end=log.at)
    call.span = log.span_id
    call.id = f"log\n{log.trace_id}\n{log.span_id}"
    of_resource(call, log.resource.attributes, log.scope)
    if not call.error and call.finish == "error" and not call.has_usage:
        call.error = "cancelled"
    return call


def of_resource(call: SpanCall, attributes: Mapping[str, Any], scope: str) -> None:
    call.service = of_resource_named(attributes, "service")[:128]
    call.scope = scope[:128]
    call.resource_route = of_resource_named(attributes, "route")[:512]
    call.resource_variant = of_resource_named(attributes, "variant")[:128]


def describe(told: Told, kind: str, *, source: str, begin: int, end: int) -> SpanCall:
    call = SpanCall(source=source, span="", parent="", begin=begin, end=end, id="")
    notes: list[str] = []
    call.is_embedding = kind == aliases.EMBEDDING
    call.provider = provider_of(told)
    call.asked_model = text(told, "asked_model", 200) or invoked_model(told)
    call.response_model = text(told, "response_model", 200)
    usage = usage_of(told, notes)
    call.input_tokens, call.cached_input_tokens, call.output_tokens = usage
    if call.is_embedding and call.input_tokens is not None and call.output_tokens is None:
        call.output_tokens = 0
    call.finish = finish_of(told)
    call.error = error_class(told.get("error"), told.get("error_code"))
    if not call.error and call.finish == "content_filter":
        call.error = "content_filtered"
    call.first_token_ms = first_token_ms(told, begin)
    call.response_id = text(told, "response_id", 200)
    call.told_cost_nano = told_cost_nano(told)
    name_route(call, told)
    call.notes = notes
    return call


def provider_of(told: Told) -> str:
    named = told.get("provider")
    provider = named.lower()[:64] if isinstance(named, str) else ""
    provider = aliases.PROVIDERS.get(provider, provider)
    endpoint = told.get("endpoint")
    if provider == "openai" and isinstance(endpoint, str):
        return provider_at(endpoint) or provider
    return provider


@lru_cache(maxsize=1_000)
def provider_at(endpoint: str) -> str:
    """Whose address it is; empty for our own networks, whose gateways speak for whom they say they do."""
    host = ((urlsplit(endpoint).hostname or "") if "//" in endpoint else endpoint.partition(":")[0]).lower()[:64]
    for ending, provider in aliases.ENDPOINTS.items():
        if host == ending or host.endswith(f".{ending}"):
            return provider
    try:
        return "" if ipaddress.ip_address(host).is_private else host
    except ValueError:
        return host if "." in host and not host.endswith((".local", ".internal", ".svc", ".lan")) else ""


def invoked_model(told: Told) -> str:
    for name in aliases.INVOCATION:
        model = packed(told.get(name)).get("model")
        if isinstance(model, str):
            return model[:200]
    return ""


def packed(value: Any) -> dict[str, Any]:
    """JSON in a text, or the repr of a Python dictionary."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, str) or not value.startswith("{"):
        return {}
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        try:
            found = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return {}
    return found if isinstance(found, dict) else {}


def tokens(value: Any) -> int | None:
    """A number of tokens; None for what is none."""
    if isinstance(value, str) and value.isdigit():
        value = int(value[:20])
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_finite(value):
        return None
    return int(value) if 0 <= value <= MOST_TOKENS else None


def usage_of(told: Told, notes: list[str]) -> tuple[int | None, int | None, int | None]:
    said = [told.get(field) for field in ("input_tokens", "cached_input_tokens", "output_tokens")]
    inputs, cached, outputs = (tokens(value) for value in said)
    if any(value is not None and number is None for value, number in zip(said, (inputs, cached, outputs), strict=True)):
        notes.append("tokens_unreadable")
    for name in aliases.USAGE:
        usage = packed(told.get(name)) if name in told else None
        if usage:
            more = usage_in(usage)
            inputs = more[0] if inputs is None else inputs
            cached = more[1] if cached is None else cached
            outputs = more[2] if outputs is None else outputs
    if inputs == 0 and not outputs and told.get("error") is not None:
        inputs = outputs = None  # a failed call that says 0 does not know
    if cached is not None and (inputs is None or cached > inputs):
        notes.append("cached_too_large")
        cached = None
    return inputs, cached, outputs


def usage_in(usage: Mapping[str, Any]) -> tuple[int | None, int | None, int | None]:
    """A provider's usage, whose input includes what was cached; or disjoint numbers, whose keys have no `tokens`."""
    if "input" in usage or "output" in usage:
        fresh, outputs = tokens(usage.get("input")), tokens(usage.get("output"))
        cached = tokens(usage.get("cache_read_input_tokens") or usage.get("input_cached_tokens")) or 0
        written = tokens(usage.get("cache_creation_input_tokens")) or 0
        inputs = None if fresh is None else fresh + cached + written
        return inputs, cached or None, outputs
    inputs = tokens(usage.get("prompt_tokens", usage.get("input_tokens")))
    outputs = tokens(usage.get("completion_tokens", usage.get("output_tokens")))
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    return inputs, tokens(details.get("cached_tokens")) if isinstance(details, dict) else None, outputs


def finish_of(told: Told) -> str:
    found = told.get("finish")
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            pass
    if isinstance(found, list):
        found = next((one for one in found if isinstance(one, str)), "")
    reason = found.lower()[:32] if isinstance(found, str) else ""
    return aliases.FINISHES.get(reason, reason)


def error_class(name: Any, code: Any) -> str:
    """One of our classes, or the sender's own word, cut short."""
    for told in (name, code):
        if isinstance(told, int) and not isinstance(told, bool):
            told = str(told)
        if isinstance(told, str) and told:
            short = told.rpartition(".")[2]
            known = aliases.ERROR_CLASSES.get(short.lower()) or aliases.ERROR_CLASSES.get(told.lower())
            if known:
                return known
    if isinstance(name, str) and name:
        return _ERROR_CLASS.sub("", name.rpartition(".")[2])[:64] or "other"
    return "other" if isinstance(code, str | int) and code not in ("", 200, "200") else ""


def first_token_ms(told: Told, begin: int) -> float | None:
    seconds = told.get("first_token")
    if isinstance(seconds, int | float) and is_finite(seconds) and 0 <= seconds <= 86_400:
        return seconds * 1000
    moment = told.get("first_token_at")
    if isinstance(moment, str):
        try:
            at = datetime.fromisoformat(moment.strip('"'))
        except ValueError:
            return None
        elapsed = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000 - begin / 1e6
        return elapsed if 0 <= elapsed <= 86_400_000 else None
    return None


def told_cost_nano(told: Told) -> int | None:
    usd = told.get("told_cost")
    for name in aliases.COSTS:
        costs = packed(told.get(name))
        if usd is None and costs:
            parts = [cost for cost in costs.values() if isinstance(cost, int | float)]
            usd = costs.get("total", math.fsum(parts))
    return nano(usd)


def nano(usd: Any) -> int | None:
    if isinstance(usd, bool) or not isinstance(usd, int | float) or not is_finite(usd) or not 0 <= usd <= 1e6:
        return None
    return round(usd * 1e9)


def name_route(call: SpanCall, told: Told) -> None:
    """What the call itself says of its route: ours, a flag's, a gateway's tags."""
    if told.keys().isdisjoint(NAMING):
        return
    number = tokens(told.get("attempt"))
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
    if route := text(told, "route", 512):
        call.route, call.variant, call.named_by = route, text(told, "variant"), "changeover"
        return
    if route := text(told, "flag", 512):
        call.route, call.variant, call.named_by = route, text(told, "flag_variant"), "flag"
        return
    name_by_tags(call, told.get("tags"))
    told_route, told_variant = text(told, "told_route", 512), text(told, "told_variant")
    if told_route:
        call.route, call.named_by = told_route.strip('"'), "tags"
    call.variant = call.variant or told_variant.strip('"')


NAMING = frozenset(
    {
        "attempt", "request_id", "pair_id", "final", "snapshot", "assigned", "assigned_by", "tag", "arm", "route",
        "flag", "tags", "told_route", "told_variant",
    }
)  # fmt: skip


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
    told = fields_of(log.attributes)
    route, variant = text(told, "flag", 512), text(told, "flag_variant")
    return Evaluation("", log.at, route, variant) if route and variant and log.trace_id else None
