"""Prices as rows: what models cost, which price list is in force, what one that waits would change."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time

from apps.catalog.domain.differences import Difference, line
from apps.catalog.models import PriceList
from apps.catalog.queries import ModelView
from apps.console import figures
from apps.telemetry import bills
from apps.telemetry.queries import Unpriced
from apps.telemetry.repricing import Change

STATES = {
    PriceList.State.PROPOSED: ("approval", "warn", "Waits for approval"),
    PriceList.State.IN_FORCE: ("within", "ok", "In force"),
    PriceList.State.REPLACED: ("steady", "", "Replaced"),
    PriceList.State.REJECTED: ("rolled_back", "danger", "Rejected"),
    PriceList.State.WITHDRAWN: ("steady", "", "Withdrawn"),
}
KINDS = {"new": "New", "changed": "Changed", "gone": "Gone"}
MOST = 200  # differences of one page, those that were used first


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    key: str
    name: str
    prices: tuple[str, ...]
    others: int  # of other service tiers and hours
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRow:
    id: str
    source: str
    glyph: str
    tone: str
    word: str
    by: str
    at: datetime
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceRow:
    kind: str
    model: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    calls: str = ""
    effect: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpricedRow:
    model: str
    calls: str
    tokens: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BillRow:
    day: str
    model: str
    billed: str
    ours: str
    estimated: str
    difference: str
    tone: str
    causes: str
    is_final: bool


def bill_row(one: bills.Difference) -> BillRow:
    share = f" ({figures.percent(abs(one.share))})" if one.share else ""
    return BillRow(
        day=figures.day(datetime.combine(one.day, time(), UTC)),
        model=f"{one.provider}/{one.model}",
        billed=figures.nano(one.billed_nano),
        ours=figures.nano(one.ours_nano),
        estimated=figures.nano(one.estimated_nano) if one.estimated_nano else "",
        difference=f"{signed(one.difference_nano)}{share}" if one.difference_nano else "none",
        tone="warn" if one.is_large else "",
        causes=", ".join(one.causes) if one.is_large else "",
        is_final=one.is_final,
    )


def model_row(view: ModelView) -> ModelRow:
    plain = [price for price in view.prices if not price.service_tier and price.hours is None]
    return ModelRow(
        key=view.model.key,
        name=view.model.name,
        prices=tuple(line(price) for price in reversed(plain)),
        others=len(view.prices) - len(plain),
        source=plain[-1].source if plain else "",
    )


def list_row(row: PriceList) -> ListRow:
    glyph, tone, word = STATES[PriceList.State(row.state)]
    return ListRow(
        id=row.id,
        source=row.source,
        glyph=glyph,
        tone=tone,
        word=word,
        by=row.decided_by or row.proposed_by,
        at=row.decided_at or row.proposed_at,
        because=row.word or row.because,
    )


def difference_rows(found: Sequence[Difference], changes: Sequence[Change]) -> list[DifferenceRow]:
    """Those of models that were used stand first: they cost something."""
    effects = {(change.provider, change.model): change for change in changes}
    ordered = sorted(found, key=lambda one: (one.provider, one.model) not in effects)
    return [difference_row(one, effects.get((one.provider, one.model))) for one in ordered[:MOST]]


def difference_row(one: Difference, change: Change | None) -> DifferenceRow:
    row = DifferenceRow(kind=KINDS[one.kind], model=f"{one.provider}/{one.model}", before=one.before, after=one.after)
    if change is None:
        return row
    return DifferenceRow(
        kind=row.kind,
        model=row.model,
        before=row.before,
        after=row.after,
        calls=figures.count(change.calls + change.left_out_calls),
        effect=signed(change.difference_nano),
        note="from now on without a price" if one.kind == "gone" else change.left_out,
    )


def signed(nano: int) -> str:
    sign = "+" if nano > 0 else figures.MINUS if nano < 0 else ""
    return f"{sign}{figures.nano(abs(nano))}"


def effect(changes: Sequence[Change]) -> str:
    total = sum(change.difference_nano for change in changes)
    if not changes:
        return "No call of the last 30 days would have cost anything else."
    calls = figures.counted(sum(change.calls for change in changes), "call")
    if not total:
        return f"Over the last 30 days {calls} would have cost the same."
    return (
        f"Over the last 30 days {calls} would have cost {figures.nano(abs(total))} {'more' if total > 0 else 'less'}."
    )


def counts(found: Sequence[Difference]) -> str:
    kinds = [one.kind for one in found]
    told = [f"{kinds.count(kind)} {kind}" for kind in KINDS if kind in kinds]
    return f"{', '.join(told)}." if told else "No difference to the list in force."


def unpriced_row(row: Unpriced) -> UnpricedRow:
    tokens = row.input_tokens + row.output_tokens
    return UnpricedRow(
        model="/".join(part for part in (row.provider, row.model) if part) or "unknown",
        calls=figures.count(row.calls),
        tokens=figures.count(tokens) if tokens else "",
    )


def summary(in_force: PriceList | None, own: int, unpriced: Sequence[Unpriced]) -> str:
    source = f"{in_force.source} is in force" if in_force else "The list that came with the product is in force"
    mine = f", and {figures.counted(own, 'price')} of our own above it" if own else ""
    lost = sum(row.calls for row in unpriced)
    calls = f" In the last 30 days {figures.counted(lost, 'call')} had no price." if lost else ""
    return f"{source}{mine}.{calls or ' Every call of the last 30 days had its price.'}"
