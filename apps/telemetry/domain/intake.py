"""A body of another door than the native one, as far as it can be read without a table: calls, traces, points.

Here a span is taken or refused: what is too old, has no end or never ends costs itself. A sender whose clock runs ahead
is believed about how long a call took, and its moment is taken to be now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec import Struct

from apps.telemetry.domain import aliases, naming, points, spans
from apps.telemetry.domain.otlp import Body, Point, Resource
from apps.telemetry.domain.span_calls import Evaluation, SpanCall

SECOND = 10**9
BACK = 48 * 3600 * SECOND
AHEAD = 300 * SECOND
MOST_TELLING = 20  # reasons in an error message


class Part(Struct, gc=False):
    """What one body tells of one trace."""

    links: dict[str, str] = {}
    evaluations: list[Evaluation] = []
    calls: list[int] = []  # numbers in `Intake.calls`


@dataclass(slots=True)
class Intake:
    calls: list[SpanCall] = field(default_factory=list)
    moments: list[int] = field(default_factory=list)  # of each call, as its sender told it
    parts: dict[str, Part] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    senders: set[tuple[str, str]] = field(default_factory=set)  # service, instance
    heard: dict[tuple[str, str, str], int] = field(default_factory=dict)  # service, source, what
    rejected: int = 0
    key: str = ""  # the name of the key that it came with

    def part(self, trace_id: str) -> Part:
        return self.parts.get(trace_id) or self.parts.setdefault(trace_id, Part())

    def hear(self, service: str, source: str, what: str, n: int = 1) -> None:
        key = (service, source, what)
        self.heard[key] = self.heard.get(key, 0) + n

    def reject(self, service: str, source: str, reason: str, n: int = 1) -> None:
        self.hear(service, source, f"rejected:{reason}", n)
        self.rejected += n

    def identities(self) -> Iterable[tuple[int, str]]:
        """(minute, name) of each call, then of each point: the same thing in another body has the same."""
        for call, moment in zip(self.calls, self.moments, strict=True):
            name = call.id
            if call.is_of_gateway:  # its row, its own span and one of its client are three tellings of the call
                name = f"webhook\n{name}" if call.source == "webhook" else f"{name}\n{call.span}"
            yield (moment + SECOND // 2000) // (60 * SECOND), name
        for point in self.points:
            yield point.at // (60 * SECOND), f"{points.stream_of(point)}\n{point.begin}\n{point.at}"

    def add(self, trace_id: str, call: SpanCall, now: int) -> bool:
        fault = self.fault_of(call, now)
        if fault:
            self.reject(call.service, call.source, fault)
            return False
        self.moments.append(call.begin)
        if call.end > now + AHEAD:
            self.hear(call.service, call.source, "clock_ahead")
            call.ahead = call.end - now
            call.begin, call.end = call.begin - call.ahead, now
        self.hear(call.service, call.source, f"read:{aliases.VERSION}:{call.scope}")
        if call.attempt is not None:
            self.hear(call.service, call.source, "with_attempts")
        for note in call.notes:
            self.hear(call.service, call.source, note)
        self.part(trace_id).calls.append(len(self.calls))
        self.calls.append(call)
        return True

    def add_point(self, point: Point, now: int) -> None:
        service = point.resource.told["service"][:128]
        fault = points.fault_of(point, now)
        if fault:
            self.reject(service, "metric", fault)
            return
        if point.at > now + AHEAD:
            self.hear(service, "metric", "clock_ahead")
            point.ahead = point.at - now
        self.hear(service, "metric", f"read:{aliases.VERSION}:{point.scope}")
        self.points.append(point)

    def fault_of(self, call: SpanCall, now: int) -> str:
        if call.begin <= 0 or call.end <= 0:
            return "no_time"
        if call.end < call.begin:
            self.hear(call.service, call.source, "ends_before_it_begins")
            call.end = call.begin
        if call.end - call.begin > spans.MOST_DURATION:
            return "too_long"
        if call.begin < now - BACK:
            return "too_old"
        return ""

    @property
    def message(self) -> str:
        """Why something was refused, for the sender's own log."""
        reasons: dict[str, int] = {}
        for (_, _, what), n in self.heard.items():
            if what.startswith("rejected:"):
                reasons[what[9:]] = reasons.get(what[9:], 0) + n
        return ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items())[:MOST_TELLING])


def of_body(body: Body, *, environment: str, now: int) -> Intake:
    """`now` in nanoseconds; `environment` is the key's."""
    intake = Intake()
    for (service, reason), n in body.faults.items():
        intake.reject(service, "otlp", reason, n)
    for span in body.spans:
        meet(intake, span.resource, environment)
        part = intake.part(span.trace_id)
        if span.parent_id:
            part.links[span.span_id] = span.parent_id
        if span.events:
            part.evaluations += naming.evaluations_of(span)
        call = spans.call_of_span(span)
        if call is not None:
            intake.add(span.trace_id, call, now)
        elif (tags := naming.trace_tags_of(span)) is not None:
            part.evaluations.append(tags)
    for log in body.logs:
        meet(intake, log.resource, environment)
        evaluation = naming.evaluation_of_log(log) if log.name in aliases.FLAG_EVENTS else None
        if evaluation is not None:
            intake.part(log.trace_id).evaluations.append(evaluation)
        call = spans.call_of_log(log) if log.name == aliases.CALL_EVENT else None
        if call is not None:
            intake.add(log.trace_id or f"log:{call.span}", call, now)
    for point in body.points:
        meet(intake, point.resource, environment)
        if points.meaning_of(point) is None:
            continue
        intake.add_point(point, now)
    intake.parts = {trace_id: part for trace_id, part in intake.parts.items()
                    if part.links or part.evaluations or part.calls}  # fmt: skip
    return intake


def meet(intake: Intake, resource: Resource, environment: str) -> None:
    service = resource.told["service"][:128]
    sender = (service, str(resource.attributes.get("service.instance.id") or "")[:200])
    if sender in intake.senders:
        return
    intake.senders.add(sender)
    told = resource.told["environment"]
    if told and told != environment:  # the key decides
        intake.hear(service, "otlp", "other_environment")
