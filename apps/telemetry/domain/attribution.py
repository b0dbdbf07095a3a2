"""Which route a call is of, and how that was found.

In: all that tells of one call, the evaluations of flags in its trace, and what people have settled. Out: the first that
is there of what the call itself names, tags of its trace, a flag above it, a flag that was logged, its resource, a
mapping.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from apps.catalog.domain.pricing import PriceBook
from apps.telemetry.domain import model_names
from apps.telemetry.domain.model_names import Rules
from apps.telemetry.domain.routes import RouteFacts
from apps.telemetry.domain.span_calls import Evaluation, Naming, SpanCall
from apps.telemetry.domain.stacks import ancestors
from apps.telemetry.domain.traces import Trace

BELIEVED = ("changeover", "flag", "tags")  # first to last


@dataclass(frozen=True, slots=True)
class Settled:
    """What people have settled in an environment: its routes, and which calls of a service are of which."""

    routes: Mapping[str, RouteFacts]
    rules: Rules
    book: PriceBook

    def rule(self, call: SpanCall) -> str | None:
        return model_names.ruled(self.rules, call.service, call.asked_model, call.response_model)

    def fits(self, call: SpanCall, evaluation: Evaluation) -> bool:
        """Is the call's model the one of the variant that the flag gave?"""
        planned = self.routes[evaluation.route].model_of(evaluation.variant)
        if planned is None:
            return False
        at = datetime.fromtimestamp(call.begin / 1e9, UTC)
        called = filter(None, (call.asked_model, call.response_model))
        return any(model_names.is_same(self.book, planned, call.provider, model, at) for model in called)


class Attribution(NamedTuple):
    route: str = ""  # empty: nobody knows
    variant: str = ""
    by: str = "unassigned"
    is_ambiguous: bool = False  # flags of several routes, equally near


def attribute(trace: Trace, calls: Sequence[SpanCall], settled: Settled) -> Attribution:
    """Of one call, told by all of `calls`: first the one that counts, then the nearest of those that it covers."""
    first = calls[0]
    if len(calls) == 1 and not first.also_named and first.variant and first.route in settled.routes:  # most calls
        return Attribution(first.route, first.variant, first.named_by)
    own = [naming for call in calls for naming in call.namings]
    if named := believed(own, settled.routes):
        variant = named.variant or variant_of(named.route, trace, calls, settled)
        return Attribution(named.route, variant, named.by)
    if found := evaluated(trace.evaluations, trace.links, calls, settled):
        return found
    for call in calls:
        if named := believed([*call.resource_namings, *loose(own)], settled.routes):
            return Attribution(named.route, named.variant, "resource")
    for call in calls:
        if route := settled.rule(call):
            return Attribution(route, next((one.variant for one in loose(own)), ""), "mapped")
    return Attribution()


def variant_of(route: str, trace: Trace, calls: Sequence[SpanCall], settled: Settled) -> str:
    """Of a call that names its route alone: what the flag of that route gave."""
    own = [one for one in trace.evaluations if one.route == route]
    found = evaluated(own, trace.links, calls, settled)
    return found.variant if found else ""


def named_by_itself(call: SpanCall, routes: Container[str]) -> str:
    """The route; empty if the call names none, as most flags name none."""
    if not call.also_named:
        return call.route if call.named_by == "changeover" or call.route in routes else ""
    named = believed(call.namings, routes)
    return named.route if named else ""


def of_point(own: Sequence[Naming], of_resource: Sequence[Naming], routes: Container[str]) -> Naming:
    """Of a point of metrics, which has no trace; with an empty route if nothing names one."""
    variant = next((one.variant for one in loose(own)), "")
    return believed(own, routes) or believed([*of_resource, *loose(own)], routes) or Naming("", variant, "")


def loose(namings: Iterable[Naming]) -> list[Naming]:
    """Variants of whichever route it is."""
    return [one for one in namings if not one.route]


def believed(namings: Sequence[Naming], routes: Container[str]) -> Naming | None:
    """The first that names a route: most flags and tags are none. Its variant is its own, or one that names no other
    route."""
    known = [one for one in namings if one.route and (one.by == "changeover" or one.route in routes)]
    if not known:
        return None
    first = min(known, key=lambda one: BELIEVED.index(one.by))
    if first.variant:
        return first
    variants = (one.variant for one in namings if one.variant and one.route in ("", first.route))
    return Naming(first.route, next(variants, ""), first.by)


def evaluated(
    evaluations: Sequence[Evaluation], links: Mapping[str, str], calls: Sequence[SpanCall], settled: Settled
) -> Attribution | None:
    """By tags of its trace; by flags that were evaluated before the call, on its own span or the nearest above; else by
    logged ones."""
    call = calls[0]
    before = [one for one in evaluations if one.route in settled.routes and is_before(one, call)]
    if not before:
        return None
    above = [span for one in calls for span in ancestors(links, one.span, one.parent)]
    for told_by in ("tags", "ancestor", "log"):
        told = [one for one in before if one.told_by == told_by]
        near = next((found for span in above if (found := [one for one in told if one.span == span])), [])
        if told_by != "ancestor" and not near:  # of the same trace, if not of a span above
            near = told
        if near:
            chosen, is_ambiguous = choose(near, call, settled)
            return Attribution(chosen.route, chosen.variant, told_by, is_ambiguous)
    return None


def is_before(evaluation: Evaluation, call: SpanCall) -> bool:
    """On the call's own span a flag may have been evaluated when that had begun."""
    return evaluation.at <= (call.told_end if evaluation.span == call.span else call.told_begin)


def choose(near: Sequence[Evaluation], call: SpanCall, settled: Settled) -> tuple[Evaluation, bool]:
    """The latest that gave a variant, else the latest that failed. Where flags of several routes are equally near, the
    call's own model has the first word."""
    near = [one for one in near if one.variant] or near
    near = sorted(near, key=lambda one: (one.at, one.route, one.variant))
    latest = {one.route: one for one in near}
    if len(latest) == 1:
        return near[-1], False
    fitting = [one for one in near if one in latest.values() and settled.fits(call, one)]
    return (fitting or near)[-1], True
