from datetime import UTC, datetime, timedelta

import pytest

from apps.console import figures, sentences

NOW = datetime(2026, 11, 24, 3, 14, 52, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "told"),
    [(4.34, "4.34 s"), (0.941, "0.94 s"), (0.052, "0.052 s"), (12.31, "12.3 s"), (118.0, "118 s"), (0, "0.00 s")],
)
def test_seconds_have_three_figures_that_matter(value, told):
    assert figures.seconds(value).replace("\u00a0", " ") == told


@pytest.mark.parametrize(
    ("rate", "told"),
    [(0.005, "0.5 %"), (0.63, "63 %"), (0, "0 %"), (0.0004, "0.04 %"), (0.000001, "under 0.01 %"), (152.3, "15,230 %")],
)
def test_rates(rate, told):
    assert figures.percent(rate).replace("\u00a0", " ") == told


@pytest.mark.parametrize(("share", "told"), [(2500, "25 %"), (50, "0.5 %"), (10_000, "100 %"), (0, "0 %")])
def test_shares_are_exact(share, told):
    assert figures.share(share).replace("\u00a0", " ") == told


@pytest.mark.parametrize(
    ("nano", "told"),
    [
        (18_400_000_000, "$18.40"),
        (8_145_000_000_000, "$8,145"),
        (130_000, "$0.00013"),
        (600, "under $0.00001"),
        (0, "$0.00"),
        (-1_220_000_000, "\u2212$1.22"),
    ],
)
def test_money(nano, told):
    assert figures.nano(nano) == told


@pytest.mark.parametrize(
    ("nano", "told"), [(22_000 * 10**9, "$22,000"), (12_500_000_000, "$12.50"), (125_000, "$0.000125")]
)
def test_an_exact_amount_loses_no_figure(nano, told):
    assert figures.exact(nano) == told


@pytest.mark.parametrize(("evidence", "told"), [(552.4, "552 : 1"), (0.42, "0.4 : 1"), (3e9, "over 1,000,000 : 1")])
def test_evidence_is_told_as_odds(evidence, told):
    assert figures.odds(evidence).replace("\u00a0", " ") == told


@pytest.mark.parametrize(
    ("length", "told"), [(6, "6 s"), (150, "2 min"), (22_200, "6 h 10 min"), (90_000, "1 d 1 h"), (400_000, "4 d")]
)
def test_spans(length, told):
    assert figures.span(length).replace("\u00a0", " ") == told


@pytest.mark.parametrize(("length", "told"), [(0.42, "0.42 s"), (1.9, "1 s"), (150, "2 min"), (0, "0 s")])
def test_what_took_less_than_a_second_did_not_take_nothing(length, told):
    assert figures.took(length).replace("\u00a0", " ") == told


def test_a_moment_of_another_day_names_the_day():
    assert figures.moment(NOW, NOW) == "03:14:52"
    assert figures.moment(NOW - timedelta(hours=5), NOW).replace("\u00a0", " ") == "23 Nov 22:14"


def test_long_names_lose_their_middle():
    assert figures.middle_cut("contract-clause-extraction-and-summary-emea") == "contract-clause-ex…mary-emea"
    assert figures.middle_cut("short") == "short"


def test_verb_share_value_and_limit_are_strong():
    parts = [
        ["verb", "Rolled back"], ["", " "], ["route", "invoice-extraction"], ["", " from "], ["share", "25 %"],
        ["", " to "], ["share", "0 %"], ["", " "], ["candidate", "GPT-5"], ["", " because "],
        ["metric", "p95 latency"], ["", " was "], ["value", "4.34 s"], ["", ", limit "], ["limit", "2.56 s"], ["", "."],
    ]  # fmt: skip

    html = sentences.marked_parts(parts).replace("\u00a0", " ")

    assert html == (
        "<strong>Rolled back</strong> invoice-extraction from <strong>25 % to 0 % "
        '<span class="nowrap">GPT-5</span></strong> because <strong>p95 latency was 4.34 s, limit 2.56 s</strong>.'
    )


def test_what_a_person_wrote_is_escaped():
    assert "<img" not in sentences.marked_parts([["verb", "Paused"], ["reason", "<img src=x onerror=alert(1)>"]])
    assert "<img" not in sentences.marked("Paused because <img src=x>")


def test_moments_are_time_elements():
    html = sentences.marked("Held until 09:54:03 UTC", NOW)

    assert '<time datetime="2026-11-24T09:54:03Z">09:54:03</time>' in html
