"""How much: the one function for every figure of money, and what it is summed from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db.models import Min, Sum

from apps.telemetry.models import BillLine, LedgerLine
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
    billed = Billed(environment, steps, by, where or {})
    if not grouping:
        totals = lines.aggregate(**{f"sum_{name}": Sum(name) for name in SPEND_SUMS})
        return [spend_row({}, steps, since, [totals], billed.nano(since, {}))]
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in sums:
        begin = steps.begin(row["minute"]) if steps.seconds is not None else since
        found.setdefault((begin, *(row[name] for name in by)), []).append(row)
    told = []
    for key in sorted(found):
        keys = dict(zip(by, key[1:], strict=True))
        told.append(spend_row(keys, steps, key[0], found[key], billed.nano(key[0], keys)))
    return told


class Billed:
    """What providers billed: by provider and model, by whole days. Of anything narrower a bill says nothing."""

    def __init__(
        self, environment: str, steps: Steps, by: Sequence[str], where: Mapping[str, str | Iterable[str]]
    ) -> None:
        self.lines: list[BillLine] = []
        self.steps = steps
        if {*by, *where} <= {"provider", "model"} and (steps.seconds is None or steps.seconds % 86_400 == 0):
            lines = BillLine.objects.filter(
                environment=environment, day__gte=steps.since.astimezone(UTC).date(), day__lt=day_after(steps.until)
            )
            for name, value in where.items():
                lines = lines.filter(**{name: value} if isinstance(value, str) else {f"{name}__in": list(value)})
            self.lines = list(lines)

    def nano(self, begin: datetime, keys: Mapping[str, str]) -> int | None:
        since, until = begin.astimezone(UTC).date(), day_after(self.steps.end(begin))
        mine = [
            line.amount_nano
            for line in self.lines
            if since <= line.day < until and all(getattr(line, name) == value for name, value in keys.items())
        ]
        return sum(mine) if mine else None


def day_after(until: datetime) -> date:
    """The first day that does not begin before this moment."""
    return (until.astimezone(UTC) + timedelta(days=1) - timedelta(microseconds=1)).date()


SPEND_SUMS = (
    "confirmed_nano", "estimated_nano", "calls", "unpriced", "input_tokens", "cached_input_tokens", "output_tokens",
)  # fmt: skip


def spend_row(
    keys: dict[str, str], steps: Steps, begin: datetime, rows: Iterable[Mapping[str, Any]], reported_nano: int | None
) -> SpendRow:
    parts = list(rows)
    totals = {name: sum(int(part[f"sum_{name}"] or 0) for part in parts) for name in SPEND_SUMS}
    return SpendRow(keys, begin, steps.end(begin), **totals, reported_nano=reported_nano)


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
