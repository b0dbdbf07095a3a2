"""The generated trace has the shape of a real service; a recorded one is played as it is."""

import itertools
import math
import statistics
from pathlib import Path

import pytest

from demo import trace

AZURE = Path(__file__).resolve().parents[3] / "shared" / "data" / "azure_llm_trace_conv.csv"


def take(arrivals, number):
    return list(itertools.islice(arrivals, number))


def counts(arrivals, seconds):
    moments = list(itertools.accumulate(arrival.gap for arrival in arrivals))
    cells = [0] * int(moments[-1] // seconds)
    for moment in moments:
        if moment // seconds < len(cells):
            cells[int(moment // seconds)] += 1
    return cells


def dispersion(cells):
    return statistics.pvariance(cells) / statistics.mean(cells)


@pytest.fixture(scope="module")
def generated():
    return take(trace.generate(seed=7, second_of_day=10 * 3600), 100_000)


def test_the_same_seed_gives_the_same_arrivals():
    assert take(trace.generate(seed=1), 500) == take(trace.generate(seed=1), 500)
    assert take(trace.generate(seed=1), 500) != take(trace.generate(seed=2), 500)


def test_it_comes_at_about_forty_requests_a_second(generated):
    seconds = sum(arrival.gap for arrival in generated)

    assert 36 < len(generated) / seconds < 46


def test_counts_scatter_wider_than_poisson_but_gaps_stay_nearly_exponential(generated):
    gaps = [arrival.gap for arrival in generated]

    assert 2 < dispersion(counts(generated, 1)) < 5
    assert 8 < dispersion(counts(generated, 10)) < 40
    assert 1.0 < statistics.pstdev(gaps) / statistics.mean(gaps) < 1.2


def test_the_day_has_a_trough_at_four_and_a_peak_at_sixteen():
    assert trace.diurnal(4 * 3600) == pytest.approx(0.9)
    assert trace.diurnal(16 * 3600) == pytest.approx(1.1)
    assert statistics.mean(trace.diurnal(hour * 3600) for hour in range(24)) == pytest.approx(1)


def test_the_token_means_are_those_of_the_article_s_bill(generated):
    context = statistics.mean(arrival.context_tokens for arrival in generated)
    output = statistics.mean(arrival.generated_tokens for arrival in generated)

    assert context == pytest.approx(6_000, rel=0.02)
    assert output == pytest.approx(800, rel=0.02)
    assert 1000 * (context * 2 + output * 8) / 1e6 == pytest.approx(18.40, rel=0.03)


def test_tokens_are_log_normal_and_weakly_correlated(generated):
    context = [math.log(arrival.context_tokens) for arrival in generated]
    output = [math.log(arrival.generated_tokens) for arrival in generated]

    assert statistics.pstdev(context) == pytest.approx(trace.CONTEXT_SIGMA, rel=0.05)
    assert abs(statistics.mean(context) - statistics.median(context)) < 0.02
    assert statistics.correlation(context, output) == pytest.approx(trace.CORRELATION, abs=0.03)


def test_a_recorded_trace_keeps_its_gaps_and_tokens(tmp_path):
    file = tmp_path / "trace.csv"
    file.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:15:46.6805900,374,44\n"
        "2023-11-16 18:15:50.6805900,396,109\n"
    )

    assert trace.read(file) == [trace.Arrival(0.0, 374, 44), trace.Arrival(4.0, 396, 109)]


def test_speed_divides_the_gaps_and_the_trace_begins_again_at_its_end():
    recorded = [trace.Arrival(0.0, 10, 1), trace.Arrival(4.0, 20, 2)]

    played = take(trace.replay(recorded, speed=8), 4)

    assert [arrival.gap for arrival in played] == [0.0, 0.5, 0.25, 0.5]
    assert [arrival.context_tokens for arrival in played] == [10, 20, 10, 20]


def test_an_unreadable_line_is_named(tmp_path):
    file = tmp_path / "trace.csv"
    file.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,many,44\n")

    with pytest.raises(trace.TraceIsUnreadable, match="line 2"):
        trace.read(file)


def test_an_empty_trace_is_refused(tmp_path):
    file = tmp_path / "trace.csv"
    file.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n")

    with pytest.raises(trace.TraceIsUnreadable, match="no request"):
        trace.read(file)


@pytest.mark.skipif(not AZURE.exists(), reason="the recorded trace is not in ../shared/data")
def test_the_real_trace_plays_at_about_forty_requests_a_second_by_default():
    played = take(trace.arrivals(file=AZURE, speed=None, seed=1, second_of_day=0), 20_000)

    assert 40 < len(played) / sum(arrival.gap for arrival in played) < 48
