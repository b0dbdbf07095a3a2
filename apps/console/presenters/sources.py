"""Sources as rows: who reports, in which way, how much of it can be used for what."""

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
from apps.telemetry.queries import SourceView, SpendRow

DIALECTS = {"span": "spans", "log": "logs", "metric": "metrics", "webhook": "LiteLLM webhook", "native": "native"}
FOUND_BY = {
    "changeover": "our attributes",
    "flag": "the flag on the call",
    "tags": "tags",
    "ancestor": "a span above",
    "log": "a log of the flag",
    "mapped": "a mapping",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    service: str
    dialect: str
    calls: str
    n: int
    assigned: str
    bar: SafeString
    found_by: str
    coverage: str
    coverage_second: str
    rejected: int
    rejected_words: str
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
class SuspectedRow:
    route: str
    model: str
    group: str
    cost: str
    at: str
    trace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpricedRow:
    model: str
    calls: str
    tokens: str


def source_row(one: SourceView, heard: datetime | None, now: datetime) -> SourceRow:
    n = sum(one.calls.values())
    lost = one.attributed.get("unassigned", 0)
    found = {name: count for name, count in one.attributed.items() if name != "unassigned" and count > 0}
    whole = sum(found.values()) + max(lost, 0)
    share = sum(found.values()) / whole if whole else None
    return SourceRow(
        service=one.service or "not named",
        dialect=", ".join(DIALECTS.get(kind, kind) for kind, count in sorted(one.calls.items()) if count) or "nothing",
        calls=figures.count(n),
        n=n,
        assigned=figures.percent(share) if share is not None else "",
        bar=mark_safe(drawings.bar(share, None, width=64)) if share is not None else SafeString(),
        found_by=", ".join(FOUND_BY.get(name, name) for name in sorted(found, key=lambda name: -found[name])),
        coverage=coverage(one),
        coverage_second=coverage_second(one),
        rejected=sum(one.rejected.values()),
        rejected_words=", ".join(f"{figures.count(count)} {words(why)}" for why, count in sorted(one.rejected.items())),
        notes=", ".join(f"{figures.count(count)} {words(what)}" for what, count in sorted(one.notes.items()) if count),
        told=figures.nano(one.told_nano) if one.told_nano else "",
        last=figures.ago(heard, now)
        if heard is not None and (now - heard).total_seconds() > 3600
        else "within the hour"
        if heard is not None
        else "",
    )


def coverage(one: SourceView) -> str:
    if one.without_a_span is None:
        return "too coarse" if set(one.calls) == {"metric"} else "each call"
    return figures.percent(1 - one.without_a_span)


def coverage_second(one: SourceView) -> str:
    if one.without_a_span is not None:
        return "of the metered calls have a span"
    if set(one.calls) == {"metric"}:
        return "only metrics: no requests, no percentiles of explicit buckets"
    return "nothing to compare it with"


def words(name: str) -> str:
    return name.replace("_", " ")


def arrival_row(one: Arrival, now: datetime) -> ArrivalRow:
    late, coarse = (part / one.calls if one.calls else 0.0 for part in (one.late, one.coarse))
    return ArrivalRow(
        route=one.route,
        calls=figures.count(one.calls),
        late=figures.percent(late) if one.late else "",
        late_tone="warn" if late > 0.05 else "",
        coarse=figures.percent(coarse) if one.coarse else "",
        coarse_tone="warn" if coarse > 0.05 else "",
        newest=figures.ago(one.newest_at, now) if one.newest_at else "",
    )


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


def suspected_row(one: SuspectedShadow, now: datetime) -> SuspectedRow:
    return SuspectedRow(
        route=one.route,
        model=one.model,
        group=one.model_group,
        cost=figures.nano(one.cost_nano),
        at=figures.moment(one.at, now),
        trace=one.trace_id,
    )


def unpriced_row(row: SpendRow) -> UnpricedRow:
    tokens = row.input_tokens + row.output_tokens
    return UnpricedRow(
        model="/".join(part for part in (row.keys["provider"], row.keys["model"]) if part) or "unknown",
        calls=figures.count(row.unpriced),
        tokens=figures.count(tokens) if tokens else "",
    )


def summary(rows: Sequence[SourceRow], strays: Sequence[Stray], arrivals: Sequence[Arrival]) -> str:
    native = sum(one.calls for one in arrivals)
    told = f"{figures.counted(native, 'call')} counted in 24 h on {figures.counted(len(arrivals), 'route')}."
    if rows:
        told += f" Over OpenTelemetry or a gateway: {figures.counted(len(rows), 'service')}."
    lost = sum(one.view.calls for one in strays)
    return f"{told} {figures.counted(lost, 'call')} found no route." if lost else f"{told} Every call found its route."
