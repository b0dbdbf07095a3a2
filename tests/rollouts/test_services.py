"""What an operator can say, and what is refused."""

from datetime import timedelta

import pytest

from apps.core.actors import key, person
from apps.core.refusals import Invalid, Stale
from apps.flags import queries as flags
from apps.flags import services as flag_services
from apps.journal.models import Entry
from apps.rollouts import services
from apps.rollouts.models import Approval, Decision, Rollout
from tests.rollouts.make_rollouts import (
    ALICE,
    TOM,
    make_rollout,
    make_route,
    see_traffic,
    start_rollout,
    weights,
)

pytestmark = pytest.mark.django_db
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
WITH_APPROVAL = [{"share": 10}, {"share": 50, "approval": True}, {"share": 100}]


def say(verb, rollout, now, by=ALICE, because="because", **more):
    return verb(rollout=rollout, by=by, because=because, now=now, **more)


def route():
    return flags.route("production", "invoice-extraction")


def test_a_draft_moves_and_holds_nothing(environment, now):
    make_route(now)

    rollout = make_rollout(now)

    assert (rollout.state, rollout.stage, route().held_by) == ("draft", None, "")
    assert weights() == {"gpt-4.1": 10_000}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"candidate": "gpt-9"}, "candidate"),
        ({"candidate": "gpt-4.1"}, "candidate"),
        ({"stages": []}, "stages"),
        ({"stages": [{"share": 120}]}, "stages.0.share"),
        ({"guardrails": [{"metric": "latency_p95", "limit_ms": -1}]}, "guardrails.0.limit_ms"),
    ],
)
def test_what_cannot_run_is_refused_with_its_place(environment, now, change, field):
    make_route(now)

    with pytest.raises(Invalid) as refusal:
        make_rollout(now, **change)

    assert field in refusal.value.errors


def test_while_it_runs_nobody_else_changes_the_split(environment, now):
    start_rollout(now)

    with pytest.raises(flag_services.FlagIsHeld):
        flag_services.change_weights(
            environment="production", key="invoice-extraction", weights={"gpt-5": 10_000}, by=TOM, because="x", now=now
        )


def test_one_rollout_at_a_time(environment, now):
    start_rollout(now)

    with pytest.raises(services.AnotherRolloutRuns):
        say(services.start, make_rollout(now), now)


def test_a_person_may_go_on_before_time_and_samples(environment, now):
    rollout = start_rollout(now)

    decision = say(services.advance, rollout, now)

    assert (decision.kind, decision.by, weights()) == ("advance", "alice", {"gpt-4.1": 5000, "gpt-5": 5000})
    assert decision.sentence == "Advanced invoice-extraction from 10 % to 50 % GPT-5 because because."


def test_nobody_goes_on_against_evidence_of_harm(environment, now):
    rollout = start_rollout(now)
    at = now + 5 * SECOND
    see_traffic(at, n=200, variant="gpt-4.1")
    see_traffic(at, n=36, variant="gpt-5")
    see_traffic(at, n=4, variant="gpt-5", errors=4)
    services.tick(now=at)
    rollout.refresh_from_db()
    assert rollout.decisions.newest_first().first().code == "warning"

    with pytest.raises(services.EvidenceOfHarm):
        say(services.advance, rollout, at)


def test_going_on_with_an_old_revision_is_stale(environment, now):
    rollout = start_rollout(now)
    say(services.advance, rollout, now, by=TOM)

    with pytest.raises(Stale) as refusal:
        say(services.advance, rollout, now, expected=rollout.revision)

    assert refusal.value.facts["by"] == "tom"


def test_stepping_back_goes_one_stage(environment, now):
    rollout = start_rollout(now)
    say(services.advance, rollout, now)

    say(services.step_back, rollout, now)

    assert weights() == {"gpt-4.1": 9000, "gpt-5": 1000}


def test_the_end_of_the_plan_is_finished_by_hand_too(environment, now):
    rollout = start_rollout(now, stages=[{"share": 100}])

    say(services.advance, rollout, now)

    assert (route().default_variant, route().held_by) == ("gpt-5", "")
    assert Rollout.objects.get().state == "finished"


# --- approvals


def test_a_stage_with_approval_waits_for_somebody_else(environment, now):
    rollout = start_rollout(now, stages=WITH_APPROVAL, guardrails=[])
    services.tick(now=now + 5 * SECOND)
    question = Approval.objects.get()

    say(services.approve, rollout, now + 6 * SECOND, by=TOM)
    services.tick(now=now + 10 * SECOND)

    assert (question.asked_by, question.stage, question.evidence["progress"]["share"]) == ("alice", 1, 1000)
    assert weights() == {"gpt-4.1": 5000, "gpt-5": 5000}
    assert Approval.objects.get().state == "approved"
    assert Entry.objects.filter(kind="rollout.approved", by="tom").exists()


@pytest.mark.parametrize("who", [person("alice"), key("ci")])
def test_nobody_approves_their_own_request_and_no_key_approves(environment, now, who):
    rollout = start_rollout(now, stages=WITH_APPROVAL)

    with pytest.raises(services.OwnRequest):
        say(services.approve, rollout, now, by=who)


def test_a_person_cannot_go_on_without_the_approval(environment, now):
    rollout = start_rollout(now, stages=WITH_APPROVAL)

    with pytest.raises(services.NeedsApproval):
        say(services.advance, rollout, now)


def test_a_no_pauses(environment, now):
    rollout = start_rollout(now, stages=WITH_APPROVAL, guardrails=[])
    services.tick(now=now + 5 * SECOND)

    services.answer(approval=Approval.objects.get(), approved=False, by=TOM, because="not on Friday", now=now)

    rollout.refresh_from_db()
    assert (rollout.state, Approval.objects.get().state) == ("paused", "rejected")


def test_a_first_stage_with_approval_waits_at_nothing(environment, now):
    rollout = start_rollout(now, stages=[{"share": 10, "approval": True}, {"share": 100}])
    before = (rollout.state, rollout.stage, weights())
    services.tick(now=now + 5 * SECOND)

    say(services.approve, rollout, now + 6 * SECOND, by=TOM)
    services.tick(now=now + 10 * SECOND)

    assert before == ("running", None, {"gpt-4.1": 10_000})
    assert weights() == {"gpt-4.1": 9000, "gpt-5": 1000}


# --- safety


def test_a_person_rolls_back_at_once(environment, now):
    rollout = start_rollout(now)

    decision = say(services.roll_back, rollout, now, because="users complain")

    assert (weights(), route().held_by) == ({"gpt-4.1": 10_000}, "")
    assert decision.sentence == "Rolled back invoice-extraction from 10 % to 0 % GPT-5 because users complain."
    assert say(services.roll_back, rollout, now) is None


def test_a_finished_rollout_can_still_be_rolled_back(environment, now):
    rollout = start_rollout(now, stages=[{"share": 100}])
    say(services.advance, rollout, now)

    say(services.roll_back, rollout, now + HOUR)

    assert (route().default_variant, weights()) == ("gpt-4.1", {"gpt-4.1": 10_000})


def test_aborting_leaves_no_latch(environment, now):
    rollout = start_rollout(now)

    say(services.abort, rollout, now)

    assert (Rollout.objects.get().state, weights()) == ("aborted", {"gpt-4.1": 10_000})
    assert Entry.objects.filter(kind="rollout.aborted").exists()
    assert say(services.start, make_rollout(now), now).state == "running"


def test_pausing_keeps_the_traffic_and_resuming_goes_on(environment, now):
    rollout = start_rollout(now)

    say(services.pause, rollout, now)
    paused = (Rollout.objects.get().state, weights())
    resumed = say(services.resume, rollout, now)

    assert paused == ("paused", {"gpt-4.1": 9000, "gpt-5": 1000})
    assert resumed.state == "running"


def test_falling_back_takes_everybody_and_pauses_the_rollout(environment, now):
    rollout = start_rollout(now)

    decision = services.fall_back(
        environment="production", route="invoice-extraction", by=ALICE, because="outage", now=now
    )

    rollout.refresh_from_db()
    assert (route().switch, rollout.state, rollout.share) == ("fallback", "paused", 0)
    assert decision.sentence.endswith("because outage.")


def test_restoring_and_resuming_bring_the_stage_back(environment, now):
    rollout = start_rollout(now)
    where = {"environment": "production", "route": "invoice-extraction", "by": ALICE, "because": "over", "now": now}
    services.fall_back(**where)
    services.restore(**where)
    restored = weights()

    say(services.resume, rollout, now)

    assert (route().switch, restored) == ("", {"gpt-4.1": 10_000})
    assert weights() == {"gpt-4.1": 9000, "gpt-5": 1000}


def test_a_route_without_a_fallback_says_so(environment, now):
    make_route(now, fallback="")

    with pytest.raises(flag_services.NoFallback):
        services.fall_back(environment="production", route="invoice-extraction", by=ALICE, because="x", now=now)


def test_falling_back_without_a_rollout_is_a_decision_too(environment, now):
    make_route(now)

    services.fall_back(environment="production", route="invoice-extraction", by=ALICE, because="outage", now=now)

    decision = Decision.objects.get()
    assert (decision.kind, decision.rollout, decision.share) == ("fall_back", None, None)
    assert decision.sentence == "Fell back invoice-extraction to Gemini 2.5 Flash-Lite because outage."


# --- undo


def test_ones_own_act_is_undone_as_paused(environment, now):
    rollout = start_rollout(now)
    decision = say(services.roll_back, rollout, now)

    services.undo(decision=decision, by=ALICE, because="wrong route", now=now + 4 * 60 * SECOND)

    rollout.refresh_from_db()
    assert (rollout.state, weights()) == ("paused", {"gpt-4.1": 9000, "gpt-5": 1000})
    assert route().held_by == rollout.holder


@pytest.mark.parametrize(("by", "later"), [(TOM, 0), (ALICE, 301)])
def test_what_is_not_undone(environment, now, by, later):
    rollout = start_rollout(now)
    decision = say(services.roll_back, rollout, now)

    with pytest.raises(services.NothingToUndo):
        services.undo(decision=decision, by=by, because="x", now=now + later * SECOND)


# --- latch and cool-down


def roll_back_by_machine(rollout, at):
    see_traffic(at, n=400, variant="gpt-4.1", latency_ms=420)
    see_traffic(at, n=80, variant="gpt-5", latency_ms=4300)
    services.tick(now=at)
    assert Rollout.objects.get(pk=rollout.pk).state == "rolled_back"


def test_a_candidate_that_was_rolled_back_cools_down(environment, now):
    roll_back_by_machine(start_rollout(now), now + 5 * SECOND)
    again = make_rollout(now + 10 * SECOND)

    with pytest.raises(services.CoolingDown):
        say(services.start, again, now + 30 * 60 * SECOND)
    started = say(services.start, again, now + HOUR + 6 * SECOND)

    alphas = {row.alpha for row in budgets_of(started)}
    assert (started.state, alphas) == ("running", {0.001})


def budgets_of(rollout):
    from apps.budgets import queries

    return queries.guardrails(rollout.id)


def test_a_changed_candidate_is_another_revision(environment, now):
    roll_back_by_machine(start_rollout(now), now + 5 * SECOND)
    variants = dict(route().variants)
    variants["gpt-5"] = {**variants["gpt-5"], "timeout_ms": 2000}
    flag_services.update_route(
        environment="production", key="invoice-extraction", by=ALICE, because="faster", now=now, variants=variants
    )

    assert say(services.start, make_rollout(now), now + 60 * SECOND).state == "running"


def test_the_alert_is_over_when_the_next_try_starts(environment, now):
    roll_back_by_machine(start_rollout(now), now + 5 * SECOND)

    say(services.start, make_rollout(now), now + 2 * HOUR)

    closing = Entry.objects.get(condition="rollout:invoice-extraction", effect="closes")
    assert closing.at == now + 2 * HOUR


def test_a_preview_stays_out_of_a_critical_routes_live_traffic(environment, now):
    make_route(now, is_critical=True)
    shadow_only = [{"shadow": 20, "min_seconds": 60}]

    with pytest.raises(services.PreviewIsShadowOnly):
        make_rollout(now)

    assert make_rollout(now, stages=shadow_only).state == "draft"


def test_a_hold_makes_nobodys_press_stale(environment, now):
    rollout = start_rollout(now)
    services.tick(now=now + 5 * SECOND)

    assert say(services.advance, rollout, now + 6 * SECOND, expected=rollout.revision).kind == "advance"


def test_a_hold_after_it_keeps_nobody_from_undoing(environment, now):
    rollout = start_rollout(now)
    decision = say(services.advance, rollout, now)
    services.tick(now=now + 5 * SECOND)

    services.undo(decision=decision, by=ALICE, because="too early", now=now + 10 * SECOND)

    assert weights() == {"gpt-4.1": 9000, "gpt-5": 1000}
