"""What the story reads from the control plane's answers, and the table it draws from them."""

from datetime import UTC, datetime, timedelta

import pytest

from demo import scenario
from demo.plane import share_of

ROUTE = "invoice-extraction"


def document(targeting, default="gpt-4.1", state="ENABLED", version=1):
    flag = {"state": state, "variants": {}, "defaultVariant": default, "targeting": targeting}
    return {"flags": {ROUTE: flag}, "metadata": {"version": version}}


def split(**weights):
    return {"fractional": [{"var": "x"}, *([name.replace("_", "-"), weight] for name, weight in weights.items())]}


@pytest.mark.parametrize(
    ("flag", "share"),
    [
        (document(split(gpt_4=9000, gpt_5=1000)), 0.1),
        (document({"if": [{"==": [1, 1]}, "x", split(gpt_4=50, gpt_5=50)]}), 0.5),
        (document(split(gpt_4=100)), 0.0),
        (document({}), 0.0),
        (document({}, default="gpt-5"), 1.0),
        (document(split(gpt_5=1), state="DISABLED"), 0.0),
    ],
    ids=["at the top", "inside a rule", "absent", "default is another", "is the default", "switched off"],
)
def test_the_share_of_a_variant_is_read_from_the_flag_document(flag, share):
    assert share_of(flag, route=ROUTE, variant="gpt-5") == pytest.approx(share)


def test_the_watcher_notes_when_the_share_fell_back_to_zero():
    watcher = scenario.Watcher(plane=None, variant="gpt-5")
    start = datetime(2026, 11, 24, 3, tzinfo=UTC)
    for second, weight in enumerate([0, 0, 1000, 1000, 0, 0]):
        flag = document(split(gpt_4=10000 - weight, gpt_5=weight), version=second)
        watcher.note(flag, start + timedelta(seconds=second))

    assert watcher.zero_again_at() == start + timedelta(seconds=4)
    assert watcher.versions[3] == start + timedelta(seconds=3)


def test_without_a_share_there_is_no_falling_back():
    watcher = scenario.Watcher(plane=None, variant="gpt-5")
    watcher.note(document(split(gpt_4=100)), datetime(2026, 11, 24, 3, tzinfo=UTC))

    assert watcher.zero_again_at() is None


def row(**more):
    return {
        "requests": 4000,
        "p50_ms": 421.4,
        "p95_ms": 980.0,
        "cost_per_1k_usd": "18.400000",
        "handoffs_per_day": 34_560.0,
    } | more


def test_the_table_puts_the_measured_numbers_side_by_side():
    after = row(cost_per_1k_usd="0.920000", p50_ms=190.0, p95_ms=400.0, handoffs_per_day=None)

    table = scenario.table(("gpt-4.1", row(), 100.0), ("flash-lite", after, 100.0))

    assert [" ".join(line.split()) for line in table] == [
        "gpt-4.1 flash-lite",
        "median latency 421 ms 190 ms",
        "p95 latency 980 ms 400 ms",
        "cost per 1,000 requests $18.40 $0.92",
        "handoffs per 10,000 requests 100 0",
        "handoffs per day at this traffic 34,560 0",
        "requests measured 4,000 4,000",
    ]


def test_the_table_says_what_is_not_known():
    lines = scenario.table(("gpt-4.1", row(p50_ms=None), 100.0), ("flash-lite", None, 100.0))

    assert "unknown" in lines[1]
    assert all("not seen" in line for line in lines[1:])
