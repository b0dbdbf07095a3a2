import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.telemetry.domain.histogram import (
    HIGHEST,
    LOWEST,
    Histogram,
    edge_index_at_or_above,
    index_of,
    lower_edge,
    upper_edge,
)

latencies = st.floats(min_value=0.001, max_value=1000, allow_nan=False)
anything = st.floats(min_value=-10, max_value=1e12, allow_nan=False)


@given(st.lists(st.lists(anything, max_size=20), max_size=6), st.randoms(use_true_random=False))
def test_merging_in_any_order_gives_the_same_bytes(parts, chance):
    shuffled = list(parts)
    chance.shuffle(shuffled)

    merged, otherwise = Histogram(), Histogram()
    for part in parts:
        merged.merge(Histogram.of(part))
    for part in shuffled:
        otherwise.merge(Histogram.of(part))
    at_once = Histogram.of(value for part in parts for value in part)

    assert merged.pack() == otherwise.pack() == at_once.pack()


@given(st.lists(anything, max_size=50))
def test_what_was_packed_comes_back(values):
    histogram = Histogram.of(values)

    again = Histogram.unpack(histogram.pack())

    assert again == histogram
    assert again.count == len(values)
    assert (again.zero, again.clamped) == (histogram.zero, histogram.clamped)


@given(st.lists(latencies, min_size=1, max_size=300), st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_quantiles_are_within_2_2_percent(values, q):
    exact = sorted(values)[max(math.ceil(q * len(values)), 1) - 1]

    assert Histogram.of(values).quantile(q) == pytest.approx(exact, rel=0.022)


@given(latencies)
def test_a_value_lies_between_the_edges_of_its_cell(value):
    index = index_of(value)

    assert lower_edge(index) < value <= upper_edge(index)


def test_the_index_is_that_of_a_walk_along_all_edges():
    edges = [2.0 ** (k / 16) for k in range(-160, 161)]
    chance = random.Random(1)
    for _ in range(2000):
        value = 2 ** chance.uniform(-10, 10)
        walked = next(k for k, edge in enumerate(edges) if value <= edge) - 160 - 1
        assert index_of(value) == walked
        assert index_of(value) == math.ceil(math.log2(value) * 16) - 1


@pytest.mark.parametrize("index", [LOWEST, -161, -160, -17, -16, -1, 0, 1, 15, 16, 159])
def test_an_edge_belongs_to_the_cell_below_it(index):
    assert index_of(upper_edge(index)) == index
    assert index_of(math.nextafter(upper_edge(index), math.inf)) == index + 1
    assert edge_index_at_or_above(upper_edge(index)) == index


def test_the_edges_of_whole_doublings_are_exact():
    assert [upper_edge(i) for i in (-17, -1, 15, 31)] == [0.5, 1.0, 2.0, 4.0]


@settings(max_examples=50)
@given(st.lists(latencies, max_size=200), latencies)
def test_counts_above_an_edge_are_exact(values, limit):
    edge = edge_index_at_or_above(limit)

    assert upper_edge(edge) >= limit
    assert Histogram.of(values).count_above(edge) == sum(value > upper_edge(edge) for value in values)


def test_zero_and_less_have_their_own_cell():
    histogram = Histogram.of([0, -0.5, 1.0])

    assert (histogram.count, histogram.zero) == (3, 2)
    assert histogram.quantile(0.5) == 0.0
    assert histogram.quantile(1.0) == pytest.approx(1.0, rel=0.022)


def test_values_outside_the_range_are_counted_at_its_ends():
    histogram = Histogram.of([1e-12, 1e9, 1.0])

    assert histogram.clamped == 2
    assert set(histogram.cells) == {LOWEST, -1, HIGHEST}


def test_a_nano_usd_is_not_clamped():
    assert Histogram.of([1e-9]).clamped == 0


def test_without_values_there_is_no_quantile():
    assert Histogram().quantile(0.95) is None
    assert Histogram.unpack(b"").count == 0


def test_a_format_from_the_future_is_refused():
    with pytest.raises(ValueError, match="format 9"):
        Histogram.unpack(b"\x09")
