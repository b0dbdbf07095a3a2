"""What a guardrail may say, and how much false alarm it gets."""

import pytest

from apps.budgets.domain import rules


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
        ({"metric": "first_token_p95", "limit_ms": 500}, "metric"),
        ({"metric": "time_to_first_token", "limit_ms": 500}, "metric"),
        ({"metric": "ttft_ms"}, "metric"),
        ({"metric": "timeout_rate"}, "metric"),
        ({"metric": "sample_ratio"}, "metric"),
        ({"metric": "retries", "limit": 1.2}, "metric"),
        ({"metric": "amplification"}, "limit"),
        ({"metric": "attempts_per_request", "limit": 1}, "limit"),
        ({"metric": "attempts_per_request", "against": "plan", "limit": 1.2}, "against"),
    ],
)
def test_a_guardrail_that_makes_no_sense_is_refused_by_field(spec, field):
    _, faults = rules.parse(spec)

    assert field in faults
