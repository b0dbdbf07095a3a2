"""How often a request may be tried: judged by the mean, of requests whose attempts are all known."""

from itertools import combinations_with_replacement

import pytest

from apps.budgets.domain import eprocess
from apps.budgets.domain.trial import Trial
from tests.budgets.make_budgets import look, make_arm, make_rule, make_trial, verdict_of


def tried(requests, attempts, known=None):
    arm = make_arm(requests)
    arm.tries = (requests if known is None else known, attempts)
    return arm


def judged(candidate, baseline=None, looks=40):
    trial = make_trial(make_rule("amplification", limit=1.2, on_breach="roll_back"))
    for _ in range(looks):
        look(trial, candidate, baseline)
    return trial, verdict_of(trial)


@pytest.mark.parametrize("requests", [10, 50, 500])
def test_a_candidate_that_is_tried_half_as_often_again_breaks_a_limit_of_a_fifth(requests):
    _, verdict = judged(tried(requests, requests * 3 // 2), tried(500, 510))

    assert (verdict.exceeded, verdict.rolls_back, verdict.metric) == (True, True, "attempts_per_request")
    assert (verdict.observed, verdict.limit, verdict.baseline, verdict.unit) == (1.5, 1.2, 1.02, "attempts")


def test_at_the_limit_there_is_no_evidence():
    _, verdict = judged(tried(50, 60), tried(500, 600), looks=500)

    assert (verdict.state, verdict.n) == ("within", 25_000)


def test_no_way_to_share_retries_out_would_say_less():
    """Of six requests that were tried eleven times the sum alone is known."""
    shared_out = [tries for tries in combinations_with_replacement(range(1, 7), 6) if sum(tries) == 11]

    found = eprocess.attempts(6, 11, bound=1.2)

    for each in shared_out:
        known = eprocess.planned_cost([(tries, 1) for tries in each], bound=1.2)
        assert all(least <= exact + 1e-12 for least, exact in zip(found, known, strict=True)), each


def test_what_both_arms_suffer_is_an_incident_and_no_reason_to_go_back():
    _, verdict = judged(tried(50, 150), tried(500, 1500))

    assert (verdict.exceeded, verdict.is_incident, verdict.on_breach) == (True, True, "hold")


def test_attempts_that_nobody_tells_are_not_taken_for_one():
    _, verdict = judged(tried(50, 0, known=0), tried(500, 0, known=0))

    assert (verdict.state, verdict.observed) == ("inconclusive", None)
    assert verdict.explanation == "how often a request is tried is not visible from this source"


def test_a_trial_of_an_older_version_is_read():
    trial, _ = judged(tried(50, 60), looks=1)
    plain = trial.plain()
    for _, _, *arms in plain["segments"]:
        for arm in arms:
            del arm[7:]

    assert Trial.from_plain(plain).segments[0].candidate.mean_attempts is None
