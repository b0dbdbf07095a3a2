"""A call at a provider as its sender told it, and an evaluation of a flag: what is kept until a trace is complete."""

from __future__ import annotations

from msgspec import Struct

GATEWAY = "litellm\n"  # before the id of a call that went through LiteLLM


class Evaluation(Struct, frozen=True, gc=False, array_like=True):
    """A flag was evaluated: an event of a span, or a log event (of a span, too, where there was one). Or tags of the
    whole trace, which have no moment."""

    span: str
    at: int
    route: str
    variant: str
    told_by: str = "ancestor"  # or log, tags


class Naming(Struct, frozen=True, gc=False, array_like=True):
    """A route that something names, with the variant; without a route: the variant of whichever it is."""

    route: str
    variant: str
    by: str  # changeover, flag, tags: in this order they are believed


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
    route: str = ""  # the first that the call itself names
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
    also_named: list[Naming] = []  # after the first
    resource_flag: str = ""
    resource_flag_variant: str = ""
    ahead: int = 0  # by how much its sender's clock was: its begin and end are moved back so far
    host: str = ""  # that answered one who says `openai`, as all do who are compatible with it

    def name(self, naming: Naming) -> None:
        """Mostly there is one, and it costs no object that is kept."""
        if self.named_by:
            self.also_named = [*self.also_named, naming]
        else:
            self.route, self.variant, self.named_by = naming.route, naming.variant, naming.by

    @property
    def namings(self) -> list[Naming]:
        """By the call itself."""
        first = Naming(self.route, self.variant, self.named_by)
        return [first, *self.also_named] if self.route or self.variant else []

    @property
    def resource_namings(self) -> list[Naming]:
        return [
            Naming(self.resource_route, self.resource_variant, "changeover"),
            Naming(self.resource_flag, self.resource_flag_variant, "flag"),
        ]

    @property
    def is_of_gateway(self) -> bool:
        return self.id.startswith(GATEWAY)

    @property
    def told_begin(self) -> int:
        """By the sender's clock, as all else that it tells."""
        return self.begin + self.ahead

    @property
    def told_end(self) -> int:
        return self.end + self.ahead

    @property
    def has_usage(self) -> bool:
        return bool(self.input_tokens or self.output_tokens)

    def tell_no_usage_of_failure(self) -> None:
        """A failed call of which its sender says 0 tokens: it does not know, and the call may have cost something."""
        if self.error and not self.has_usage:
            self.input_tokens = self.output_tokens = None

    @property
    def has_latency(self) -> bool:
        return self.source != "log"
