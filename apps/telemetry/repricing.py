"""A price that was wrong, or came late: what it changes in a period is written as lines of its own.

Lines are never edited. For each minute and key, what the tokens cost by today's price book is compared with what is
booked, and the difference becomes one more line, so that doing it twice adds nothing. Estimates stay as they are: their
tokens are guesses. So do models whose price depends on the size of a prompt: a sum of calls does not tell it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Sum

from apps.access.services import lock_environment
from apps.catalog import queries as catalog
from apps.catalog.domain.pricing import PriceBook
from apps.core.actors import Actor
from apps.core.refusals import Invalid
from apps.journal import services as journal
from apps.telemetry import rows
from apps.telemetry.domain.pricing import Rule
from apps.telemetry.models import LedgerLine

KEYS = ("minute", "route", "variant", "provider", "model", "owner", "arm", "trial", "tag")
SUMS = ("calls", "confirmed_nano", "unpriced", "input_tokens", "cached_input_tokens", "output_tokens")
RULES = (Rule.PRICE_BOOK, Rule.NO_PRICE, Rule.REPRICED)
AT_ONCE = timedelta(hours=6)
MOST = timedelta(days=92)


@dataclass(slots=True)
class Change:
    """What today's prices change for a model."""

    provider: str
    model: str
    before_nano: int = 0
    after_nano: int = 0
    calls: int = 0
    newly_priced: int = 0
    left_out: str = ""

    @property
    def difference_nano(self) -> int:
        return self.after_nano - self.before_nano


def preview(*, environment: str, since: datetime, until: datetime) -> list[Change]:
    changes: dict[tuple[str, str], Change] = {}
    for _ in adjustments(environment, since, until, catalog.price_book(), changes):
        pass
    return told(changes)


@transaction.atomic
def reprice(
    *, environment: str, since: datetime, until: datetime, by: Actor, because: str, now: datetime
) -> list[Change]:
    lock_environment(environment)  # two at once would both write the same difference
    changes: dict[tuple[str, str], Change] = {}
    for lines in adjustments(environment, since, until, catalog.price_book(), changes):
        rows.insert(LedgerLine, lines)
    found = told(changes)
    total = sum(change.difference_nano for change in found)
    about = {"from": since.isoformat(), "to": until.isoformat()}
    journal.record(
        "telemetry.repriced", environment=environment, by=by, because=because, about=about, now=now, after=total
    )
    return found


def told(changes: dict[tuple[str, str], Change]) -> list[Change]:
    return [
        changes[key]
        for key in sorted(changes)
        if changes[key].difference_nano or changes[key].newly_priced or changes[key].left_out
    ]


def adjustments(
    environment: str, since: datetime, until: datetime, book: PriceBook, changes: dict[tuple[str, str], Change]
) -> Iterator[list[tuple[Any, ...]]]:
    if not timedelta(0) < until - since <= MOST:
        raise Invalid("Prices are applied again to three months at most.", **{"from": "Too long before `to`."})
    begin = since
    while begin < until:
        end = min(begin + AT_ONCE, until)
        lines = LedgerLine.objects.filter(
            environment=environment, minute__gte=begin, minute__lt=end, rule__in=RULES
        ).order_by()
        sums = lines.values(*KEYS).annotate(**{f"sum_{name}": Sum(name) for name in SUMS})
        found = [adjustment(environment, row, book, changes) for row in sums.order_by(*KEYS)]
        yield [line for line in found if line is not None]
        begin = end


def adjustment(
    environment: str, row: dict[str, Any], book: PriceBook, changes: dict[tuple[str, str], Change]
) -> tuple[Any, ...] | None:
    calls, booked, unpriced, inputs, cached, outputs = (int(row[f"sum_{name}"] or 0) for name in SUMS)
    price = book.find(row["provider"] or None, row["model"], row["minute"])
    if price is None:
        return None
    key = (row["provider"], row["model"])
    change = changes.setdefault(key, Change(*key))
    if price.bands:
        change.left_out = "its price depends on the size of the prompt"
        return None
    wanted = price.cost_nano(inputs, cached, outputs)
    if abs(wanted - booked) <= calls and not unpriced:  # each call was rounded by itself: no other price
        wanted = booked
    change.before_nano += booked
    change.after_nano += wanted
    change.calls += calls
    change.newly_priced += unpriced
    if wanted == booked and not unpriced:
        return None
    key_values = [row[name] for name in KEYS[1:]]
    return (
        row["minute"], environment, *key_values, Rule.REPRICED, 0, wanted - booked, 0, -unpriced, 0, 0, 0,
    )  # fmt: skip
