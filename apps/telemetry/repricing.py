"""A price that was wrong, or came late: what it changes in a period is written as lines of its own.

Lines are never edited. For each minute, key and rate, what the tokens cost by today's price book is compared with what
is booked, and the difference becomes one more line, so that doing it twice adds nothing. Estimates are priced again by
the tokens that were assumed of them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Sum

from apps.access.models import Environment
from apps.access.services import lock_environment
from apps.catalog import queries as catalog
from apps.catalog.domain.pricing import Price, PriceBook
from apps.core.actors import Actor
from apps.core.refusals import Invalid
from apps.journal import services as journal
from apps.telemetry import rows
from apps.telemetry.domain import repricing as again
from apps.telemetry.domain.pricing import Rule, parse_rate
from apps.telemetry.domain.sums import LedgerSum
from apps.telemetry.models import LedgerLine
from apps.telemetry.queries.money import spend
from apps.telemetry.queries.steps import floor

KEYS = ("minute", "route", "variant", "provider", "model", "owner", "arm", "trial", "tag", "rate")
SUMS = LedgerSum.__struct_fields__
Key = tuple[Any, ...]  # the values of KEYS, and whether the lines are estimates
AT_ONCE = timedelta(hours=6)
MOST = timedelta(days=92)
EFFECT_OF = timedelta(days=30)


@dataclass(slots=True)
class Change:
    """What prices change for a model. `left_out`: why nobody can tell, for that many of its calls."""

    provider: str
    model: str
    before_nano: int = 0
    after_nano: int = 0
    calls: int = 0
    newly_priced: int = 0
    left_out: str = ""
    left_out_calls: int = 0

    @property
    def difference_nano(self) -> int:
        return self.after_nano - self.before_nano

    def leave_out(self, calls: int) -> None:
        self.left_out, self.left_out_calls = again.OTHER_BANDS, self.left_out_calls + calls


Changes = dict[tuple[str, str], Change]


def change_of(changes: Changes, key: tuple[str, str]) -> Change:
    return changes.get(key) or changes.setdefault(key, Change(*key))


def preview(*, environment: str, since: datetime, until: datetime) -> list[Change]:
    changes: Changes = {}
    for _ in adjustments(environment, since, until, catalog.price_book(), changes):
        pass
    return told(changes)


@transaction.atomic
def reprice(
    *, environment: str, since: datetime, until: datetime, by: Actor, because: str, now: datetime
) -> list[Change]:
    lock_environment(environment)  # two at once would both write the same difference
    changes: Changes = {}
    for lines in adjustments(environment, since, until, catalog.price_book(), changes):
        rows.insert(LedgerLine, lines)
    found = told(changes)
    total = sum(change.difference_nano for change in found)
    about = {"from": since.isoformat(), "to": until.isoformat()}
    journal.record(
        "telemetry.repriced", environment=environment, by=by, because=because, about=about, now=now, after=total
    )
    return found


def told(changes: Changes) -> list[Change]:
    return [
        changes[key]
        for key in sorted(changes)
        if changes[key].difference_nano or changes[key].newly_priced or changes[key].left_out
    ]


def adjustments(
    environment: str, since: datetime, until: datetime, book: PriceBook, changes: Changes
) -> Iterator[list[tuple[Any, ...]]]:
    if not timedelta(0) < until - since <= MOST:
        raise Invalid("Prices are applied again to three months at most.", **{"from": "Too long before `to`."})
    begin = since
    while begin < until:
        end = min(begin + AT_ONCE, until)
        found = [adjustment(environment, *one, book, changes) for one in groups(environment, begin, end)]
        yield [line for line in found if line is not None]
        begin = end


def groups(environment: str, since: datetime, until: datetime) -> Iterable[tuple[Key, LedgerSum]]:
    """Lines of one minute, key and rate together: the confirmed ones, and the estimated ones."""
    lines = LedgerLine.objects.filter(environment=environment, minute__gte=since, minute__lt=until)
    sums = lines.order_by().values(*KEYS, "rule").annotate(**{f"sum_{name}": Sum(name) for name in SUMS})
    found: dict[Key, LedgerSum] = {}
    for row in sums.order_by(*KEYS, "rule"):
        if again.can_be_priced_again(row["rule"]):
            group = found.setdefault((*(row[name] for name in KEYS), again.is_estimate(row["rule"])), LedgerSum())
            group.add(LedgerSum(*(int(row[f"sum_{name}"] or 0) for name in SUMS)))
    return found.items()


def adjustment(
    environment: str, key: Key, group: LedgerSum, book: PriceBook, changes: Changes
) -> tuple[Any, ...] | None:
    minute, *names, rate, is_estimate = key
    provider, model = names[2:4]
    price = price_of(book, provider, model, minute, rate)
    if price is None:
        return None
    change = change_of(changes, (provider, model))
    booked = group.estimated_nano if is_estimate else group.confirmed_nano
    wanted = again.cost_again(price, group, rate)
    if wanted is None:
        change.leave_out(group.calls)
        return None
    if abs(wanted - booked) <= group.calls and not group.unpriced:  # each was rounded by itself
        wanted = booked
    change.before_nano += booked
    change.after_nano += wanted
    change.calls += group.calls
    change.newly_priced += group.unpriced
    if wanted == booked and not group.unpriced:
        return None
    rule = Rule.REPRICED_ESTIMATE if is_estimate else Rule.REPRICED
    money = (0, wanted - booked) if is_estimate else (wanted - booked, 0)
    return (minute, environment, *names, rule, rate, 0, *money, -group.unpriced, 0, 0, 0, 0, 0)


def price_of(book: PriceBook, provider: str, model: str, at: datetime, rate: str) -> Price | None:
    return book.find(provider or None, model, at, parse_rate(rate)[0])


def month_before(now: datetime) -> tuple[datetime, datetime]:
    """Thirty days of UTC, today with them."""
    until = floor(now, 86_400) + timedelta(days=1)
    return until - EFFECT_OF, until


def effect(prices: Iterable[Price], now: datetime) -> list[Change]:
    """What these prices, as a list in force, would have changed in the last 30 days of all environments, by the day."""
    before, after = catalog.price_book(), catalog.book_with(prices)
    since, until = month_before(now)
    changes: Changes = {}
    for environment in Environment.objects.order_by("key").values_list("key", flat=True):
        by = ("provider", "model", "rate", "rule")
        for row in spend(environment, since, until, by=by, step="1d"):
            if not again.can_be_priced_again(row.keys["rule"]):
                continue
            named, rate = (row.keys["provider"], row.keys["model"]), row.keys["rate"]
            was, will_be = (price_of(book, *named, row.since, rate) for book in (before, after))
            if was == will_be:
                continue
            change = change_of(changes, named)
            costs = [again.cost_again(price, row, rate) if price else 0 for price in (was, will_be)]
            if costs[0] is None or costs[1] is None:
                change.leave_out(row.calls)
                continue
            change.before_nano += costs[0]
            change.after_nano += costs[1]
            change.calls += row.calls
            change.newly_priced += row.calls if was is None else 0
    return [changes[key] for key in sorted(changes)]
