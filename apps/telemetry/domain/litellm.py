"""LiteLLM's standard logging payload: a JSON array of one row per attempt, as its `generic_api` callback posts it.

Rows carry prompts, answers, stack traces and the whole price map: only what is named here is decoded. A row without an
id or its times costs itself; what else cannot be read costs no more than its own field.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from apps.catalog.domain.names import named
from apps.telemetry.domain import aliases, endings, naming, providers
from apps.telemetry.domain import usage as usages
from apps.telemetry.domain.batch import Unreadable
from apps.telemetry.domain.intake import Intake
from apps.telemetry.domain.otlp import NO_ID, clean, is_finite
from apps.telemetry.domain.span_calls import GATEWAY, SpanCall

SERVICE = "litellm"
MOST_ROWS = 10_000
CACHE_HIT, NO_CALL = "gateway_cache_hit", "not_a_call"  # what is noted of rows that are no call at a provider
# Calls that providers bill under names of LiteLLM's own, besides those of the table of names.
BILLED = frozenset(
    {
        "anthropic_messages", "generate_content_stream", "agenerate_content_stream", "_aresponses_websocket",
        "_arealtime", "image_generation", "aimage_generation", "image_edit", "aimage_edit", "transcription",
        "atranscription", "speech", "aspeech", "rerank", "arerank", "ocr", "aocr", "create_video", "acreate_video",
    }
)  # fmt: skip
PASSED_THROUGH = frozenset({"pass_through_endpoint", "llm_passthrough_route", "allm_passthrough_route"})


class Details(Struct):
    cached_tokens: Any = None


class Usage(Struct):
    prompt_tokens_details: Details | None = None
    cache_creation_input_tokens: Any = None


class Metadata(Struct):
    usage_object: Usage | None = None


class Breakdown(Struct):
    service_tier: Any = None


class Error(Struct):
    error_code: Any = None
    error_class: Any = None


class Row(Struct):
    litellm_call_id: str
    startTime: float
    endTime: float
    id: Any = None
    trace_id: Any = None
    call_type: Any = None
    status: Any = None
    stream: Any = None
    custom_llm_provider: Any = None
    completionStartTime: Any = None
    model: Any = None
    model_group: Any = None
    response_cost: Any = None
    cache_hit: Any = None
    prompt_tokens: Any = None
    completion_tokens: Any = None
    request_tags: Any = None
    api_base: Any = None
    error_information: Raw = Raw(b"null")
    cost_breakdown: Raw = Raw(b"null")
    metadata: Raw = Raw(b"null")


def read(raw: bytes, now: int) -> Intake:
    try:
        found: Any = msgspec.json.decode(raw, type=list[Raw] | Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError):
        found = parts_of(raw)
    told: list[bytes] = [bytes(one) for one in (found if isinstance(found, list) else [found])]
    intake = Intake(senders={(SERVICE, "")})
    for number, one in enumerate(told):
        if number >= MOST_ROWS:
            intake.reject(SERVICE, "webhook", "too_many_rows", len(told) - MOST_ROWS)
            break
        try:
            row = msgspec.json.decode(one, type=Row)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            intake.reject(SERVICE, "webhook", "unreadable")
            continue
        if kind_of(row) is None:
            intake.hear(SERVICE, "webhook", f"{NO_CALL}:{word(row.call_type, 50)}")
            continue
        call = call_of(row)
        if call is None:
            intake.reject(SERVICE, "webhook", "no_time")
        elif not call.span:
            intake.reject(SERVICE, "webhook", NO_ID)
        else:
            intake.add(f"litellm:{call.request_id or call.span}", call, now)
    return intake


def parts_of(raw: bytes) -> list[bytes]:
    """One row alone, or one a line. What json reads and msgspec does not: NaN is nothing, half a character is one."""
    try:
        whole = json.loads(raw, parse_constant=lambda _: None)
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    except ValueError as error:
        lines = [line for line in raw.splitlines() if line.strip()]
        if len(lines) > 1 and all(line.lstrip().startswith(b"{") for line in lines):
            return lines
        raise Unreadable(str(error)[:200]) from None
    rows = whole if isinstance(whole, list) else [whole]
    return [json.dumps(one, ensure_ascii=False).encode("utf-8", "replace") for one in rows]


def kind_of(row: Row) -> str | None:
    """`call`, `embedding`, or None for what nobody infers: a fetched answer, a file, a moderation. Of what is passed
    through unread, tokens tell that it was a call."""
    name = word(row.call_type, 64).lower()
    if not name or name in BILLED or (name in PASSED_THROUGH and (row.prompt_tokens or row.completion_tokens)):
        return aliases.CALL
    return aliases.OPERATIONS.get(name)


def call_of(row: Row) -> SpanCall | None:
    if not (
        is_finite(row.startTime) and is_finite(row.endTime) and 0 < row.startTime < 1e11 and 0 < row.endTime < 1e11
    ):
        return None
    begin, end = round(row.startTime * 1e6) * 1000, round(row.endTime * 1e6) * 1000
    call_id = word(row.litellm_call_id, 200)
    call = SpanCall(
        source="webhook", span=call_id, parent="", begin=begin, end=end, id=f"{GATEWAY}{call_id}", service=SERVICE
    )
    call.is_embedding = kind_of(row) == aliases.EMBEDDING
    provider = word(row.custom_llm_provider, 64).lower()
    call.provider = named(provider)
    if call.provider == "openai" and (address := word(row.api_base, 2_000)):
        call.host = providers.host_of(address)
        call.provider = providers.provider_at(call.host) or call.provider
    model = word(row.model, 200)
    head, slash, tail = model.partition("/")
    call.asked_model = tail if slash and head.lower() == provider else model
    tell_usage(call, row)
    if row.status == "failure":
        error = part_of(row.error_information, Error) or Error()
        call.error = endings.error_class(error.error_class, error.error_code) or "other"
    first = row.completionStartTime
    if row.stream and isinstance(first, int | float) and row.startTime <= first <= row.endTime:
        call.first_token_ms = (first - row.startTime) * 1000
    call.response_id = word(row.id, 200)
    call.told_cost_nano = usages.nano(row.response_cost)
    call.group = word(row.model_group, 128)
    call.request_id = word(row.trace_id, 200)
    call.is_final = not call.error
    naming.name_by_tags(call, row.request_tags)
    if row.cache_hit is True or row.cache_hit == "True":  # with the usage of the answer that it repeats
        call.is_from_cache = True
        call.notes = [*call.notes, CACHE_HIT]
    return call


def tell_usage(call: SpanCall, row: Row) -> None:
    breakdown = part_of(row.cost_breakdown, Breakdown)
    call.service_tier = word(breakdown.service_tier, 32) if breakdown else ""
    inputs, outputs = usages.tokens(row.prompt_tokens), usages.tokens(row.completion_tokens)
    if not inputs and not outputs:
        return  # no usage came from the provider: LiteLLM writes zeros
    call.input_tokens, call.output_tokens = inputs, outputs
    metadata = part_of(row.metadata, Metadata)
    usage = metadata.usage_object if metadata else None
    if usage is None:
        return
    call.cache_write_tokens = usages.tokens(usage.cache_creation_input_tokens)
    details = usage.prompt_tokens_details
    cached = usages.tokens(details.cached_tokens) if details else None
    if cached is not None and (inputs is None or cached > inputs):
        call.notes = [*call.notes, "cached_too_large"]
    else:
        call.cached_input_tokens = cached


def word(told: Any, length: int) -> str:
    return clean(told)[:length] if isinstance(told, str) else ""


Part = TypeVar("Part", Metadata, Breakdown, Error)


def part_of(raw: Raw, kind: type[Part]) -> Part | None:
    """One that cannot be read costs itself, not its row."""
    try:
        return msgspec.json.decode(raw, type=kind | None)
    except msgspec.DecodeError:
        return None
