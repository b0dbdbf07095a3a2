"""How much: the one function for every figure of money, and what it is summed from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Min, Sum

from apps.telemetry.models import LedgerLine
from apps.telemetry.queries.steps import ALL, Steps, floor

BY = ("route", "variant", "provider", "model", "owner", "arm", "trial", "tag", "rule")


@dataclass(frozen=True, slots=True)
class SpendRow:
    keys: dict[str, str]
    since: datetime
    until: datetime
    confirmed_nano: int
    estimated_nano: int
    calls: int
    unpriced: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    reported_nano: int | None = None  # a provider's bill; None where none was imported

    @property
    def spent_nano(self) -> int:
        return self.confirmed_nano + self.estimated_nano


def spend(
    environment: str,
    since: datetime,
    until: datetime,
    by: Sequence[str] = (),
    where: Mapping[str, str | Iterable[str]] | None = None,
    step: str | int = ALL,
) -> list[SpendRow]:
    """How much: the one function for every figure of money. `where` narrows by the same names as `by`, to one value
    or to several. Minutes belong to the period in which they start."""
    for name in (*by, *(where or {})):
        if name not in BY:
            raise ValueError(f"spend is not kept by {name}")
    steps = Steps.of(since, until, step)
    lines = LedgerLine.objects.filter(environment=environment, minute__gte=floor(since, 60), minute__lt=until)
    for name, value in (where or {}).items():
        lines = lines.filter(**{name: value} if isinstance(value, str) else {f"{name}__in": list(value)})
    grouping = [*by] if steps.seconds is None else ["minute", *by]
    sums = lines.order_by().values(*grouping).annotate(**{f"sum_{name}": Sum(name) for name in SPEND_SUMS})
    if not grouping:
        totals = lines.aggregate(**{f"sum_{name}": Sum(name) for name in SPEND_SUMS})
        return [spend_row({}, steps, since, [totals])]
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in sums:
        begin = steps.begin(row["minute"]) if steps.seconds is not None else since
        found.setdefault((begin, *(row[name] for name in by)), []).append(row)
    return [spend_row(dict(zip(by, key[1:], strict=True)), steps, key[0], found[key]) for key in sorted(found)]


SPEND_SUMS = (
    "confirmed_nano", "estimated_nano", "calls", "unpriced", "input_tokens", "cached_input_tokens", "output_tokens",
)  # fmt: skip


def spend_row(keys: dict[str, str], steps: Steps, begin: datetime, rows: Iterable[Mapping[str, Any]]) -> SpendRow:
    parts = list(rows)
    totals = {name: sum(int(part[f"sum_{name}"] or 0) for part in parts) for name in SPEND_SUMS}
    return SpendRow(keys, begin, steps.end(begin), **totals)


def spent_nano(
    environment: str, since: datetime, until: datetime, where: Mapping[str, str | Iterable[str]] | None = None
) -> int:
    """Confirmed and estimated, of one period and scope."""
    return spend(environment, since, until, where=where)[0].spent_nano


def known_since(environment: str, route: str | None = None) -> datetime | None:
    """When the first money of a route, or of the environment, was spent."""
    lines = LedgerLine.objects.filter(environment=environment)
    if route is not None:
        lines = lines.filter(route=route)
    at: datetime | None = lines.aggregate(first=Min("minute"))["first"]
    return at
