"""What is kept of a trace, and what was booked of it.

Its state is a set that only grows: spans' parents, flag evaluations, calls. Who reads it looks at the whole, so that
the order in which its parts arrived cannot matter.
"""

from __future__ import annotations

from msgspec import Struct

from apps.telemetry.domain.span_calls import Evaluation, SpanCall
from apps.telemetry.domain.stacks import RANK
from apps.telemetry.domain.sums import LedgerKey, LedgerSum

MOST_LINKS = 5_000
MOST_CALLS = 5_000  # the whole row is written again with each body that tells of its trace


class Line(Struct, frozen=True, gc=False, array_like=True):
    """A line of the ledger as it was booked, so that it can be taken back to the nano-USD."""

    minute: int
    route: str
    variant: str
    provider: str
    model: str
    owner: str
    arm: str
    trial: str
    tag: str
    rule: str
    confirmed_nano: int
    estimated_nano: int
    unpriced: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    rate: str = ""
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0

    @classmethod
    def of(cls, key: LedgerKey, sums: LedgerSum) -> Line:
        return cls(
            key.minute, key.route, key.variant, key.provider, key.model, key.owner, key.arm, key.trial, key.tag,
            key.rule, sums.confirmed_nano, sums.estimated_nano, sums.unpriced, sums.input_tokens,
            sums.cached_input_tokens, sums.output_tokens, key.rate, sums.cache_write_tokens, sums.cache_write_1h_tokens,
        )  # fmt: skip

    def entry(self, environment: str, *, calls: int = 1) -> tuple[LedgerKey, LedgerSum]:
        key = LedgerKey(
            self.minute, environment, self.route, self.variant, self.provider, self.model, self.owner, self.arm,
            self.trial, self.tag, self.rule, self.rate,
        )  # fmt: skip
        sums = LedgerSum(
            calls, self.confirmed_nano, self.estimated_nano, self.unpriced, self.input_tokens,
            self.cached_input_tokens, self.output_tokens, self.cache_write_tokens, self.cache_write_1h_tokens,
        )  # fmt: skip
        return key, sums


class Booked(Struct, gc=False, array_like=True):
    """What was made of a call so far."""

    of: str  # what it was booked as: when this changes, the money moves
    line: Line | None = None
    is_counted: bool = False  # in windows and requests; that happens once
    is_unassigned: bool = False
    by: str = ""  # how it found its route
    source: str = ""  # from which it is known
    told_nano: int = 0  # what its sender says that it cost: for comparison only

    def take_over(self, other: Booked) -> None:
        """The other one tells of the same call: if it has come into windows, this one does not come once more."""
        if other.is_counted and not self.is_counted:
            self.is_counted, other.is_counted = True, False


class Trace(Struct, gc=False, array_like=True):
    links: dict[str, str] = {}  # span -> parent
    evaluations: list[Evaluation] = []
    calls: dict[str, SpanCall] = {}
    booked: dict[str, Booked] = {}
    home: str = ""  # the trace where all of it is told: both tell of one call

    def link(self, span: str, parent: str) -> None:
        if parent and len(self.links) < MOST_LINKS:
            self.links[span] = parent

    def evaluate(self, evaluation: Evaluation) -> None:
        if evaluation not in self.evaluations and len(self.evaluations) < MOST_LINKS:
            self.evaluations.append(evaluation)

    def has_room_for(self, call: SpanCall) -> bool:
        return len(self.calls) < MOST_CALLS or call.span in self.calls

    def add(self, call: SpanCall) -> bool:
        """Of a span and a log event that tell of one call, the span counts."""
        known = self.calls.get(call.span)
        if known is not None and RANK[known.source] >= RANK[call.source]:
            return False
        self.calls[call.span] = call
        return True

    def take_in(self, other: Trace) -> bool:
        """All of the other one. False: they are left apart, since spans have the same name, or there are too many."""
        if len(self.calls) + len(other.calls) > MOST_CALLS or not self.calls.keys().isdisjoint(other.calls):
            return False
        for span, parent in other.links.items():
            self.link(span, parent)
        for evaluation in other.evaluations:
            self.evaluate(evaluation)
        self.calls |= other.calls
        self.booked |= other.booked
        other.links, other.evaluations, other.calls, other.booked = {}, [], {}, {}
        return True


def suspected_shadows(trace: Trace) -> list[SpanCall]:
    """A gateway mirrors calls without a mark: of successes of different groups in one request, the later ones."""
    answered = (
        call for call in trace.calls.values() if call.source == "webhook" and not call.error and not call.is_from_cache
    )
    first: dict[str, SpanCall] = {}  # of each request
    found = []
    for call in sorted(answered, key=lambda call: (call.begin, call.span)):
        if call.arm != "shadow" and call.group != first.setdefault(call.request_id, call).group:
            found.append(call)
    return found
