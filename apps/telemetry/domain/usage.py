"""Tokens and stated costs. Cached tokens are part of the input and reasoning tokens part of the output: never added."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from apps.telemetry.domain import aliases
from apps.telemetry.domain.attributes import packed
from apps.telemetry.domain.otlp import Told, is_finite

MOST_TOKENS = 1_000_000_000


def tokens(value: Any) -> int | None:
    """A number of tokens; None for what is none."""
    if type(value) is int:  # nearly always
        return value if 0 <= value <= MOST_TOKENS else None
    if isinstance(value, str) and value.isdigit():
        value = int(value[:20])
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_finite(value):
        return None
    return int(value) if 0 <= value <= MOST_TOKENS else None


def usage_of(told: Told, notes: list[str]) -> tuple[int | None, int | None, int | None]:
    said = told.get("input_tokens"), told.get("cached_input_tokens"), told.get("output_tokens")
    inputs, cached, outputs = tokens(said[0]), tokens(said[1]), tokens(said[2])
    if (inputs, cached, outputs) != said and any_is_unreadable(said):
        notes.append("tokens_unreadable")
    for name in aliases.USAGE:
        if name in told and (usage := packed(told[name])):
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


def any_is_unreadable(said: Iterable[Any]) -> bool:
    return any(value is not None and tokens(value) is None for value in said)


def usage_in(usage: Mapping[str, Any]) -> tuple[int | None, int | None, int | None]:
    """A provider's usage, whose input includes what was cached; or numbers that share nothing, `input` among them."""
    if "input" in usage or "output" in usage:
        inputs, outputs = (sum_of(usage, part) for part in ("input", "output"))
        cached = tokens(usage.get("cache_read_input_tokens") or usage.get("input_cached_tokens"))
        return inputs, cached, outputs
    inputs = tokens(usage.get("prompt_tokens", usage.get("input_tokens")))
    outputs = tokens(usage.get("completion_tokens", usage.get("output_tokens")))
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    return inputs, tokens(details.get("cached_tokens")) if isinstance(details, dict) else None, outputs


def sum_of(usage: Mapping[str, Any], part: str) -> int | None:
    """Of disjoint numbers each whose key has the word counts: input, cache_read_input_tokens, input_audio_tokens."""
    if tokens(usage.get(part)) is None:
        return None
    return sum(tokens(n) or 0 for name, n in usage.items() if part in name)


def written_of(told: Told) -> tuple[int | None, int | None]:
    """Tokens that were written to a cache, a part of the input; and those of them that stay for an hour."""
    written, for_1h = tokens(told.get("cache_write_tokens")), None
    for name in aliases.USAGE:
        if name not in told:
            continue
        usage = packed(told[name])
        details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
        by_life = usage.get("cache_creation")
        if written is None:
            written = tokens(usage.get("cache_creation_input_tokens"))
        if written is None and isinstance(details, dict):
            written = tokens(details.get("cache_write_tokens"))
        if for_1h is None and isinstance(by_life, dict):
            for_1h = tokens(by_life.get("ephemeral_1h_input_tokens"))
    return written, for_1h


def told_cost_nano(told: Told) -> int | None:
    usd = told.get("told_cost")
    for name in aliases.COSTS:
        if usd is None and name in told and (costs := packed(told[name])):
            parts = [cost for cost in costs.values() if isinstance(cost, int | float)]
            usd = costs.get("total", math.fsum(parts))
    return None if usd is None else nano(usd)


def nano(usd: Any) -> int | None:
    if isinstance(usd, bool) or not isinstance(usd, int | float) or not is_finite(usd) or not 0 <= usd <= 1e6:
        return None
    return round(usd * 1e9)
