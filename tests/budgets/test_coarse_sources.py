"""A guardrail on tail latency over a source whose buckets hold no marks: inconclusive, with the remedy."""

from datetime import datetime

import pytest

from apps.budgets import packing, queries
from apps.budgets.domain import judge, verdicts
from apps.budgets.models import TrialState
from apps.telemetry.domain.histogram import Histogram
from apps.telemetry.models import Window
from tests.budgets.make_budgets import START, make_rule, make_trial
from tests.budgets.make_rows import ROUTE, guard, minutes, see, take_look


@pytest.mark.parametrize(("metric", "why"), [("latency_p95", "coarse"), ("error_rate", "thin")])
def test_latency_of_coarse_buckets_is_inconclusive_and_names_the_remedy(metric, why):
    trial = make_trial(make_rule(metric))

    (verdict,) = judge.judge(trial, judge.Circumstances(now=START, share=1000, is_coarse=True))

    assert (verdict.state, verdict.why) == (verdicts.INCONCLUSIVE, why)
    assert "base2_exponential_bucket_histogram" in verdicts.EXPLANATIONS[verdicts.COARSE]


def calls_of_logs(now: datetime) -> None:
    """A log tells that a call was made, and not how long it took: there are no buckets either."""
    counts = dict.fromkeys(["errors", "input_tokens", "cached_input_tokens", "output_tokens", "late", "unpriced"], 0)
    Window.objects.create(
        environment="production", route=ROUTE, variant="new", arm="live", starts_at=now, calls=50, coarse=50,
        confirmed_nano=0, estimated_nano=0, latency=Histogram().pack(), **counts,
    )  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize(("tell", "why"), [(calls_of_logs, "coarse"), (lambda now: None, "thin")])
def test_a_tick_and_a_page_give_the_same_reason_for_what_only_logs_tell_of(environment, now, tell, why):
    guard(now, [{"metric": "latency_p95", "limit_ms": 1500, "on_breach": "roll_back"}])
    tell(now - minutes(1))

    judged = take_look(now)
    shown = queries.verdicts("production", ROUTE, "t-1", share=1000, now=now)

    assert [verdict.why for verdict in judged.verdicts] == [verdict.why for verdict in shown] == [why]


@pytest.mark.django_db
def test_a_page_knows_of_a_candidate_whose_answers_do_not_come_back(environment, now):
    guard(now)
    for variant, requests in (("new", 100), ("old", 900)):
        see(now, variant, requests)
    take_look(now)
    state = TrialState.objects.get(trial="t-1")
    trial = packing.unpack_trial(state.packed)
    trial.blind = True
    TrialState.objects.filter(trial="t-1").update(packed=packing.pack_trial(trial))

    shown = queries.verdicts("production", ROUTE, "t-1", share=1000, now=now)

    assert {verdict.why for verdict in shown} == {"blind"}
