"""A trial comes back from what is stored bit by bit, and a recheck finds what was changed."""

import json

from apps.budgets.domain import judge, recheck
from apps.budgets.domain.trial import Trial
from tests.budgets.make_budgets import START, look, make_arm, make_rule, make_trial

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
