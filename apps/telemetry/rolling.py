"""The ledger by the hour and by the day, so that a month of a thousand routes is a few ten thousand rows.

Lines are only ever added. So far as they were read, in the order of their ids, they stand in the totals; readers take
totals for whole hours and days, and add the lines that came since. Both move in one transaction, so nobody ever counts
a line twice or not at all. A line of any age is welcome: it is added to the total of its hour.
"""

import mmh3
from django.db import connection, transaction
from django.db.models import Max, Sum

from apps.telemetry import rows
from apps.telemetry.models import Compacted, LedgerDay, LedgerHour, LedgerLine
from apps.telemetry.queries.money import NAMES, ROLLED
from apps.telemetry.queries.steps import floor

PIECE = 20_000  # lines of one transaction: SQLite has one writer at a time
MOST_PIECES = 50
AMOUNTS = (  # in the order of the tables' columns
    "calls", "confirmed_nano", "estimated_nano", "unpriced", "input_tokens", "cached_input_tokens", "output_tokens",
    "cache_write_tokens", "cache_write_1h_tokens",
)  # fmt: skip
ADD = ", ".join(f"{name} = {{table}}.{name} + excluded.{name}" for name in AMOUNTS)


def roll_up() -> int:
    """Takes up what came since the last time; how far it came, in ids."""
    until, taken = newest_line(), 0
    for _ in range(MOST_PIECES):
        piece = take_up(until)
        taken += piece
        if piece == 0:
            break
    return taken


def newest_line() -> int:
    """Up to which id all lines are there. A writer that took an id holds the lock until its line is there or never."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [rows.LEDGER_IDS])
        newest: int | None = LedgerLine.objects.aggregate(newest=Max("id"))["newest"]
        return newest or 0


@transaction.atomic
def take_up(until: int) -> int:
    Compacted.objects.get_or_create(name=ROLLED, defaults={"last_id": 0})
    progress = Compacted.objects.select_for_update().get(name=ROLLED)
    last = min(until, progress.last_id + PIECE)
    if last <= progress.last_id:
        return 0
    lines = LedgerLine.objects.filter(pk__gt=progress.last_id, pk__lte=last).order_by()
    sums = list(lines.values_list("minute", *NAMES).annotate(**{f"sum_{name}": Sum(name) for name in AMOUNTS}))
    for model, seconds in ((LedgerHour, 3600), (LedgerDay, 86_400)):
        totals: dict[tuple[object, ...], list[int]] = {}
        for minute, *rest in sums:
            names, amounts = tuple(rest[: len(NAMES)]), rest[len(NAMES) :]
            total = totals.setdefault((floor(minute, seconds), hash_of(names), *names), [0] * len(AMOUNTS))
            for place, amount in enumerate(amounts):
                total[place] += int(amount)
        conflict = f"ON CONFLICT (starts_at, key) DO UPDATE SET {ADD.format(table=model._meta.db_table)}"
        rows.insert(model, [(*key, *total) for key, total in totals.items()], conflict)
    taken = last - progress.last_id
    progress.move_to(last)
    return taken


def hash_of(names: tuple[str, ...]) -> int:
    return mmh3.hash64("\n".join(names), signed=True)[0]
