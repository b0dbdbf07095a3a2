"""A guardrail on tail latency over a source whose buckets hold no marks: inconclusive, with the remedy."""

import pytest

from apps.budgets.domain import judge, verdicts
from tests.budgets.make_budgets import START, make_rule, make_trial


@pytest.mark.parametrize(("metric", "why"), [("latency_p95", "coarse"), ("error_rate", "thin")])
def test_latency_of_coarse_buckets_is_inconclusive_and_names_the_remedy(metric, why):
    trial = make_trial(make_rule(metric))

    (verdict,) = judge.judge(trial, judge.Circumstances(now=START, share=1000, is_coarse=True))

    assert (verdict.state, verdict.why) == (verdicts.INCONCLUSIVE, why)
    assert "base2_exponential_bucket_histogram" in verdicts.EXPLANATIONS[verdicts.COARSE]
