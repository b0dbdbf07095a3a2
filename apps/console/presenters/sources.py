"""Sources as rows: who reports, in which way, how much of it can be used for what."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe

from apps.access.domain.roles import Role
from apps.console import drawings, figures
from apps.console.acts import Act
from apps.console.observed import Arrival, Stray
from apps.console.presenters import presses
from apps.console.visits import Visit
from apps.telemetry.models import Mapping, SuspectedShadow
from apps.telemetry.queries import EndpointView, Rejection, SourceView, WindowRow

DIALECTS = {"span": "spans", "log": "logs", "metric": "metrics", "webhook": "LiteLLM webhook", "native": "native"}
FOUND_BY = {
    "changeover": "our attributes",
    "flag": "the flag on the call",
    "tags": "tags",
    "ancestor": "a span above",
    "log": "a log of the flag",
    "mapped": "a mapping",
    "resource": "the resource",
}
COVERED = {"": "", "metric": "only metrics"}  # by who has the money, where there is nothing to compare
MOST_SCOPES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    service: str
    dialect: str
    dialect_second: str
    calls: str
    calls_second: str
    assigned: str
    bar: SafeString
    found_by: str
    coverage: str
    coverage_second: str
    rejections: tuple[str, ...]
    notes: str
    told: str
    last: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrivalRow:
    route: str
    calls: str
    late: str
    late_tone: str
    coarse: str
    coarse_tone: str
    p95_range: str
    newest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StrayRow:
    id: str
    name: str
    service: str
    model: str
    calls: str
    cost: str
    cost_second: str
    last: str
    can_map: bool
    is_open: bool
    href: str
    likely: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingRow:
    service: str
    model: str
    route: str
    by: str
    act: Act


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRow:
    host: str
    provider: str
    second: str
    act: Act | None  # to take it back; None where nobody has settled it


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspectedRow:
    route: str
    model: str
    group: str
    cost: str
    at: str
    trace: str
    acts: tuple[Act, ...]


def source_row(one: SourceView, heard: datetime | None, now: datetime) -> SourceRow:
    n = one.calls.get("metric", 0) if one.money_from == "metric" else one.traced
    lost = one.attributed.get("unassigned", 0)
    found = {name: count for name, count in one.attributed.items() if name != "unassigned" and count > 0}
    whole = sum(found.values()) + max(lost, 0)
    share = sum(found.values()) / whole if whole else None
    return SourceRow(
        service=one.service or "not named",
        dialect=", ".join(DIALECTS.get(kind, kind) for kind, count in sorted(one.calls.items()) if count) or "nothing",
        dialect_second=", ".join(sorted(filter(None, one.scopes), key=lambda scope: -one.scopes[scope])[:MOST_SCOPES]),
        calls=figures.count(n),
        calls_second=f"money from {DIALECTS[one.money_from]}" if one.money_from and len(one.calls) > 1 else "",
        assigned=figures.percent(share) if share is not None else "",
        bar=mark_safe(drawings.part(share, f"{figures.percent(share)} found a route"))
        if share is not None
        else SafeString(),
        found_by=", ".join(FOUND_BY.get(name, name) for name in sorted(found, key=lambda name: -found[name])),
        coverage=coverage(one),
        coverage_second=coverage_second(one),
        rejections=tuple(map(rejection_words, one.rejections)),
        notes=notes(one),
        told=figures.nano(one.told_nano) if one.told_nano else "",
        last=figures.ago(heard, now)
        if heard is not None and (now - heard).total_seconds() > 3600
        else "within the hour"
        if heard is not None
        else "",
    )


def coverage(one: SourceView) -> str:
    if one.without_a_span is None:
        return COVERED.get(one.money_from or "", "each call")
    return figures.percent(1 - one.without_a_span)


def coverage_second(one: SourceView) -> str:
    if one.comparison is not None:
        return one.comparison
    if one.money_from is None:
        return ""
    if one.money_from == "metric":
        every = f", a point every {one.resolution_seconds} s" if one.resolution_seconds else ""
        return f"no requests, percentiles of exponential buckets alone{every}"
    return "nothing to compare it with"


def notes(one: SourceView) -> str:
    told = [f"{figures.count(count)} {words(what)}" for what, count in sorted(one.notes.items()) if count]
    if one.is_also_native:
        told.insert(0, "it reports through our client too: what both tell counts twice")
    if one.is_also_of_gateway:
        told.append(
            "a gateway reports here: calls that it tells too count once if they share an id, failed ones mostly do not"
        )
    if one.sampled:
        told.insert(0, f"{figures.count(one.sampled)} sampled: money incomplete")
    if one.traced > 0 and not one.are_attempts_visible:
        told.append("retries are not visible from this source")
    return ", ".join(told)


def rejection_words(one: Rejection) -> str:
    told = f"{words(one.reason)}: {figures.count(one.n)}"
    return f"{told}, key {one.key}" if one.key else told


def words(name: str) -> str:
    return name.replace("_", " ")


def arrival_row(one: Arrival, windows: Sequence[WindowRow], now: datetime) -> ArrivalRow:
    late, coarse = (part / one.calls if one.calls else 0.0 for part in (one.late, one.coarse))
    return ArrivalRow(
        route=one.route,
        calls=figures.count(one.calls),
        late=figures.percent(late) if one.late else "",
        late_tone="warn" if late > 0.05 else "",
        coarse=figures.percent(coarse) if one.coarse else "",
        coarse_tone="warn" if coarse > 0.05 else "",
        p95_range="; ".join(range_words(row) for row in windows if row.is_too_coarse),
        newest=figures.ago(one.newest_at, now) if one.newest_at else "",
    )


def range_words(row: WindowRow) -> str:
    """`p95 of gpt-4.1 between 2.56 and 5.12 s`"""
    found = row.range_of(0.95)
    if found is None or found == (0.0, math.inf):
        return f"p95 of {row.variant or 'no variant'} is unknown"
    low, high = (f"{edge:.3g}" for edge in found)
    told = f"p95 of {row.variant or 'no variant'}"
    return f"{told} between {low} and {high} s" if math.isfinite(found[1]) else f"{told} above {low} s"


def stray_row(one: Stray, asked: str, now: datetime) -> StrayRow:
    view, spent = one.view, one.spent
    return StrayRow(
        id=view.name,
        name=view.service or view.name,
        service=view.service,
        model=view.model,
        calls=figures.count(view.calls),
        cost=figures.nano(spent.spent_nano) if spent else "",
        cost_second=f"{figures.counted(spent.unpriced, 'call')} without a price" if spent and spent.unpriced else "",
        last=figures.ago(view.last_at, now),
        can_map=bool(view.service),
        is_open=bool(view.service) and view.name == asked,
        href=f"{reverse('sources')}?{urlencode({'map': view.name})}",
        likely=one.likely,
    )


def mapping_row(visit: Visit, one: Mapping) -> MappingRow:
    can, why_not = presses.who(visit, Role.OPERATOR)
    return MappingRow(
        service=one.service,
        model=one.model or "any model",
        route=one.route,
        by=f"{one.by}, {figures.moment(one.at, visit.now)}",
        act=Act(
            key=f"unmap-{one.id}",
            label="Take back",
            href=reverse("unmap", args=[one.id]),
            css="is-quiet is-row",
            can=can,
            why_not=why_not,
        ),
    )


def endpoint_row(visit: Visit, one: EndpointView) -> EndpointRow:
    if one.at is None:
        told = f"{figures.counted(one.calls, 'call')} in 24 h, {figures.count(one.unpriced)} without a price"
        return EndpointRow(host=one.host, provider="", second=told, act=None)
    can, why_not = presses.who(visit, Role.OPERATOR)
    act = Act(
        key=f"endpoint-{one.id}",
        label="Take back",
        href=reverse("forget-endpoint", args=[one.id]),
        css="is-quiet is-row",
        can=can,
        why_not=why_not,
    )
    told = f"{one.by}, {figures.moment(one.at, visit.now)}"
    return EndpointRow(host=one.host, provider=one.provider, second=told, act=act)


def suspected_row(visit: Visit, one: SuspectedShadow) -> SuspectedRow:
    can, why_not = presses.who(visit, Role.OPERATOR)
    acts = [
        Act(
            key=f"{said}-{one.call_id}",
            label=label,
            href=reverse("settle-shadow", args=[one.call_id, said]),
            css="is-quiet is-row",
            can=can,
            why_not=why_not,
        )
        for said, label in (("shadow", "It is a shadow"), ("live", "It is not"))
    ]
    return SuspectedRow(
        route=one.route,
        model=one.model,
        group=one.model_group,
        cost=figures.nano(one.cost_nano),
        at=figures.moment(one.at, visit.now),
        trace=one.trace_id,
        acts=tuple(acts),
    )


def summary(rows: Sequence[SourceRow], strays: Sequence[Stray], arrivals: Sequence[Arrival]) -> str:
    counted = sum(one.calls for one in arrivals)
    told = f"{figures.counted(counted, 'call')} counted in 24 h on {figures.counted(len(arrivals), 'route')}."
    if rows:
        told += f" Over OpenTelemetry or a gateway: {figures.counted(len(rows), 'service')}."
    lost = sum(one.view.calls for one in strays)
    return f"{told} {figures.counted(lost, 'call')} found no route." if lost else f"{told} Every call found its route."
