"""Every figure of money is a sum over the ledger, and every figure of a window one over its calls."""

import random
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from apps.catalog import shipped
from apps.telemetry import queries, rolling
from apps.telemetry.queries import Steps
from tests.telemetry.make_telemetry import NOW, ROUTE, call, count, make_route, outcome, sent

pytestmark = pytest.mark.django_db
SINCE = NOW - timedelta(hours=2)


@pytest.fixture(autouse=True)
def routes(db):
    make_route(now=NOW - timedelta(days=1))
    make_route("tagging", now=NOW - timedelta(days=1), owner="search")


def random_calls(n, chance):
    made = []
    for number in range(n):
        provider, model = chance.choice([("openai", "gpt-4.1"), ("google", "gemini-2.5-flash-lite")])
        began = NOW - timedelta(seconds=chance.randrange(10, 5400), milliseconds=chance.randrange(1000))
        made.append(
            call(
                id=f"r-{number}",
                at=began.isoformat(),
                route=chance.choice([ROUTE, "tagging"]),
                variant="gpt-4.1" if provider == "openai" else "flash-lite",
                provider=provider,
                model=model,
                latency_ms=chance.randrange(10, 9000),
                input_tokens=chance.randrange(1, 10_000),
                output_tokens=chance.randrange(1, 2_000),
                error=chance.choice([None, None, None, "timeout"]),
                arm=chance.choice(["live", "live", "shadow"]),
            )
        )
    return made


def brute_force(calls):
    book = shipped.price_book()
    return sum(
        book.find(one["provider"], one["model"], NOW).cost_nano(one["input_tokens"], 0, one["output_tokens"])
        for one in calls
    )


def test_spend_equals_a_brute_force_sum_however_it_is_cut():
    calls = random_calls(400, random.Random(3))
    for begin in range(0, 400, 50):
        count(sent(*calls[begin : begin + 50]))

    exact = brute_force(calls)

    assert queries.spent_nano("production", SINCE, NOW) == exact
    for by in (("route",), ("variant", "arm"), ("model", "provider", "owner"), ("trial", "tag", "rule")):
        for step in ("all", "1m", "1h", "1d"):
            rows = queries.spend("production", SINCE, NOW, by=by, step=step)
            assert sum(row.spent_nano for row in rows) == exact
            assert sum(row.calls for row in rows) == 400
            assert all(set(row.keys) == set(by) for row in rows)
    for name, value in (("route", "tagging"), ("owner", "search"), ("model", "gpt-4.1"), ("arm", "shadow")):
        asked = queries.spent_nano("production", SINCE, NOW, where={name: value})
        grouped = queries.spend("production", SINCE, NOW, by=(name,))
        assert asked == next(row.spent_nano for row in grouped if row.keys[name] == value)
    shown = [queries.windows("production", route, SINCE, NOW) for route in (ROUTE, "tagging")]
    assert sum(row.cost_nano for rows in shown for row in rows) == exact


def test_spend_narrows_to_several_values():
    calls = random_calls(50, random.Random(4))
    count(sent(*calls))

    assert queries.spent_nano("production", SINCE, NOW, where={"route": [ROUTE, "tagging"]}) == brute_force(calls)
    assert queries.spent_nano("production", SINCE, NOW, where={"route": []}) == 0


def test_a_period_ends_before_its_end():
    end = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
    count(
        sent(
            call(at="2026-11-24T01:59:59.000Z", latency_ms=500, cost_usd="1"),
            call(at="2026-11-24T01:59:59.900Z", latency_ms=500, cost_usd="2"),
        )
    )

    assert queries.spent_nano("production", SINCE, end) == 1_000_000_000
    assert queries.spent_nano("production", end, NOW) == 2_000_000_000


def test_days_are_those_of_a_time_zone():
    """In Berlin the 24th begins an hour before it does in UTC; in Kolkata five and a half."""
    for minute, usd in (("18:29", 1), ("18:30", 2), ("22:59", 4), ("23:00", 8), ("23:59", 16)):
        count(sent(call(at=f"2026-11-23T{minute}:00.000Z", latency_ms=1, cost_usd=str(usd))))
    count(sent(call(at="2026-11-24T00:00:00.000Z", latency_ms=1, cost_usd="32")))
    rolling.roll_up()
    since = datetime(2026, 11, 23, tzinfo=UTC)

    def by_day(zone):
        rows = queries.spend("production", since, NOW, step="1d", zone=zone)
        return {row.since.isoformat(): row.spent_nano // 10**9 for row in rows}

    assert by_day(UTC) == {"2026-11-23T00:00:00+00:00": 31, "2026-11-24T00:00:00+00:00": 32}
    assert by_day(ZoneInfo("Europe/Berlin")) == {"2026-11-22T23:00:00+00:00": 7, "2026-11-23T23:00:00+00:00": 56}
    assert by_day(ZoneInfo("Asia/Kolkata")) == {"2026-11-22T18:30:00+00:00": 1, "2026-11-23T18:30:00+00:00": 62}


def test_a_day_may_have_25_hours():
    steps = Steps.of(NOW - timedelta(days=60), NOW, "1d", ZoneInfo("Europe/Berlin"))
    begin = steps.begin(datetime(2026, 10, 25, 12, tzinfo=UTC))

    assert steps.end(begin) - begin == timedelta(hours=25)


def test_spend_tells_whose_tokens_it_came_from():
    count(sent(call(), call(error="timeout", output_tokens=None), call(tokens_source="counted")))

    rows = queries.spend("production", SINCE, NOW, by=("tokens_source",))

    assert [(row.keys["tokens_source"], row.calls) for row in rows] == [
        ("counted", 1), ("estimated", 1), ("reported", 1),
    ]  # fmt: skip
    assert [row.confirmed_nano > 0 for row in rows] == [False, False, True]


def test_nobody_else_sums_money():
    """Every figure of it comes from `spend`: the others write lines, draw them together, or write their differences."""
    sums_money = re.compile(r"(LedgerLine|LedgerHour|LedgerDay)\b")
    allowed = {"models/__init__.py", "models/ledger.py", "rows.py", "services.py", "booking.py", "rolling.py",
               "retention.py", "repricing.py", "writing.py", "queries/money.py"}  # fmt: skip
    apps = Path(__file__).parents[2] / "apps"

    found = {
        str(path.relative_to(apps))
        for path in apps.rglob("*.py")
        if "migrations" not in path.parts and sums_money.search(path.read_text())
    }

    assert found <= {f"telemetry/{name}" for name in allowed}


def test_who_reads_the_money_of_windows_and_requests_is_known():
    """They keep it as calls were priced on arrival."""
    with_adjustments = {"telemetry/queries/windows.py", "telemetry/queries/costs.py"}
    single_requests = {
        "telemetry/queries/unread.py",
        "console/queries.py",
    }  # evidence is not changed afterwards; charts
    reads = re.compile(r"\b(Window|RequestSum)\.objects")
    apps = Path(__file__).parents[2] / "apps"

    texts = {str(path.relative_to(apps)): path.read_text() for path in apps.rglob("*.py")}

    found = {name for name, text in texts.items() if reads.search(text) and "_nano" in text}
    assert found == with_adjustments | single_requests


def test_nothing_spent_is_zero():
    assert queries.spent_nano("production", SINCE, NOW) == 0
    assert queries.spend("production", SINCE, NOW, by=("route",)) == []


def test_money_is_not_kept_by_whatever_is_asked():
    with pytest.raises(ValueError, match="colour"):
        queries.spend("production", SINCE, NOW, by=("colour",))


def test_windows_count_calls_by_variant_and_requests_by_assigned():
    calls = [
        call(request_id="r-1", variant="flash-lite", assigned="flash-lite", assigned_by="split", error="timeout"),
        call(request_id="r-1", variant="gpt-4.1", assigned="flash-lite", assigned_by="split", final=True),
        call(request_id="r-2", variant="gpt-4.1", assigned="gpt-4.1", assigned_by="split", final=True),
    ]
    count(sent(*calls, outcomes=[outcome(value=1), outcome(value=0)]))

    rows = {row.variant: row for row in queries.windows("production", ROUTE, SINCE, NOW)}

    assert {name: (row.calls, row.errors, row.requests) for name, row in rows.items()} == {
        "flash-lite": (1, 1, 1),
        "gpt-4.1": (2, 0, 1),
    }
    assert rows["flash-lite"].outcomes == {"handoff": (2, 1.0)}
    assert rows["gpt-4.1"].latency.quantile(0.5) == pytest.approx(0.4, rel=0.022)


@pytest.mark.parametrize(("step", "rows"), [("10s", 3), ("1m", 2), ("1h", 2), ("1d", 1), ("all", 1)])
def test_time_is_cut_into_steps(step, rows):
    ends = ["2026-11-24T01:59:10Z", "2026-11-24T01:59:50Z", "2026-11-24T02:00:05Z"]
    count(sent(*(call(at=at) for at in ends)))

    found = queries.windows("production", ROUTE, SINCE, NOW, step)

    assert len(found) == rows
    assert sum(row.calls for row in found) == 3
    assert all(before.since <= after.since for before, after in pairwise(found))


def test_requests_for_charts_come_by_assigned_variant():
    count(sent(call(), call(error="timeout"), call(variant="gpt-4.1")))

    rows = {row.variant: row for row in queries.requests("production", ROUTE, SINCE, NOW)}

    assert (rows["flash-lite"].n, rows["flash-lite"].errors, rows["flash-lite"].latency.count) == (2, 1, 1)
    assert queries.requests("production", ROUTE, SINCE, NOW, trial="nobody") == []


def test_outcomes_come_by_assigned_variant():
    count(sent(outcomes=[outcome(value=1, assigned="gpt-4.1"), outcome(value=0)]))

    rows = {row.variant: row for row in queries.outcomes("production", ROUTE, SINCE, NOW)}

    assert {name: (row.count, row.ones, row.zeros) for name, row in rows.items()} == {
        "gpt-4.1": (1, 1, 0),
        "flash-lite": (1, 0, 1),
    }
