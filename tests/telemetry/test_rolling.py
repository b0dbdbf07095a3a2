"""Totals by hour and day say what the lines say, to the nano-USD, whenever they were made and whatever came late."""

import random
from datetime import UTC, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import pytest

from apps.telemetry import queries, retention, rolling, rows, services
from apps.telemetry.models import LedgerDay, LedgerHour, LedgerLine
from apps.telemetry.queries import money

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
MONTH = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
BERLIN = (
    datetime(2026, 11, 1, tzinfo=ZoneInfo("Europe/Berlin")),
    datetime(2026, 12, 1, tzinfo=ZoneInfo("Europe/Berlin")),
)
KOLKATA = (
    datetime(2026, 11, 20, tzinfo=ZoneInfo("Asia/Kolkata")),
    datetime(2026, 11, 23, tzinfo=ZoneInfo("Asia/Kolkata")),
)
LATELY = NOW - timedelta(hours=5, minutes=7), NOW + timedelta(minutes=1)
PERIODS = (MONTH, BERLIN, KOLKATA, LATELY, (NOW - timedelta(minutes=20), NOW))


def add(chance, n, since=timedelta(days=23), until=timedelta(0)):
    span = since - until
    rows.insert(
        LedgerLine,
        [
            (
                money.floor(NOW - until - span * chance.random(), 60), chance.choice(["production", "staging"]),
                chance.choice(["a", "b", "c"]), chance.choice(["old", "new"]), "openai", "gpt-4.1",
                chance.choice(["payments", "search"]), "live", chance.choice(["", "t-1"]), "", "price_book", "",
                1, chance.randrange(10**9), chance.randrange(10**6), 0, 5, 1, 2, 0, 0,
            )
            for _ in range(n)
        ],
    )  # fmt: skip


def brute_force(environment, since, until, where):
    lines = LedgerLine.objects.filter(environment=environment, minute__gte=money.floor(since, 60), minute__lt=until)
    return sum(line.confirmed_nano + line.estimated_nano for line in lines.filter(**where))


def everything():
    return {
        (environment, place, tuple(where.items()), step): [
            (tuple(row.keys.values()), row.since, row.spent_nano, row.calls, row.input_tokens)
            for row in queries.spend(environment, *period, by=("route",), where=where, step=step)
            if row.calls
        ]
        for environment, (place, period), where, step in product(
            ("production", "staging"), enumerate(PERIODS), ({}, {"route": "a"}, {"trial": "t-1"}), ("all", "1d", "1h")
        )
    }


def test_totals_change_no_figure():
    chance = random.Random(7)
    add(chance, 400)
    before = everything()

    assert rolling.roll_up() >= 400
    assert everything() == before
    assert LedgerDay.objects.count() < LedgerHour.objects.count()
    assert rolling.roll_up() == 0
    assert everything() == before


def test_late_lines_and_new_ones_count_at_once_and_only_once():
    chance = random.Random(8)
    for _ in range(5):
        add(chance, 60)
        if chance.random() < 0.6:
            rolling.roll_up()
        for environment, period, where in product(("production", "staging"), PERIODS, ({}, {"route": "b"})):
            exact = brute_force(environment, *period, where)
            assert queries.spent_nano(environment, *period, where=where) == exact


def test_lines_that_are_drawn_together_are_not_counted_again():
    chance = random.Random(9)
    add(chance, 300, since=timedelta(hours=2), until=timedelta(hours=1))
    rolling.roll_up()
    add(chance, 300, since=timedelta(hours=2), until=timedelta(hours=1))
    before = everything()

    services.forget_old(now=NOW)

    assert everything() == before
    assert LedgerLine.objects.count() < 600
    rolling.roll_up()
    assert everything() == before


def test_what_is_not_in_totals_yet_is_not_drawn_together():
    add(random.Random(10), 50, since=timedelta(hours=2), until=timedelta(hours=1))

    assert not LedgerLine.objects.filter(retention.is_in_totals()).exists()
    rolling.roll_up()
    assert LedgerLine.objects.filter(retention.is_in_totals()).count() == 50


def test_money_that_is_moved_is_moved_in_totals_too():
    add(random.Random(11), 20)
    rolling.roll_up()
    line = LedgerLine.objects.filter(environment="production").order_by("id").first()
    whole = queries.spent_nano("production", *MONTH)

    names = (
        line.minute,
        "production",
        line.route,
        line.variant,
        "openai",
        "gpt-4.1",
        line.owner,
        "live",
        line.trial,
        "",
    )
    rows.insert(LedgerLine, [(*names, "adjustment", "", 0, -line.confirmed_nano, 0, 0, 0, 0, 0, 0, 0)])
    unrolled = queries.spent_nano("production", *MONTH)
    rolling.roll_up()

    assert unrolled == queries.spent_nano("production", *MONTH) == whole - line.confirmed_nano


def test_totals_that_move_while_they_are_read_are_read_again(monkeypatch):
    chance = random.Random(12)
    add(chance, 50)
    exact = queries.spent_nano("production", *MONTH)
    read, calls = money.grouped, []

    def rolls_in_between(*asked):
        if not calls:
            calls.append(1)
            rolling.roll_up()
        return read(*asked)

    monkeypatch.setattr(money, "grouped", rolls_in_between)

    assert queries.spent_nano("production", *MONTH) == exact


def test_much_is_taken_up_in_pieces(monkeypatch):
    monkeypatch.setattr(rolling, "PIECE", 30)
    add(random.Random(13), 100)
    before = everything()

    rolling.roll_up()

    assert everything() == before
    assert money.rolled_to() >= 100
