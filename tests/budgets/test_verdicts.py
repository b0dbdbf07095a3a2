"""What a guardrail says, from the sums of both arms."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.budgets.domain import judge, looks, recheck, rules
from apps.budgets.domain.trial import Arm, Trial
from tests.budgets.make_budgets import START, look, make_arm, make_rule, make_trial, verdict_of

HISTORY = make_arm(2000, seconds=[0.2 + i / 2000 for i in range(2000)], usd=0.001)


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


ALL_RULES = [
    make_rule("error_rate", against="baseline"),
    make_rule("latency_tail", against="baseline"),
    make_rule("latency_p95", limit_ms=1500),
    make_rule("cost_per_request", limit_usd="0.005"),
    make_rule("handoff", against="baseline"),
]


def a_long_trial(until: int = 40):
    trial = make_trial(*ALL_RULES)
    checkpoint, records = json.loads(json.dumps(trial.plain())), []
    for number in range(until):
        record = look(
            trial,
            make_arm(20, errors=number % 3, seconds=[0.3 + 0.05 * number] * (20 - number % 3), usd=0.004),
            make_arm(180, errors=1, seconds=[0.5] * 179, usd=0.001, outcomes={"handoff": [180, 7]}),
            at=START + 200 * number,
        )
        records.append(record.plain())
        if record.look == 15:  # a checkpoint after the marks were frozen
            checkpoint, records = json.loads(json.dumps(trial.plain())), []
    return trial, checkpoint, records


def test_a_trial_comes_back_from_json_bit_by_bit():
    trial, _, _ = a_long_trial()

    again = Trial.from_plain(json.loads(json.dumps(trial.plain())))

    assert again.plain() == trial.plain()
    circumstances = judge.Circumstances(now=trial.at, share=1000)
    assert judge.judge(again, circumstances) == judge.judge(trial, circumstances)


def stored():
    trial, checkpoint, records = a_long_trial()
    circumstances = judge.Circumstances(now=trial.at, share=1000)
    verdicts = judge.judge(trial, circumstances)
    evidence = recheck.evidence(
        checkpoint=checkpoint, records=records, trial=trial, circumstances=circumstances, verdicts=verdicts
    )
    return verdicts, json.loads(json.dumps(evidence))


def test_verdicts_are_recomputed_from_what_was_stored():
    verdicts, evidence = stored()

    again = recheck.recheck(evidence)

    assert again.holds, again.differences
    assert again.verdicts == verdicts


def test_a_changed_count_does_not_pass_the_recheck():
    _, evidence = stored()
    evidence["looks"][3][4][0][0][1] += 1

    again = recheck.recheck(evidence)

    assert not again.holds
    assert again.differences[0].startswith("error_rate: counts")


def test_a_changed_verdict_does_not_pass_the_recheck():
    _, evidence = stored()
    evidence["verdicts"][0]["evidence"] *= 1.000001

    assert "error_rate: evidence" in recheck.recheck(evidence).differences[0]


def test_five_rules_that_act_get_500_to_1_and_more_share_one_percent():
    acting = [{"on_breach": "roll_back"}] * 4 + [{"on_breach": "hold"}]
    assert rules.with_alphas(acting) == [0.002] * 5
    assert rules.with_alphas([{"on_breach": "roll_back"}] * 10)[0] == pytest.approx(0.001)
    assert rules.with_alphas(acting, retries=1)[0] == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"metric": ""}, "metric"),
        ({"metric": "latency_p95", "limit_ms": -1}, "limit_ms"),
        ({"metric": "latency_p95", "limit_ms": "soon"}, "limit_ms"),
        ({"metric": "error_rate", "limit": 5}, "limit"),
        ({"metric": "error_rate", "against": "yesterday"}, "against"),
        ({"metric": "error_rate", "against": "plan", "limit": 0.1}, "against"),
        ({"metric": "error_rate", "tolerance": -0.1}, "tolerance"),
        ({"metric": "error_rate", "on_breach": "panic"}, "on_breach"),
        ({"metric": "latency_tail", "limit_ms": 500}, "metric"),
    ],
)
def test_a_guardrail_that_makes_no_sense_is_refused_by_field(spec, field):
    _, faults = rules.parse(spec)

    assert field in faults
