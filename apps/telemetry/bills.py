"""Providers' bills beside our own sums: imported, compared day by day and model by model, never mixed in."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from django.db import transaction

from apps.access.services import lock_environment
from apps.catalog.domain.names import normalised, undated
from apps.core.actors import WORKER, Actor
from apps.core.money import nano_to_text
from apps.core.refusals import Invalid
from apps.journal import services as journal
from apps.journal.models import Entry
from apps.journal.services import Condition
from apps.telemetry import rows
from apps.telemetry.domain import bills
from apps.telemetry.models import BillLine
from apps.telemetry.queries.money import SpendRow, spend

ALERT_ABOVE = 0.01  # of the bill
ALERT_AFTER = 2  # days of it, one after the other
DAY = timedelta(days=1)
LOOK_BACK = timedelta(days=31)
SILENT_FOR = timedelta(days=7)  # of bills that go on without that model
CONDITION = "bill:"

Day = tuple[date, str, str]  # of a provider's model


@transaction.atomic
def take_bill(
    *, environment: str, text: str, by: Actor, because: str, now: datetime, provider: str = ""
) -> list[bills.Line]:
    """The same day of the same model again replaces what was there: providers correct their bills."""
    try:
        lines = bills.read(text, provider)
    except bills.Unusable as error:
        raise Invalid("This bill cannot be read.", csv=str(error)) from None
    lock_environment(environment)
    sums: dict[tuple[str, str, date], bills.Line] = {}
    for line in lines:  # several spellings of one model are one
        of, model = spelled(line)
        before = sums.get((of, model, line.day))
        sums[of, model, line.day] = line if before is None else together(before, line)
    rows.insert(
        BillLine,
        [
            (environment, of, model, day, line.amount_nano, line.input_tokens, line.output_tokens, str(by), now)
            for (of, model, day), line in sorted(sums.items())
        ],
        "ON CONFLICT (environment, provider, model, day) DO UPDATE SET amount_nano = excluded.amount_nano,"
        " input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens, by = excluded.by,"
        " at = excluded.at",
    )
    total = sum(line.amount_nano for line in lines)
    about = {"provider": provider, "lines": str(len(lines)), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    journal.record(
        "telemetry.bill_imported", environment=environment, by=by, because=because, about=about, now=now, after=total
    )
    return lines


def spelled(line: bills.Line) -> tuple[str, str]:
    """As the ledger spells it, so that both are found under one name."""
    provider, model = normalised(line.provider, line.model)
    return provider[:128], model[:200]


def together(one: bills.Line, other: bills.Line) -> bills.Line:
    def plus(a: int | None, b: int | None) -> int | None:
        return None if a is None and b is None else (a or 0) + (b or 0)

    return bills.Line(
        one.provider, one.model, one.day, one.amount_nano + other.amount_nano,
        plus(one.input_tokens, other.input_tokens), plus(one.output_tokens, other.output_tokens),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Difference:
    """A day of a model: the bill, ours, and what may explain that they differ."""

    day: date
    provider: str
    model: str
    billed_nano: int
    confirmed_nano: int
    estimated_nano: int
    unpriced: int
    is_final: bool  # late calls and corrections come within 48 hours

    @property
    def ours_nano(self) -> int:
        return self.confirmed_nano + self.estimated_nano

    @property
    def difference_nano(self) -> int:
        return self.ours_nano - self.billed_nano

    @property
    def share(self) -> float | None:
        """Of the bill; None where nothing was billed."""
        return self.difference_nano / self.billed_nano if self.billed_nano else None

    @property
    def is_large(self) -> bool:
        if not self.is_final or not self.difference_nano:
            return False
        return self.share is None or abs(self.share) > ALERT_ABOVE

    @property
    def causes(self) -> list[str]:
        """The usual ones, in the order in which they are usual."""
        if not self.difference_nano:
            return []
        found = ["another time zone of the bill's days"]
        if self.estimated_nano:
            found.append("estimated calls")
        if self.unpriced:
            found.append("calls without a price")
        if self.difference_nano < 0:
            found.append("traffic outside our keys")
        return [*found, "another version of the price", "credits"]


def compare(environment: str, since: date, until: date, now: datetime) -> list[Difference]:
    """Days from `since` up to, without, `until`: those of which there is a bill, and what we know beside them. A model
    and its dated versions are one: bills and senders tell now this name, now that."""
    billed: dict[Day, int] = {}
    for line in BillLine.objects.filter(environment=environment, day__gte=since, day__lt=until):
        key = (line.day, line.provider, undated(line.model))
        billed[key] = billed.get(key, 0) + line.amount_nano
    if not billed:
        return []
    begin, end = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (since, until))
    providers = sorted({provider for _, provider, _ in billed})
    ours: dict[Day, list[SpendRow]] = {}
    for row in spend(environment, begin, end, by=("provider", "model"), where={"provider": providers}, step="1d"):
        ours.setdefault((row.since.date(), row.keys["provider"], undated(row.keys["model"])), []).append(row)
    days = {key[:2] for key in billed}
    keys = sorted({*billed, *(key for key in ours if key[:2] in days)})
    # Of a provider that sent a bill for a day, a model that is not on it was billed nothing.
    return [difference(key, billed.get(key, 0), ours.get(key, []), now) for key in keys]


def difference(key: Day, billed_nano: int, ours: Sequence[SpendRow], now: datetime) -> Difference:
    day, provider, model = key
    ended = datetime(day.year, day.month, day.day, tzinfo=UTC) + DAY
    return Difference(
        day,
        provider,
        model,
        billed_nano,
        sum(row.confirmed_nano for row in ours),
        sum(row.estimated_nano for row in ours),
        sum(row.unpriced for row in ours),
        is_final=now >= ended + bills.FINAL_AFTER,
    )


def watch(*, now: datetime) -> list[str]:
    """Tells of models whose bill differs by more than 1 % on two days in a row, and when that is over: a later day
    agrees, the day that was told of was corrected, or bills go on for a week without naming the model. Where no bill
    comes any more, nothing says that it is over."""
    told = []
    for environment in BillLine.objects.order_by("environment").values_list("environment", flat=True).distinct():
        until = now.astimezone(UTC).date() + DAY
        alerted = open_days(environment)
        since = min([until - LOOK_BACK, *alerted.values()])
        days: dict[str, dict[date, Difference]] = {}
        billed: dict[str, date] = {}  # the newest day of each provider's bills
        for one in compare(environment, since, until, now):
            if one.is_final:
                days.setdefault(f"{one.provider}/{one.model}", {})[one.day] = one
                billed[one.provider] = one.day
        for model, known in days.items():
            newest = known[max(known)]
            before = known.get(newest.day - DAY)
            if model in alerted:
                is_silent = billed[newest.provider] - newest.day >= SILENT_FOR
                changes = is_silent or not newest.is_large
            else:
                changes = newest.is_large and before is not None and before.is_large
            if changes:
                tell(environment, model, newest, now, effect="closes" if model in alerted else "opens")
                told.append(model)
    return told


def open_days(environment: str) -> dict[str, date]:
    """Models whose bill is told to differ, and of which day that was said."""
    told = Entry.objects.of_environment(environment).with_condition()
    entries = told.filter(condition__startswith=CONDITION).order_by("at", "id")
    newest = {entry.condition.removeprefix(CONDITION): entry for entry in entries}
    return {
        model: date.fromisoformat(entry.about["day"])
        for model, entry in newest.items()
        if entry.effect == Entry.Effect.OPENS
    }


@transaction.atomic
def tell(environment: str, model: str, one: Difference, now: datetime, *, effect: Literal["opens", "closes"]) -> None:
    amounts = f"{nano_to_text(one.billed_nano)} USD, ours say {nano_to_text(one.ours_nano)} USD"
    causes = f" The usual causes: {', '.join(one.causes)}." if one.causes else ""
    sentence = (
        f"The bill of {model} for {one.day} says {amounts}: more than 1 % apart on {ALERT_AFTER} days in a row.{causes}"
        if effect == "opens"
        else f"The bill of {model} for {one.day} says {amounts}: no longer more than 1 % apart."
        if not one.is_large
        else f"Since {one.day} no bill names {model}, nor do calls of ours."
    )
    journal.record(
        "telemetry.bill_differs" if effect == "opens" else "telemetry.bill_agrees",
        environment=environment,
        by=WORKER,
        because=sentence,
        about={"model": model, "day": one.day.isoformat()},
        now=now,
        condition=Condition(
            key=f"{CONDITION}{model}", effect=effect, severity="warning", sentence=sentence, link="/prices/#bills"
        ),
    )
