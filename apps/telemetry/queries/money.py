"""How much: the one function for every figure of money, and what it is summed from."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

from django.db.models import Min, Model, Sum, Value
from django.db.models.functions import Concat

from apps.telemetry.domain.pricing import Rule, tokens_source
from apps.telemetry.models import BillLine, Compacted, LedgerDay, LedgerHour, LedgerLine
from apps.telemetry.queries.steps import ALL, DAY, HOUR, Steps, floor

ROLLED = "LedgerTotals"  # up to which line they go
TRIES = 5
FEW_LINES = timedelta(hours=7)  # of one route they are read faster than totals with all their edges
NAMES = ("environment", "route", "variant", "provider", "model", "owner", "arm", "trial", "tag", "rule", "rate")
BY = NAMES[1:]
TOKENS_SOURCE = "tokens_source"  # told by the rule
REPRICED = (Rule.REPRICED, Rule.REPRICED_ESTIMATE)  # adjustments that a later price led to


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
    cache_write_tokens: int
    cache_write_1h_tokens: int
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
    zone: tzinfo = UTC,
) -> list[SpendRow]:
    """How much: the one function for every figure of money. `where` narrows by the same names as `by`, to one value
    or to several. Minutes belong to the period in which they start, days are those of the zone."""
    for name in ({*by} - {TOKENS_SOURCE}) | {*(where or {})}:
        if name not in BY:
            raise ValueError(f"spend is not kept by {name}")
    steps = Steps.of(since, until, step, zone)
    billed = Billed(environment, steps, by, where or {})
    columns = tuple(dict.fromkeys("rule" if name == TOKENS_SOURCE else name for name in by))
    found: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for begin, row in summed_up(environment, steps, columns, where or {}):
        keys = [tokens_source(row["rule"]) if name == TOKENS_SOURCE else row[name] for name in by]
        found.setdefault((begin, *keys), []).append(row)
    if not by and steps.seconds is None:
        found.setdefault((since,), [])
    told = []
    for key in sorted(found):
        named = dict(zip(by, key[1:], strict=True))
        told.append(spend_row(named, steps, key[0], found[key], billed.nano(key[0], named)))
    return told


Summed = list[tuple[datetime, Mapping[str, Any]]]  # with the step in which it lies


@dataclass(frozen=True, slots=True)
class Part:
    """A time for which one table has all that was rolled up."""

    model: type[Model]
    since: datetime
    until: datetime

    @property
    def at(self) -> str:
        return "minute" if self.model is LedgerLine else "starts_at"


def parts_of(since: datetime, until: datetime, seconds: int | None) -> list[Part]:
    """Days in the middle, hours around them, minutes at both ends, as far as the steps allow."""
    if seconds is not None and seconds % HOUR:
        return [Part(LedgerLine, since, until)]
    parts, begin, end = [], ceiling(since, HOUR), floor(until, HOUR)
    if begin >= end:
        return [Part(LedgerLine, since, until)]
    parts += [Part(LedgerLine, since, begin), Part(LedgerLine, end, until)]
    first, last = ceiling(begin, DAY), floor(end, DAY)
    if first >= last or (seconds is not None and seconds % DAY):
        parts.append(Part(LedgerHour, begin, end))
    else:
        parts += [Part(LedgerHour, begin, first), Part(LedgerDay, first, last), Part(LedgerHour, last, end)]
    return [part for part in parts if part.since < part.until]


def ceiling(at: datetime, seconds: int) -> datetime:
    return floor(at + timedelta(seconds=seconds) - timedelta(microseconds=1), seconds)


def summed_up(environment: str, steps: Steps, by: Sequence[str], where: Mapping[str, str | Iterable[str]]) -> Summed:
    """Totals as far as they go, and the lines that came since. If totals moved while we read, we read again."""
    since = floor(steps.since, 60)
    parts = parts_of(since, steps.until, steps.grain)
    if isinstance(where.get("route"), str) and steps.until - since <= FEW_LINES:
        parts = [Part(LedgerLine, since, steps.until)]
    if all(part.model is LedgerLine for part in parts):
        return [one for part in parts for one in sums_of(part, environment, steps, by, where, 0)]
    for _ in range(TRIES):
        rolled = rolled_to()
        found = [one for part in parts for one in sums_of(part, environment, steps, by, where, rolled)]
        if rolled == rolled_to():
            return found
    return list(sums_of(Part(LedgerLine, since, steps.until), environment, steps, by, where, 0))


def rolled_to() -> int:
    return Compacted.objects.filter(name=ROLLED).values_list("last_id", flat=True).first() or 0


def sums_of(
    part: Part,
    environment: str,
    steps: Steps,
    by: Sequence[str],
    where: Mapping[str, str | Iterable[str]],
    rolled: int,
) -> Iterator[tuple[datetime, Mapping[str, Any]]]:
    within = {f"{part.at}__gte": part.since, f"{part.at}__lt": part.until}
    yield from grouped(part.model._default_manager.filter(environment=environment, **within), part.at, steps, by, where)
    if part.model is LedgerLine:
        return
    # By id, and by nothing else: few lines are that new, and an index by time would lead through the whole time.
    news = LedgerLine.objects.annotate(place=Concat("environment", Value(""))).filter(
        pk__gt=rolled, place=environment, minute__gte=part.since, minute__lt=part.until
    )
    yield from grouped(news, "minute", steps, by, where)


def grouped(
    rows: Any, at: str, steps: Steps, by: Sequence[str], where: Mapping[str, str | Iterable[str]]
) -> Iterator[tuple[datetime, Mapping[str, Any]]]:
    for name, value in where.items():
        rows = rows.filter(**{name: value} if isinstance(value, str) else {f"{name}__in": list(value)})
    sums = {f"sum_{name}": Sum(name) for name in SPEND_SUMS}
    grouping = [*by] if steps.seconds is None else [at, *by]
    if not grouping:
        yield steps.since, rows.aggregate(**sums)
        return
    for row in rows.order_by().values(*grouping).annotate(**sums):
        yield steps.begin(row[at]) if steps.seconds is not None else steps.since, row


class Billed:
    """What providers billed: by provider and model, by whole days. Of anything narrower a bill says nothing."""

    def __init__(
        self, environment: str, steps: Steps, by: Sequence[str], where: Mapping[str, str | Iterable[str]]
    ) -> None:
        self.lines: list[BillLine] = []
        self.steps = steps
        if {*by, *where} <= {"provider", "model"} and steps.grain in (None, DAY):
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
    "cache_write_tokens", "cache_write_1h_tokens",
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


@dataclass(slots=True)
class Unpriced:
    """Calls of a model that nobody could price."""

    provider: str
    model: str
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


def unpriced(environment: str, since: datetime, until: datetime) -> list[Unpriced]:
    """By model, the most calls first. A price that came later and was applied has taken its calls out."""
    by_model: dict[tuple[str, str], list[SpendRow]] = {}
    for row in spend(environment, since, until, by=("provider", "model", "rule")):
        if row.unpriced:
            by_model.setdefault((row.keys["provider"], row.keys["model"]), []).append(row)
    left = [left_unpriced(*key, rows) for key, rows in by_model.items()]
    return sorted((one for one in left if one.calls > 0), key=lambda one: (-one.calls, one.provider, one.model))


def left_unpriced(provider: str, model: str, rows: Iterable[SpendRow]) -> Unpriced:
    """Lines of adjustment tell of no tokens: those of the calls that they priced are taken to be the usual ones."""
    left = Unpriced(provider, model, sum(row.unpriced for row in rows))
    priced_later = -sum(row.unpriced for row in rows if row.unpriced < 0)
    for row in rows:
        if row.unpriced > 0:
            priced = min(priced_later, row.unpriced) if row.keys["rule"] == Rule.NO_PRICE else 0
            left.input_tokens += row.input_tokens * (row.unpriced - priced) // row.unpriced
            left.output_tokens += row.output_tokens * (row.unpriced - priced) // row.unpriced
    return left
