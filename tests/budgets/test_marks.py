import pytest

from apps.budgets.domain import marks
from apps.telemetry.domain import histogram
from apps.telemetry.domain.histogram import Histogram


@pytest.mark.parametrize(("tolerance", "edges"), [(0.0, 0), (0.02, 0), (0.04, 1), (0.09, 2), (0.19, 4), (1.0, 16)])
def test_a_tolerance_is_the_nearest_whole_number_of_edges(tolerance, edges):
    assert marks.edges_above(tolerance) == edges


def test_a_limit_is_rounded_up_to_the_next_edge():
    mark = marks.at_limit(0.95, 1.5)

    assert mark.value >= 1.5
    assert histogram.upper_edge(mark.edge - 1) < 1.5
    assert mark.rate == pytest.approx(0.05)


def test_a_limit_on_an_edge_stays_there():
    assert marks.at_limit(0.95, 2.0).value == 2.0


def test_a_frozen_mark_leaves_at_most_its_share_above():
    answered = Histogram.of([0.1 + i / 1000 for i in range(2000)])

    mark = marks.from_baseline(0.95, answered, failed=0, tolerance=0.0)

    assert answered.count_above(mark.baseline_edge) <= 100
    assert answered.count_above(mark.baseline_edge - 1) > 100


def test_failed_requests_stand_above_every_mark():
    answered = Histogram.of([0.1] * 1900 + [5.0] * 60)

    without = marks.from_baseline(0.95, answered, failed=0, tolerance=0.0)
    with_failures = marks.from_baseline(0.95, answered, failed=60, tolerance=0.0)

    assert without.value < 1
    assert with_failures.value >= 5


def test_the_candidate_is_counted_at_the_tolerated_edge_and_the_baseline_at_its_own():
    mark = marks.from_baseline(0.95, Histogram.of([1.0] * 2000), failed=0, tolerance=0.19)

    assert mark.edge == mark.baseline_edge + 4
    assert mark.value / mark.baseline_value == pytest.approx(1.189, abs=0.001)


def test_cost_marks_stand_at_one_and_five_times_the_mean():
    once, loops = marks.at_cost(0.004, tolerance=0.0)

    assert 0.004 <= once.value < 0.0042
    assert 0.02 <= loops.value < 0.021
