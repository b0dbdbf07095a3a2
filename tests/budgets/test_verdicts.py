"""What a guardrail says, from the sums of both arms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.budgets.domain import judge, looks
from apps.budgets.domain.trial import Arm, Trial
from tests.budgets.make_budgets import START, look, make_arm, make_rule, make_trial, verdict_of


def test_failing_answers_of_the_candidate_alone_exceed_the_limit():
    trial = make_trial(make_rule("error_rate", against="baseline"))
    for _ in range(12):
        look(trial, make_arm(5, errors=2), make_arm(45))

    verdict = verdict_of(trial)

    assert verdict.exceeded
    assert verdict.rolls_back
    assert verdict.evidence >= 500
    assert (verdict.n, verdict.k, verdict.n_baseline, verdict.k_baseline) == (60, 24, 540, 0)
    assert verdict.observed == pytest.approx(0.4)
    assert verdict.low < 0.4 < verdict.high
    assert verdict.proof == "harm"
    assert verdict.began_at is not None


def test_evidence_from_20_on_warns_and_holds_the_ramp():
    trial = make_trial(make_rule("error_rate", against="baseline"))
    look(trial, make_arm(20, errors=3), make_arm(180))

    verdict = verdict_of(trial)

    assert 20 <= verdict.evidence < 500
    assert verdict.warning
    assert not verdict.exceeded


def test_an_incident_of_both_arms_is_no_harm_of_the_candidate():
    trial = make_trial(make_rule("error_rate", against="baseline"))
    for _ in range(100):
        look(trial, make_arm(5, errors=2), make_arm(45, errors=18))

    assert verdict_of(trial).state == "within"


def test_few_requests_are_inconclusive_not_healthy():
    trial = make_trial(make_rule("error_rate", against="baseline"))
    look(trial, make_arm(19), make_arm(500))

    verdict = verdict_of(trial)

    assert verdict.inconclusive
    assert verdict.why == "thin"
    assert verdict.explanation == "too few requests to judge"


def test_before_the_first_look_nothing_is_known():
    assert verdict_of(make_trial(make_rule("error_rate"))).why == "thin"


def test_strong_evidence_from_two_failures_waits_for_a_third():
    trial = make_trial(make_rule("error_rate", against="baseline"))
    for _ in range(2):
        look(trial, make_arm(20, errors=1), make_arm(99_980))

    verdict = verdict_of(trial)

    assert verdict.evidence >= 500
    assert verdict.state == "warning"


def test_no_new_requests_make_it_stale():
    trial = make_trial(make_rule("error_rate"))
    for _ in range(20):
        look(trial, make_arm(10), make_arm(90))

    assert verdict_of(trial, now=trial.at + 74).state == "within"
    assert verdict_of(trial, now=trial.at + 76).why == "stale"


def test_a_quiet_route_is_stale_only_after_three_of_its_usual_gaps():
    trial = make_trial(make_rule("error_rate"))
    for hour in range(10):
        look(trial, make_arm(5), make_arm(45), at=START + 600 * hour)

    assert verdict_of(trial, now=trial.at + 900).state == "within"
    assert verdict_of(trial, now=trial.at + 1900).why == "stale"


def test_it_cannot_tell_rule_from_split():
    trial = make_trial(make_rule("error_rate"))
    look(trial, make_arm(100), make_arm(900), unclear=50)

    assert verdict_of(trial).explanation == "cannot tell rule from split"


def test_answers_that_go_missing_are_not_taken_for_health():
    trial = make_trial(make_rule("error_rate"))
    look(trial, make_arm(100), make_arm(900))

    assert verdict_of(trial, blind=True).why == "blind"
    assert judge.is_blind(assigned=200, reported=100, assigned_baseline=1800, reported_baseline=1790)
    assert not judge.is_blind(assigned=200, reported=100, assigned_baseline=1800, reported_baseline=1000)
    assert not judge.is_blind(assigned=20, reported=0, assigned_baseline=1800, reported_baseline=1790)


class TestALimit:
    rule = make_rule("latency_p95", limit_ms=1500)

    def broken(self, *, baseline: Arm, looks_: int = 20, share: int = 1000) -> Trial:
        trial = make_trial(self.rule)
        for _ in range(looks_):
            look(trial, make_arm(20, seconds=3.0), baseline, share=share)
        return trial

    def test_that_only_the_candidate_breaks_rolls_back(self):
        verdict = verdict_of(self.broken(baseline=make_arm(180, seconds=0.5)))

        assert verdict.exceeded
        assert verdict.rolls_back
        assert verdict.limit >= 1.5

    def test_that_both_break_is_an_incident_and_holds(self):
        verdict = verdict_of(self.broken(baseline=make_arm(180, seconds=3.0)))

        assert verdict.exceeded
        assert not verdict.rolls_back
        assert verdict.is_incident
        assert verdict.warning

    def test_above_75_percent_is_held_for_three_looks_and_then_rolls_back(self):
        trial = make_trial(self.rule)
        acts = []
        for _ in range(6):
            look(trial, make_arm(200, seconds=3.0), None, share=9500)
            acts.append(verdict_of(trial, share=9500))

        assert [verdict.state for verdict in acts] == ["exceeded"] * 6
        assert [verdict.rolls_back for verdict in acts] == [False, False, False, True, True, True]
        assert acts[0].why == "waits"

    def test_above_75_percent_stays_where_the_rest_of_the_baseline_breaks_it_too(self):
        trial = self.broken(baseline=make_arm(10, seconds=3.0), share=9500)

        verdict = verdict_of(trial, share=9500)

        assert verdict.is_incident
        assert not verdict.rolls_back

    def test_with_hardly_a_bad_answer_is_within_and_proven_safe(self):
        trial = make_trial(self.rule)
        for _ in range(30):
            look(trial, make_arm(20, seconds=0.5), make_arm(180, seconds=0.5))

        verdict = verdict_of(trial)

        assert verdict.state == "within"
        assert verdict.proof == "safe"


def test_errors_are_proven_safe_only_by_many_requests():
    trial = make_trial(make_rule("error_rate", against="baseline", tolerance=0.25))
    for _ in range(10):
        look(trial, make_arm(500, errors=5), make_arm(500, errors=5))
    assert verdict_of(trial).proof == "undecided"

    for _ in range(200):
        look(trial, make_arm(500, errors=5), make_arm(500, errors=5))

    assert verdict_of(trial).proof == "safe"


def test_what_is_shown_is_what_was_seen_since_harm_began():
    trial = make_trial(make_rule("error_rate", against="baseline"))
    for half_hour in range(24):
        for minute in range(0, 30, 10):
            look(trial, make_arm(100, errors=1), make_arm(900, errors=9), at=START + 1800 * half_hour + 60 * minute)
    for minute in range(10):
        look(trial, make_arm(10, errors=5), make_arm(90, errors=1), at=START + 1800 * 24 + 60 * minute)

    verdict = verdict_of(trial)

    assert verdict.exceeded
    assert (verdict.n, verdict.k) == (100, 50)
    assert verdict.began_at.timestamp() == START + 1800 * 24
    assert len(trial.segments) <= 5


def test_splits_do_not_meet_each_other():
    """Half of the candidate's requests came under an old share, when everything failed for both."""
    one = make_trial(make_rule("error_rate", against="baseline"))
    seen = looks.Seen()
    seen.split(1).candidate, seen.split(1).baseline = make_arm(500, errors=250), make_arm(500, errors=250)
    seen.split(2).candidate, seen.split(2).baseline = make_arm(100), make_arm(900)
    looks.apply(one, looks.reduce(one, seen, now=START + 5, share=1000))

    mixed = make_trial(make_rule("error_rate", against="baseline"))
    look(mixed, make_arm(600, errors=250), make_arm(1400, errors=250))

    assert verdict_of(one).evidence < 1.5
    assert verdict_of(mixed).evidence > 20


counts = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 400), st.integers(0, 400))


@given(st.lists(counts, min_size=1, max_size=12), st.randoms())
def test_late_rows_may_come_in_any_order(rows, draw):
    def evidence(ordered):
        trial = make_trial(make_rule("error_rate", against="baseline"), make_rule("latency_p95", limit_ms=1500))
        for n, bad, m, bad_baseline in ordered:
            look(trial, make_arm(n, errors=min(bad, n)), make_arm(m, errors=min(bad_baseline, m)), at=START + 60)
        return [state.harm[0].log_evidence for state in trial.states]

    shuffled = list(rows)
    draw.shuffle(shuffled)

    assert evidence(rows) == pytest.approx(evidence(shuffled), abs=1e-9)
