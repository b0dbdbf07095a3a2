"""Tails against the baseline's marks: slower is exceeded, and failing fast is not faster."""

import pytest

from tests.budgets.make_budgets import HISTORY, look, make_arm, make_rule, make_trial, verdict_of


def test_a_slower_tail_than_the_baselines_is_exceeded():
    trial = make_trial(make_rule("latency_p95", against="baseline", tolerance=0.19), history=HISTORY)
    for _ in range(20):
        look(trial, make_arm(20, seconds=2.5), make_arm(180, seconds=0.7))

    verdict = verdict_of(trial)

    assert verdict.exceeded
    assert verdict.unit == "s"
    assert verdict.observed == pytest.approx(2.5, rel=0.03)
    assert verdict.limit == pytest.approx(1.15 * 1.19, rel=0.06)
    assert verdict.k == verdict.n == 400


def test_a_tail_within_the_tolerance_is_no_harm():
    trial = make_trial(make_rule("latency_p95", against="baseline", tolerance=0.19), history=HISTORY)
    slower = [0.2 * 1.1 + 1.1 * i / 200 for i in range(200)]
    same = [0.2 + i / 200 for i in range(200)]
    for _ in range(50):
        look(trial, make_arm(200, seconds=slower), make_arm(200, seconds=same))

    assert verdict_of(trial).state == "within"


def test_failing_fast_does_not_improve_the_tail():
    trial = make_trial(make_rule("latency_p95", against="baseline"), history=HISTORY)
    for _ in range(20):
        look(trial, make_arm(20, errors=10, seconds=[0.1] * 10), make_arm(180, seconds=0.7))

    verdict = verdict_of(trial)

    assert verdict.exceeded
    assert verdict.at_least  # the 95th of 100 is a failed one


def test_a_mark_waits_for_2000_baseline_requests_and_never_judges_them():
    trial = make_trial(make_rule("latency_p95", against="baseline"))
    for _ in range(9):
        look(trial, make_arm(20, seconds=9.0), make_arm(200, seconds=0.7))
        assert verdict_of(trial).why == "no_mark"
    look(trial, make_arm(20, seconds=9.0), make_arm(200, seconds=0.7))
    assert trial.states[0].marks is not None
    assert trial.states[0].totals == [0, 0, 0, 0]

    look(trial, make_arm(20, seconds=9.0), make_arm(200, seconds=0.7))

    verdict = verdict_of(trial)
    assert trial.states[0].totals == [20, 20, 200, 0]
    assert (verdict.n, verdict.k) == (20, 20)


def test_three_quantiles_are_averaged_into_one_verdict():
    trial = make_trial(make_rule("latency_tail", against="baseline"), history=HISTORY)
    for _ in range(20):
        look(trial, make_arm(20, seconds=2.5), make_arm(180, seconds=0.7))

    verdict = verdict_of(trial)

    assert len(trial.states[0].harm) == 3
    assert verdict.exceeded
    assert verdict.quantile in (0.5, 0.95, 0.99)
