"""A look through the real tables."""

import json
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from apps.budgets import queries, services
from apps.budgets.domain import recheck
from apps.budgets.models import Look, TrialState
from apps.core.refusals import Invalid
from apps.flags.models import Exposure
from apps.journal.models import Entry
from apps.telemetry.models import Cursor
from tests.budgets.make_rows import ALICE, GUARDRAILS, ROUTE, guard, hear, minutes, see, take_look, watched

pytestmark = pytest.mark.django_db


def states(judged):
    return {verdict.metric: verdict.state for verdict in judged.verdicts}


def test_a_bad_candidate_is_exceeded_within_a_few_looks(now):
    guard(now)
    for look in range(12):
        see(now, "new", 10, errors=4)
        see(now, "old", 90)
        judged = take_look(now + timedelta(seconds=5 * look), now)

    assert states(judged) == {
        "latency_p95": "exceeded", "error_rate": "exceeded", "cost_per_request": "within",
    }  # fmt: skip
    assert all(verdict.rolls_back for verdict in judged.verdicts if verdict.exceeded)
    assert judged.requests_candidate == 120
    assert judged.looks == 12


def test_a_look_counts_what_was_committed_once(now):
    guard(now)
    see(now, "new", 100, errors=3)
    see(now, "old", 900, errors=1)

    first = take_look(now + minutes(1), now)
    second = take_look(now + minutes(1), now)

    assert second.verdicts == first.verdicts
    assert Look.objects.count() == 1
    assert Cursor.objects.get(reader="budgets").seq == 2


def test_late_rows_of_another_writer_are_part_of_the_next_look(now):
    guard(now)
    see(now, "new", 100)
    take_look(now, now)
    see(now - minutes(30), "new", 50, writer="w-2")

    judged = take_look(now + minutes(1), now)

    assert judged.requests_candidate == 150


def test_without_news_the_stored_state_answers_and_grows_stale(now):
    guard(now)
    see(now, "new", 100)
    see(now, "old", 900)
    take_look(now, now)

    judged = take_look(now + minutes(10), now)

    assert {verdict.why for verdict in judged.verdicts} == {"stale"}
    assert judged.newest_at == now


def test_only_requests_of_the_split_are_judged(now):
    guard(now)
    for assigned_by in ("rule", "fallback"):
        see(now, "new", 500, errors=500, assigned_by=assigned_by)
    see(now, "new", 30)
    see(now, "old", 300)

    judged = take_look(now, now)

    assert judged.requests_candidate == 30
    assert states(judged)["error_rate"] == "within"


def test_requests_that_might_be_a_rules_make_it_inconclusive(now):
    guard(now)
    see(now, "new", 100)
    see(now, "old", 900)
    see(now, "new", 100, assigned_by="unknown")

    judged = take_look(now, now)

    assert {verdict.why for verdict in judged.verdicts} == {"rules"}


def test_a_shadow_is_compared_with_what_was_served_by_default(now):
    guard(now)
    see(now, "new", 50, errors=20, arm="shadow", assigned_by="default")
    see(now, "old", 500, assigned_by="default")

    judged = take_look(now, now, share_bp=0)

    verdict = next(v for v in judged.verdicts if v.metric == "error_rate")
    assert (verdict.n, verdict.k, verdict.n_baseline) == (50, 20, 500)


def test_default_requests_beside_a_live_split_only_freeze_marks(now):
    guard(now, [{"metric": "latency_p95", "against": "baseline"}])
    see(now, "new", 50)
    see(now, "old", 500)
    see(now, "old", 1500, assigned_by="default")

    judged = take_look(now, now)

    assert judged.requests_baseline == 500
    assert queries.trial_state("t-1").states[0].marks is not None


def test_marks_are_frozen_from_the_week_before_the_start(now):
    guard(now, [{"metric": "latency_p95", "against": "baseline"}])
    see(now - timedelta(days=2), "old", 2500, seconds=0.8, trial="")
    see(now - timedelta(days=9), "old", 2500, seconds=9.0, trial="")
    see(now, "new", 50)
    see(now, "old", 500)

    take_look(now, now)

    (mark,) = queries.trial_state("t-1").states[0].marks
    assert 0.8 <= mark.baseline_value < 0.84
    assert queries.trial_state("t-1").states[0].totals == [50, 0, 500, 0]


def test_handoffs_are_judged_once_a_zero_has_come(now):
    guard(now, [{"metric": "handoff", "against": "baseline"}])
    see(now, "new", 100)
    hear(now, "new", "handoff", 30, 70)
    hear(now, "old", "handoff", 30, 870)
    hear(now, "new", "handoff", 100, 0, assigned_by="rule")

    (verdict,) = take_look(now, now).verdicts

    assert (verdict.n, verdict.k, verdict.n_baseline, verdict.k_baseline) == (100, 30, 900, 30)


def test_ones_alone_are_never_judged(now):
    guard(now, [{"metric": "handoff", "against": "baseline"}])
    hear(now, "new", "handoff", 300, 0)
    hear(now, "old", "handoff", 20, 0)

    (verdict,) = take_look(now, now).verdicts

    assert verdict.why == "thin"


def test_a_stage_counts_its_own_requests(now):
    guard(now)
    see(now, "new", 300)
    take_look(now, now)
    see(now, "new", 20)

    judged = take_look(now + minutes(5), now, stage_began_at=now + minutes(4))

    assert judged.requests_candidate == 20
    assert judged.requests_in_all == 320


def test_rows_of_a_trial_that_nobody_watches_are_kept_as_evidence(now):
    guard(now)
    see(now, "new", 100)
    services.judge(shard=watched_shard(), watched=[], now=now)

    assert take_look(now + minutes(1), now).requests_in_all == 100


def watched_shard():
    return TrialState.objects.get(trial="t-1").shard


def test_a_second_tick_on_the_same_rows_writes_nothing(now, monkeypatch):
    guard(now)
    see(now, "new", 100)
    state = TrialState.objects.get(trial="t-1")
    unread = services.telemetry.unread(services.READER, state.shard)
    take_look(now, now)
    TrialState.objects.put([state])  # the state that the slower tick had read
    monkeypatch.setattr(services.telemetry, "unread", lambda reader, shard: unread)

    with pytest.raises(IntegrityError), transaction.atomic():
        take_look(now, now)

    assert Look.objects.count() == 1


def test_a_decision_can_be_rechecked_from_its_evidence(now):
    guard(now)
    for look in range(80):
        see(now, "new", 10, errors=1 if look < 60 else 4)
        see(now, "old", 90, errors=1)
        judged = take_look(now + minutes(look), now)

    evidence = json.loads(json.dumps(queries.evidence("t-1", circumstances=judged.circumstances)))

    again = recheck.recheck(evidence)
    assert again.holds, again.differences
    assert again.verdicts == judged.verdicts
    assert 0 < len(evidence["looks"]) < 30


def test_looks_tell_how_the_evidence_went(now):
    rows = guard(now)
    for look in range(5):
        see(now, "new", 10, errors=4)
        see(now, "old", 90)
        judged = take_look(now + minutes(look), now)

    points = queries.looks("t-1", now)

    assert [point.look for point in points] == [1, 2, 3, 4, 5]
    error_rate = next(row for row in rows if row.metric == "error_rate")
    assert points[-1].evidence[error_rate.id] == pytest.approx(judged.verdicts[1].evidence)
    assert len(queries.looks("t-1", now + minutes(2.5))) == 2


def test_looks_older_than_48_hours_go(now):
    guard(now)
    see(now, "new", 10)
    take_look(now, now)
    see(now, "new", 10)
    judged = take_look(now + timedelta(hours=47), now)

    services.forget_looks(now=now + timedelta(hours=49))

    assert Look.objects.count() == 1
    assert recheck.recheck(queries.evidence("t-1", circumstances=judged.circumstances)).holds


def test_guardrails_stay_once_they_have_judged(now):
    guard(now)
    guard(now, GUARDRAILS[:1])  # nobody looked yet
    see(now, "new", 10)
    take_look(now, now)

    with pytest.raises(services.EvidenceIsGathered):
        guard(now)

    assert [row.metric for row in queries.guardrails("t-1")] == ["latency_p95"]


def test_what_a_breach_leads_to_may_change_under_way(now):
    rows = guard(now)
    for _ in range(12):
        see(now, "new", 10, errors=4)
        see(now, "old", 90)
    before = take_look(now, now)

    services.change_on_breach(guardrail=rows[1].id, on_breach="hold", by=ALICE, because="too strict", now=now)

    after = take_look(now, now)
    assert before.verdicts[1].rolls_back
    assert not after.verdicts[1].rolls_back
    assert after.verdicts[1].evidence == before.verdicts[1].evidence
    assert Entry.objects.filter(kind="guardrail.changed").count() == 1


def test_a_fault_in_a_guardrail_names_its_place(now):
    with pytest.raises(Invalid) as refused:
        guard(now, [GUARDRAILS[0], {"metric": "latency_p95", "limit_ms": -3}])

    assert refused.value.errors == {"guardrails.1.limit_ms": "Give limit_ms as a number above 0."}


def test_a_retry_is_judged_by_half_the_alpha(now):
    services.set_guardrails(
        environment="production",
        route="r",
        trial="t-9",
        specs=GUARDRAILS,
        candidate="new",
        baseline="old",
        by=ALICE,
        because="again",
        now=now,
        retries=1,
    )

    assert {row.alpha for row in queries.guardrails("t-9")} == {0.001}


def test_a_trial_without_guardrails_still_counts_its_requests(now):
    guard(now, [])
    see(now, "new", 40)

    judged = take_look(now, now)

    assert judged.verdicts == ()
    assert judged.requests_candidate == 40


def test_a_trial_that_budgets_never_heard_of_is_left_out(now):
    assert services.judge(shard=3, watched=[watched(now, trial="nobody")], now=now) == {}


def expose(now, variant, count, minute):
    Exposure.objects.create(
        environment_id="production",
        flag=ROUTE,
        variant=variant,
        snapshot=7,
        assigned_by="split",
        minute=(now - minutes(minute)).replace(second=0, microsecond=0),
        count=count,
    )


@pytest.mark.parametrize(("answered", "why"), [(40, "blind"), (98, "")])
def test_a_candidate_that_is_served_and_does_not_answer_makes_it_blind(now, environment, answered, why):
    began = now - minutes(15)
    guard(began)
    for minute in range(2, 12):
        expose(now, "new", 100, minute)
        expose(now, "old", 900, minute)
        see(now - minutes(minute), "new", answered)
        see(now - minutes(minute), "old", 895)

    judged = take_look(now, began)

    assert {verdict.why for verdict in judged.verdicts} == {why}


def test_without_exposures_nothing_is_called_blind(now):
    began = now - minutes(15)
    guard(began)
    for minute in range(2, 12):
        see(now - minutes(minute), "new", 40)
        see(now - minutes(minute), "old", 895)

    assert {verdict.why for verdict in take_look(now, began).verdicts} == {""}
