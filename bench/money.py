"""What a question about money costs: spend of this month by route, over 30 days of 1,000 routes, and a tick's budgets.

    python -m bench.money [--routes 1000] [--days 30] [--database sqlite|postgres|both]

Lines are written as the telemetry writer writes them, one per route every three hours, and by the minute in the last
hour and a half, as busy routes do. They are rolled up as the beat does it, and new ones come that are not yet.
Each question is asked through the one function that answers every "how much", and checked against a plain sum.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from bench import _databases as databases
from bench import _results as results
from bench._results import Row

NOW = datetime(2026, 11, 30, 14, 37, tzinfo=UTC)
MUST_MS = 200.0
BUDGETS = 100
TIMES = 7


def main() -> int:
    reading = databases.arguments(__doc__)
    reading.add_argument("--routes", type=int, default=1000)
    reading.add_argument("--days", type=int, default=30)
    asked = reading.parse_args()
    if asked.inside:
        print(json.dumps(measure(asked.routes, asked.days)))  # the parent reads it
        return 0
    rows: list[Row] = []
    for database, found in databases.on_each(
        "bench.money", asked.database, "--routes", str(asked.routes), "--days", str(asked.days)
    ):
        rows += told(database, found, is_whole=(asked.routes, asked.days) == (1000, 30))
    title = f"Questions about money: {asked.days} days of {asked.routes:,} routes"
    return 0 if results.tell("money", rows, title=title, folder=asked.results) else 1


def told(database: str, found: dict[str, float], *, is_whole: bool) -> list[Row]:
    what = f"spend of this month by route, {found['lines']:,.0f} lines, {database}"
    median, worst = found["month_ms"], found["month_worst_ms"]
    main_row = results.at_most(what, median, "ms", MUST_MS, worst_ms=worst)
    return [
        main_row if is_whole else Row(what, median, "ms", beside={"worst_ms": worst}),
        Row(f"the same for a month of Europe/Berlin, {database}", found["zone_ms"], "ms"),
        Row(f"spend of this month in all, {database}", found["all_ms"], "ms"),
        Row(f"spend of this month of one route, {database}", found["route_ms"], "ms"),
        Row(f"spend of the last hour by route, {database}", found["hour_ms"], "ms"),
        Row(f"the same month by route from lines alone, {database}", found["lines_ms"], "ms"),
        Row(f"rolling up 10 s of 1,000 lines/s, {database}", found["roll_ms"], "ms"),
        Row(
            f"judging {BUDGETS} budgets, one tick, {database}",
            found["tick_ms"],
            "ms",
            beside={"worst_ms": found["tick_worst_ms"]},
        ),
        Row(f"first forecasts of the {BUDGETS // 5} wide ones, {database}", found["wide_ms"], "ms"),
        Row(f"reserving under 3 hard caps and settling, {database}", found["hold_ms"], "ms"),
    ]


# --- in a process of its own ---------------------------------------------------------------------------------------


def measure(routes: int, days: int) -> dict[str, float]:
    databases.open_database()
    from apps.telemetry import queries, rolling

    lines, exact = write_month(routes, days)
    while rolling.roll_up():
        pass
    settle_down()
    month = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
    berlin = tuple(at.replace(tzinfo=ZoneInfo("Europe/Berlin")) for at in month)

    def by_route(since: datetime, until: datetime) -> list[Any]:
        return queries.spend("production", since, until, by=("route",))

    found: dict[str, float] = {"lines": lines}
    exact += write_lately(10_000, routes)
    found["roll_ms"], _ = timed(rolling.roll_up, times=1)
    exact += write_lately(3_000, routes)  # a few seconds' worth that nobody has rolled up
    found["month_ms"], found["month_worst_ms"] = timed(lambda: by_route(*month))
    whole = sum(row.spent_nano for row in by_route(*month))
    assert whole == exact, (whole, exact)
    found["zone_ms"], _ = timed(lambda: by_route(*berlin))
    found["all_ms"], _ = timed(lambda: queries.spend("production", *month))
    found["route_ms"], _ = timed(lambda: queries.spend("production", *month, where={"route": "route-7"}))
    found["hour_ms"], _ = timed(lambda: by_route(NOW - timedelta(hours=1), NOW + timedelta(minutes=1)))
    found["lines_ms"], _ = timed(lambda: from_lines(*month), times=1)
    return found | judge(routes) | hold()


def write_month(routes: int, days: int) -> tuple[int, int]:
    """Every three hours, and every minute lately. How many lines, and what they sum up to this month."""
    from apps.telemetry import rows
    from apps.telemetry.models import LedgerLine

    chance = random.Random(1)
    begins = (NOW - timedelta(days=days)).replace(minute=0)
    hours = int((NOW - begins) / timedelta(hours=1)) - 1
    moments = [begins + timedelta(hours=n, minutes=30) for n in range(0, hours, 3)]
    moments += [NOW - timedelta(minutes=n) for n in range(90, -1, -1)]
    count, exact, piece = 0, 0, []
    for at in moments:
        for number in range(routes):
            line = line_of(chance, at, number)
            exact += line[13] + line[14] if at.month == NOW.month else 0
            piece.append(line)
        if len(piece) >= 20_000:
            rows.insert(LedgerLine, piece)
            count, piece = count + len(piece), []
    rows.insert(LedgerLine, piece)
    return count + len(piece), exact


def write_lately(n: int, routes: int) -> int:
    from apps.telemetry import rows
    from apps.telemetry.models import LedgerLine

    chance = random.Random(n)
    lines = [line_of(chance, NOW, chance.randrange(routes)) for _ in range(n)]
    rows.insert(LedgerLine, lines)
    return sum(line[13] + line[14] for line in lines)


def line_of(chance: random.Random, at: datetime, number: int) -> list[Any]:
    variant, provider, model = (
        ("gpt-4.1", "openai", "gpt-4.1") if chance.random() < 0.9 else ("flash-lite", "google", "gemini-2.5-flash-lite")
    )
    return [
        at, "production", f"route-{number}", variant, provider, model, f"team-{number % 20}", "live", "", "",
        "price_book", "", 40, chance.randrange(10**8), chance.randrange(10**6), 0, 30_000, 0, 4_000, 0, 0,
    ]  # fmt: skip


def from_lines(since: datetime, until: datetime) -> list[Any]:
    from apps.telemetry.models import LedgerLine
    from apps.telemetry.queries import money
    from apps.telemetry.queries.steps import Steps

    steps = Steps.of(since, until, "all")
    part = money.Part(LedgerLine, since, until)
    return list(money.sums_of(part, "production", steps, ("route",), {}, 0))


def judge(routes: int) -> dict[str, float]:
    """A tick's look at a hundred budgets: most of one route, some of a team, some of everything."""
    from apps.budgets import services as budgets
    from apps.budgets import spending
    from apps.core.actors import WORKER

    for number in range(BUDGETS):
        scope = (
            {}
            if number % 25 == 0
            else {"owner": f"team-{number % 20}"}
            if number % 5 == 0
            else {"route": f"route-{number % routes}"}
        )
        budgets.create_budget(
            environment="production", scope=scope, period="month" if number % 2 else "day", limit_nano=10**15,
            thresholds=[{"at": 0.8, "do": "alert"}, {"forecast": 1.0, "do": "alert"}, {"burn": "page", "do": "hold"}],
            by=WORKER, because="bench", now=NOW,
        )  # fmt: skip
    at = NOW
    began = time.perf_counter()
    spending.look_ahead(now=at)
    wide = (time.perf_counter() - began) * 1000
    for _ in range(BUDGETS // 2 + 1):  # forecasts are made a few a tick: first all of them
        at += timedelta(seconds=5)
        budgets.judge_money(now=at)
    ticks = []
    for _ in range(TIMES):
        at += timedelta(seconds=5)
        began = time.perf_counter()
        budgets.judge_money(now=at)
        ticks.append((time.perf_counter() - began) * 1000)
    return {"tick_ms": statistics.median(ticks), "tick_worst_ms": max(ticks), "wide_ms": wide}


def hold() -> dict[str, float]:
    from apps.budgets import services as budgets
    from apps.core.actors import WORKER

    for scope in ({}, {"owner": "team-7"}, {"route": "route-7"}):
        budgets.create_budget(
            environment="production", scope=scope, period="month", limit_nano=10**16, thresholds=[], is_hard=True,
            by=WORKER, because="bench", now=NOW,
        )  # fmt: skip
    facts = {"route": "route-7", "owner": "team-7"}
    numbers = iter(range(1000))

    def one_call() -> None:
        key = f"h-{next(numbers)}"
        expires_at = NOW + timedelta(minutes=5)
        budgets.reserve(
            environment="production", hold=key, scope=facts, nano=1000, expires_at=expires_at, owner="bench", now=NOW
        )
        budgets.settle(environment="production", hold=key, nano=900, now=NOW)

    return {"hold_ms": timed(one_call, times=30)[0]}


def timed(ask: Callable[[], Any], *, times: int = TIMES) -> tuple[float, float]:
    """Median and worst, in milliseconds; the first question is not counted where there are more."""
    if times > 1:
        ask()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        ask()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken), max(taken)


def settle_down() -> None:
    """What autovacuum does within a minute of so many rows."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


if __name__ == "__main__":
    sys.exit(main())
