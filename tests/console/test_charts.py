import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from apps.console import chart_values, charts, drawings
from apps.console.charts import Chart, Limit, Mark, Series

BEGIN = 1_780_000_200.0


def chart(**changes):
    points = [(BEGIN + 60 * n, None if 20 <= n < 24 else 2.0 + n % 3 / 10) for n in range(60)]
    given = {
        "key": "p95",
        "title": "p95 latency",
        "says": "p95 latency by variant, limit 2.56 s",
        "series": [
            Series("GPT-4.1", "baseline", points, told="2.1 s"),
            Series("GPT-5", "candidate", points, told="2.2 s"),
        ],
        "since": BEGIN,
        "until": BEGIN + 3540,
        "limits": [Limit(2.56, "limit 2.56 s")],
        "marks": [Mark(BEGIN + 3000, "rolled back 03:12:41")],
        "shade": (BEGIN + 2400, BEGIN + 3000, "harm began, about 03:05"),
        "gaps": [(BEGIN + 1200, BEGIN + 1440)],
    }
    return Chart(**given | changes)


@pytest.mark.parametrize("width", [charts.WIDE, charts.PHONE])
def test_a_chart_is_an_image_with_one_sentence_and_no_style(width):
    drawn = charts.svg(chart(), width)

    root = ET.fromstring(drawn)
    assert root.get("role") == "img"
    assert root.get("aria-label") == "p95 latency by variant, limit 2.56 s"
    assert " style=" not in drawn


def test_a_gap_is_never_bridged():
    drawn = charts.svg(chart())

    lines = re.findall(r'class="line is-candidate"', drawn)
    assert len(lines) == 2
    assert "no data" in drawn


def test_an_empty_chart_keeps_its_axes_and_says_what_it_waits_for():
    drawn = charts.svg(
        chart(
            series=[Series("GPT-5", "candidate", [])], waits="8 of 20 calls", limits=[], marks=[], shade=None, gaps=[]
        )
    )

    assert "8 of 20 calls" in drawn
    assert 'class="grid"' in drawn


def test_the_newest_window_is_dotted_while_it_fills():
    points = [(BEGIN + 60 * n, 1.0) for n in range(5)]

    drawn = charts.svg(chart(series=[Series("GPT-5", "candidate", points, open_last=True)]))

    assert 'class="line is-candidate is-open"' in drawn


@pytest.mark.parametrize(
    ("highest", "ticks"),
    [
        (5.6, [0, 2, 4, 6]),
        (2.9, [0, 1, 2, 3]),
        (0.87, [0, 0.25, 0.5, 0.75, 1]),
        (21, [0, 10, 20, 30]),
        (100, [0, 25, 50, 75, 100]),
    ],
)
def test_ticks_are_round_and_begin_at_zero(highest, ticks):
    assert charts.nice_ticks(highest) == ticks


def test_labels_at_the_ends_do_not_stand_on_each_other():
    places = charts.spread([100.0, 104.0, 130.0], bottom=140)

    assert all(b - a >= 30 for a, b in pairwise(places))
    assert max(places) <= 140


def test_uplot_gets_the_same_columns():
    data = chart_values.for_uplot(chart())

    assert len(data["times"]) == 60
    assert [len(one["values"]) for one in data["series"]] == [60, 60]
    assert data["series"][0]["values"][20:24] == [None] * 4


def test_the_table_has_the_newest_moment_first_and_empty_cells_for_gaps():
    rows = chart_values.rows(chart(), most=100)

    assert len(rows) == 60
    assert rows[0][0] > rows[-1][0]
    assert ["", ""] in [row[1:] for row in rows]


def test_the_bar_turns_when_it_runs_ahead_of_its_pace():
    assert "is-ahead" in drawings.bar(0.80, 0.75)
    assert "is-ahead" not in drawings.bar(0.73, 0.75)
    assert "is-over" in drawings.bar(1.04, 0.75)


def test_an_interval_holds_all_its_marks():
    drawn = drawings.interval(0.54, 1.05, 2.03, same=1.0, limit=1.25, tone="warn", says="Errors")

    xs = [float(x) for x in re.findall(r"M([\d.]+) 1V19", drawn)]
    assert all(0 <= x <= 120 for x in xs)
    assert 'class="whisker"' in drawn


def test_an_interval_without_a_figure_is_left_out():
    assert drawings.interval(None, None, None, same=1.0, limit=1.2, tone="warn", says="") == ""
