"""Who spent the money of a month: one dimension at a time, the most first, to the digit what the API answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse
from django.utils.safestring import SafeString

from apps.console import figures
from apps.console.sentences import amount
from apps.telemetry.queries import SpendRow

BY = ("route", "variant", "model", "provider", "owner", "arm")
MOST = 25
NAMELESS = {"route": "no route", "variant": "no variant", "owner": "no owner"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendLine:
    name: str
    href: str = ""
    calls: str
    confirmed: str
    estimated: str
    cost: SafeString
    share: str
    unpriced: str
    is_sum: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendPanel:
    by: str
    choices: tuple[str, ...]
    lines: list[SpendLine]
    month: str
    as_of: datetime | None  # when the newest call was counted


def panel(
    found: Sequence[SpendRow], *, by: str, month: str, as_of: datetime | None, routes: Callable[[], set[str]]
) -> SpendPanel:
    """`routes`: those that have a page."""
    ordered = sorted(found, key=lambda row: (-row.spent_nano, -row.calls, row.keys[by]))
    whole = sum(row.spent_nano for row in found)
    known = routes() if by == "route" else set()
    lines = []
    for row in ordered[:MOST]:
        key = row.keys[by]
        href = reverse("route", args=[key]) if key in known else ""
        lines.append(line([row], whole, name=key or NAMELESS.get(by, "unknown"), href=href))
    if rest := ordered[MOST:]:
        lines.append(line(rest, whole, name=f"{figures.count(len(rest))} more"))
    if len(lines) > 1:
        lines.append(line(ordered, whole, name="All", is_sum=True))
    return SpendPanel(by=by, choices=BY, lines=lines, month=month, as_of=as_of)


def line(rows: Sequence[SpendRow], whole: int, *, name: str, href: str = "", is_sum: bool = False) -> SpendLine:
    spent, estimated = sum(row.spent_nano for row in rows), sum(row.estimated_nano for row in rows)
    unpriced = sum(row.unpriced for row in rows)
    return SpendLine(
        name=name,
        href=href,
        calls=figures.count(sum(row.calls for row in rows)),
        confirmed=figures.nano(sum(row.confirmed_nano for row in rows)),
        estimated=figures.nano(estimated) if estimated else "",
        cost=amount(spent),
        share=figures.percent(spent / whole) if whole else "",
        unpriced=figures.count(unpriced) if unpriced else "",
        is_sum=is_sum,
    )
