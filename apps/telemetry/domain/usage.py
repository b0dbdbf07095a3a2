"""Tokens and stated costs. Cached tokens are part of the input and reasoning tokens part of the output: never added."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from apps.telemetry.domain import aliases
from apps.telemetry.domain.attributes import packed
from apps.telemetry.domain.otlp import Told, is_finite

MOST_TOKENS = 1_000_000_000


def tokens(value: Any) -> int | None:
    """A number of tokens; None for what is none."""
    if type(value) is int:  # nearly always
        return value if 0 <= value <= MOST_TOKENS else None
    if isinstance(value, str) and value.isdecimal():
        value = int(value[:20])
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_finite(value):
        return None
    return int(value) if 0 <= value <= MOST_TOKENS else None


class Usage(NamedTuple):
    """Of one call, as far as it is known. `cached` and `written` are parts of the input, `written_1h` of `written`."""

    inputs: int | None = None
    cached: int | None = None
    outputs: int | None = None
    written: int | None = None  # to a cache
    written_1h: int | None = None  # to stay there for an hour


def usage_of(told: Told, notes: list[str]) -> Usage:
    """By the sender's attributes, and what they do not tell by the usage of the provider that it packed beside them."""
    said = told.get("input_tokens"), told.get("cached_input_tokens"), told.get("output_tokens")
    inputs, cached, outputs = tokens(said[0]), tokens(said[1]), tokens(said[2])
    if (inputs, cached, outputs) != said and any_is_unreadable(said):
        notes.append("tokens_unreadable")
    written, written_1h = tokens(told.get("cache_write_tokens")), None
    for name in aliases.USAGE:
        if name in told and (usage := packed(told[name])):
            more = usage_in(usage)
            inputs = more.inputs if inputs is None else inputs
            cached = more.cached if cached is None else cached
            outputs = more.outputs if outputs is None else outputs
            written = more.written if written is None else written
            written_1h = more.written_1h if written_1h is None else written_1h
    if cached and cached > (inputs or 0):
        notes.append("cached_too_large")
        cached = None
    return Usage(inputs, cached, outputs, written, written_1h)


def any_is_unreadable(said: Iterable[Any]) -> bool:
    return any(value is not None and tokens(value) is None for value in said)


DETAILS = ("prompt_tokens_details", "input_tokens_details")
OPENAIS = frozenset({"prompt_tokens", *DETAILS})  # and of gateways that tell of other providers in its shape
# Of numbers that share nothing: Anthropic's, and those of Langfuse's own integrations.
READ = ("cache_read_input_tokens", "input_cached_tokens", "input_cache_read")
WRITTEN = ("cache_creation_input_tokens", "input_cache_creation")


def usage_in(usage: Mapping[str, Any]) -> Usage:
    """The keys say whose usage it is, and so whether its input includes what a cache gave and took."""
    read, written = first_of(usage, READ), first_of(usage, WRITTEN)
    written_1h = part_of(usage, ("cache_creation",), "ephemeral_1h_input_tokens")
    if "input" in usage or "output" in usage:
        return Usage(sum_of(usage, "input"), read, sum_of(usage, "output"), written, written_1h)
    outputs = tokens(usage.get("completion_tokens", usage.get("output_tokens")))
    cached = part_of(usage, DETAILS, "cached_tokens")
    if not OPENAIS.isdisjoint(usage):
        inputs = tokens(usage.get("prompt_tokens", usage.get("input_tokens")))
        written = written if written is not None else part_of(usage, DETAILS, "cache_write_tokens")
        return Usage(inputs, cached if cached is not None else read, outputs, written, written_1h)
    inputs = tokens(usage.get("input_tokens"))
    whole = None if inputs is None else inputs + (read or 0) + (written or 0)
    return Usage(whole, read, outputs, written, written_1h)


def first_of(usage: Mapping[str, Any], names: Iterable[str]) -> int | None:
    return next((n for name in names if (n := tokens(usage.get(name))) is not None), None)


def part_of(usage: Mapping[str, Any], names: Iterable[str], part: str) -> int | None:
    details = next((found for name in names if isinstance(found := usage.get(name), dict)), {})
    return tokens(details.get(part))


def sum_of(usage: Mapping[str, Any], part: str) -> int | None:
    """Of disjoint numbers each whose key has the word counts: input, cache_read_input_tokens, input_audio_tokens."""
    if tokens(usage.get(part)) is None:
        return None
    return sum(tokens(n) or 0 for name, n in usage.items() if part in str(name))


def told_cost_nano(told: Told) -> int | None:
    usd = told.get("told_cost")
    for name in aliases.COSTS:
        if usd is None and name in told and (costs := packed(told[name])):
            parts = [cost for cost in costs.values() if nano(cost) is not None]
            usd = costs.get("total", math.fsum(parts))
    return None if usd is None else nano(usd)


def nano(usd: Any) -> int | None:
    if isinstance(usd, bool) or not isinstance(usd, int | float) or not is_finite(usd) or not 0 <= usd <= 1e6:
        return None
    return round(usd * 1e9)
