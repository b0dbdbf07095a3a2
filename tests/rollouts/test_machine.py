"""What should happen to a rollout now: the order of the answers is the product's promise."""

from datetime import timedelta

import pytest

from apps.rollouts.domain import machine, stages
from tests.rollouts.make_rollouts import NOW, pressure, progress, verdict, within

THIN = {"state": "inconclusive", "why": "thin"}


def decide(at=None, verdicts=(), pressures=(), now=NOW):
    return machine.decide(at or progress(), list(verdicts), list(pressures), now)


def test_a_stage_with_everything_it_needs_leads_to_the_next():
    decision = decide(verdicts=[within()])

    assert (decision.kind, decision.stage, decision.share) == ("advance", 1, 2500)


def test_harm_rolls_back_whatever_else_is_true():
    paused = progress(paused=True, stage_began_at=NOW, samples=0)

    decision = decide(paused, [within(), verdict(**THIN), verdict()], [pressure()])

    assert (decision.kind, decision.share, decision.shadow) == ("roll_back", 0, 0)
    assert [v.state for v in decision.because] == ["exceeded"]


def test_pausing_stops_advancing_and_nothing_else():
    assert decide(progress(paused=True), [within()]).code == "paused"
    assert decide(progress(paused=True), [verdict()]).kind == "roll_back"


def test_waiting_for_an_approval_does_not_suspend_protection():
    waiting = progress(stage=1, share=2500)

    assert decide(waiting, [within()]).code == "approval"
    assert decide(waiting, [verdict()]).kind == "roll_back"


def test_a_shadow_is_rolled_back_too():
    plan = stages.read([{"shadow": 20, "min_seconds": 0}, {"share": 100}])
    shadow = progress(stages=plan, stage=0, share=0, shadow=2000)

    assert decide(shadow, [verdict()]).kind == "roll_back"


@pytest.mark.parametrize(
    ("at", "verdicts", "code"),
    [
        ({}, [verdict(state="warning", evidence=61.0)], "warning"),
        ({}, [verdict(**THIN)], "inconclusive"),
        ({}, [verdict(state="warning"), verdict(**THIN)], "warning"),
        ({"samples": 199}, [within()], "samples"),
        ({"stage_began_at": NOW - timedelta(seconds=599)}, [within()], "baking"),
        ({"stage": 1, "share": 2500}, [within()], "approval"),
        ({"switch": "fallback"}, [within()], "switched"),
        ({"paused": True}, [within()], "paused"),
        ({}, [verdict(on_breach="hold", why="both_arms")], "incident"),
        ({}, [verdict(on_breach="hold")], "exceeded"),
        ({}, [verdict(on_breach="alert")], "exceeded"),
    ],
)
def test_it_holds_when(at, verdicts, code):
    decision = decide(progress(**at), verdicts)

    assert (decision.kind, decision.code) == ("hold", code)
    assert decision.share == progress(**at).share


def test_no_traffic_is_never_healthy():
    idle = progress(samples=0, stage_began_at=NOW - timedelta(hours=20))

    assert decide(idle, [verdict(state="inconclusive", why="thin", n=0)]).kind == "hold"


def test_a_stage_that_cannot_be_judged_for_a_day_asks_for_a_person():
    stuck = progress(stage_began_at=NOW - timedelta(hours=24, seconds=601))

    decision = decide(stuck, [verdict(**THIN)])

    assert (decision.kind, decision.code, decision.share) == ("pause", "never_judged", 1000)


def test_the_proof_that_a_stage_lists_is_asked_for():
    plan = stages.read([{"share": 10, "safe": ["latency_p95"]}, {"share": 100}])

    unproven = decide(progress(stages=plan), [within()])
    proven = decide(progress(stages=plan), [within(proof="safe")])

    assert (unproven.code, unproven.missing) == ("unproven", ("latency_p95",))
    assert proven.kind == "advance"


def test_a_metric_that_nobody_judges_is_not_proven():
    plan = stages.read([{"share": 10, "safe": ["error_rate"]}, {"share": 100}])

    assert decide(progress(stages=plan), [within(proof="safe")]).code == "unproven"


def test_the_last_stage_at_the_whole_finishes():
    decision = decide(progress(stage=3, share=10_000), [within()])

    assert (decision.kind, decision.share) == ("finish", 10_000)


def test_a_plan_that_ends_below_the_whole_never_gives_the_rest():
    plan = stages.read([{"shadow": 20, "min_seconds": 0}])

    assert decide(progress(stages=plan, share=0, shadow=2000), [within()]).code == "plan_ends"


def test_an_approved_stage_is_entered():
    assert decide(progress(stage=1, share=2500, approved=2), [within()]).kind == "advance"


def test_an_approval_of_another_stage_does_not_count():
    assert decide(progress(stage=1, share=2500, approved=1), [within()]).code == "approval"


def test_a_first_stage_with_approval_waits_before_any_traffic():
    plan = stages.read([{"share": 10, "approval": True}, {"share": 100}])
    waiting = progress(stages=plan, stage=None, share=0)

    assert decide(waiting, [verdict(**THIN)]).code == "approval"
    assert machine.decide(progress(stages=plan, stage=None, share=0, approved=0), [], [], NOW).share == 1000


@pytest.mark.parametrize(
    ("do", "kind", "share"),
    [
        ("fall_back", "fall_back", 0),
        ("block", "block", 0),
        ("roll_back", "roll_back", 0),
        ("pause", "pause", 2500),
        ("step_back", "step_back", 1000),
        ("cap_share", "cap_share", 500),
        ("hold", "hold", 2500),
    ],
)
def test_a_crossed_budget_asks_for(do, kind, share):
    cap = 500 if do == "cap_share" else None
    decision = decide(progress(stage=1, share=2500), [within()], [pressure(do=do, share=cap)])

    assert (decision.kind, decision.share) == (kind, share)


def test_a_cap_that_is_kept_already_is_a_hold():
    decision = decide(progress(stage=1, share=400), [], [pressure(do="cap_share", share=500)])

    assert (decision.kind, decision.code, decision.share) == ("hold", "money", 400)


def test_a_route_on_its_fallback_can_still_be_blocked():
    on_fallback = progress(stage=1, share=0, switch="fallback", paused=True)

    assert decide(on_fallback, [], [pressure(do="block")]).kind == "block"
    assert decide(progress(stage=1, share=0, switch="off"), [], [pressure(do="block")]).kind == "hold"


def test_a_crossing_acts_once_and_then_holds():
    crossed = pressure(do="step_back")
    before = progress(stage=1, share=2500)
    first = decide(before, [within()], [crossed])

    after = machine.after(before, first, NOW)
    second = decide(after, [within()], [crossed], NOW + timedelta(minutes=30))

    assert first.kind == "step_back"
    assert (second.kind, second.code, second.share) == ("hold", "money", 1000)


def test_a_fallback_that_is_not_cheaper_is_a_hold_that_says_so():
    decision = decide(pressures=[pressure(refused="no cheaper fallback")])

    assert (decision.kind, decision.code) == ("hold", "money")


def test_stepping_back_from_the_first_stage_is_rolling_back():
    assert decide(verdicts=[verdict(on_breach="step_back")]).kind == "roll_back"


def test_a_guardrail_that_asks_for_the_fallback_gets_it():
    assert decide(verdicts=[verdict(on_breach="fall_back")]).kind == "fall_back"
    assert decide(verdicts=[verdict(on_breach="fall_back"), verdict()]).kind == "roll_back"


def test_stopping_the_shadow_leaves_the_rest():
    plan = stages.read([{"shadow": 20, "min_seconds": 0}, {"share": 100}])
    shadow = progress(stages=plan, share=0, shadow=2000)

    decision = decide(shadow, [within()], [pressure(do="stop_shadow")])

    assert (decision.kind, decision.shadow, decision.stage) == ("stop_shadow", 0, 0)


def test_equal_holds_have_one_reason_and_others_another():
    thin, other = verdict(**THIN), verdict(**THIN, guardrail="g-errors")

    assert decide(verdicts=[thin]).reason == decide(verdicts=[verdict(**THIN, n=500)]).reason
    assert decide(verdicts=[thin]).reason != decide(verdicts=[thin, other]).reason


def test_a_move_starts_the_stage_anew():
    moved = machine.after(progress(approved=1), decide(verdicts=[within()]), NOW)

    assert (moved.stage, moved.share, moved.samples, moved.stage_began_at, moved.approved) == (1, 2500, 0, NOW, None)
