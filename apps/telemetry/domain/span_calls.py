"""A call at a provider as its sender told it, and an evaluation of a flag: what is kept until a trace is complete."""

from __future__ import annotations

from msgspec import Struct


class Evaluation(Struct, frozen=True, gc=False, array_like=True):
    """A flag was evaluated: an event of a span, or a log event (of a span, too, where there was one)."""

    span: str
    at: int
    route: str
    variant: str
    told_by: str = "ancestor"  # or log


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
    cache_write_tokens: int | None = None  # a part of the input
    cache_write_1h_tokens: int | None = None  # a part of that
    service_tier: str = ""
    is_from_cache: bool = False  # of a gateway: no provider was called

    @property
    def has_usage(self) -> bool:
        return self.input_tokens is not None or self.output_tokens is not None

    @property
    def has_latency(self) -> bool:
        return self.source != "log"
