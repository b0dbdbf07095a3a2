"""Costs need no baseline; outcomes are judged by their ones and zeros."""

import pytest

from tests.budgets.make_budgets import HISTORY, look, make_arm, make_rule, make_trial, verdict_of


def test_a_dearer_candidate_breaks_its_cost_limit_without_a_baseline():
    trial = make_trial(make_rule("cost_per_request", limit_usd="0.005"))
    for _ in range(10):
        look(trial, make_arm(20, usd=0.012), None)

    verdict = verdict_of(trial)

    assert verdict.exceeded
    assert verdict.rolls_back
    assert verdict.observed == pytest.approx(0.012)
    assert verdict.limit == 0.005
    assert verdict.unit == "usd"


def test_a_cost_at_its_limit_never_breaks_it():
    trial = make_trial(make_rule("cost_per_request", limit_usd="0.005"))
    for _ in range(200):
        look(trial, make_arm(20, usd=0.005), None)

    assert verdict_of(trial).state == "within"


def test_requests_without_a_price_are_counted_apart():
    trial = make_trial(make_rule("cost_per_request", limit_usd="0.005"))
    look(trial, make_arm(30, usd=None, unpriced=30), None)

    verdict = verdict_of(trial)

    assert verdict.why == "thin"
    assert verdict.unpriced == 30


def test_a_plan_tolerates_ten_percent_more():
    assert make_rule("cost_per_request", against="plan", limit_usd="0.01").bound == pytest.approx(0.011)


def test_costs_against_the_baseline_are_judged_at_marks():
    trial = make_trial(make_rule("cost_per_request", against="baseline"), history=HISTORY)
    for _ in range(20):
        look(trial, make_arm(20, usd=0.002), make_arm(180, usd=0.001))

    assert verdict_of(trial).exceeded


def test_handoffs_are_judged_by_their_outcomes():
    trial = make_trial(make_rule("handoff_rate", against="baseline"))
    for _ in range(20):
        look(trial, make_arm(20, outcomes={"handoff": [20, 6]}), make_arm(180, outcomes={"handoff": [180, 3]}))

    verdict = verdict_of(trial)

    assert verdict.exceeded
    assert verdict.observed == pytest.approx(0.3)


def test_accuracy_is_harmed_by_fewer_ones():
    trial = make_trial(make_rule("accuracy", against="baseline"))
    for _ in range(20):
        look(trial, make_arm(20, outcomes={"accuracy": [20, 10]}), make_arm(180, outcomes={"accuracy": [180, 175]}))

    verdict = verdict_of(trial)

    assert verdict.exceeded
    assert verdict.observed == pytest.approx(0.5)
    assert verdict.baseline == pytest.approx(175 / 180)


def test_an_outcome_that_nobody_reports_is_thin():
    trial = make_trial(make_rule("handoff", against="baseline"))
    look(trial, make_arm(500), make_arm(500))

    assert verdict_of(trial).why == "thin"
