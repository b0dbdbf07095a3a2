from datetime import timedelta

import pytest

from apps.rollouts.domain import latch, plan, split, watching, words
from apps.rollouts.domain.states import State, word
from apps.telemetry.domain.histogram import Histogram
from tests.rollouts.make_rollouts import NOW

HOUR = timedelta(hours=1)


def steps(**changes):
    asked = {"candidate": "GPT-5", "target": "GPT-4.1", "to_fallback": False, "had_shadow": True} | changes
    return plan.plan_rollback(**asked, options=plan.Options())


def test_the_way_back_in_order():
    assert [step.kind for step in steps()] == [
        "freeze_ramp", "set_candidate_to_0", "tell", "confirm_at_clients", "watch_baseline", "stop_shadow",
    ]  # fmt: skip


def test_what_stops_the_harm_waits_for_nobody():
    assert [step.kind for step in steps() if step.is_inline] == ["freeze_ramp", "set_candidate_to_0"]
    assert [step.kind for step in steps() if not step.is_inline and not step.calls_out] == ["stop_shadow"]


def test_an_unhealthy_baseline_is_no_target():
    assert steps(to_fallback=True, target="Flash-Lite")[1].kind == "switch_to_fallback"


def test_each_target_is_priced_as_if_it_answered_everything():
    targets = [("baseline", "gpt-4.1"), ("candidate", "flash-lite"), ("fallback", "gpt-5")]
    measured = {"gpt-4.1": (900, 16_560_000_000), "flash-lite": (100, 95_000_000)}

    rows = plan.costs_per_hour(targets, measured, 1000)

    assert [row.nano_per_hour for row in rows] == [18_400_000_000, 950_000_000, None]
    assert plan.is_cheaper(rows, "candidate", "baseline") is True
    assert plan.is_cheaper(rows, "fallback", "baseline") is None


def test_clients_are_there_or_behind():
    assert plan.confirmed([("a", 43), ("b", 44), ("c", 42), ("d", None)], 43) == (["a", "b"], ["c", "d"])


# --- the split


def test_a_stage_owns_the_split():
    assert split.with_share("old", "new", 2500) == {"old": 7500, "new": 2500}


@pytest.mark.parametrize(
    ("weights", "after"),
    [
        ({"old": 7500, "new": 2500}, {"old": 10_000, "new": 0}),
        ({"old": 2000, "new": 5000, "third": 3000}, {"old": 7000, "new": 0, "third": 3000}),
        ({"new": 10_000}, {"old": 10_000, "new": 0}),
    ],
)
def test_the_candidate_goes_to_0_whatever_the_weights_are(weights, after):
    assert split.without(weights, "new", "old") == after


# --- the latch


def test_each_rollback_of_one_revision_cools_longer_and_is_judged_stricter():
    first = latch.latch([NOW])
    second = latch.latch([NOW, NOW + 2 * HOUR])
    third = latch.latch([NOW, NOW + 2 * HOUR, NOW + 8 * HOUR])

    assert (first.free_at, first.alpha) == (NOW + HOUR, 0.001)
    assert (second.free_at, second.alpha) == (NOW + 6 * HOUR, 0.0005)
    assert (first.is_final, second.is_final, third.is_final) == (False, False, True)


def test_what_was_never_rolled_back_is_free():
    assert latch.latch([]).is_cooling(NOW) is False
    assert latch.latch([]).alpha == 0.002


def test_a_revision_is_what_the_variant_says():
    assert latch.revision_of({"a": 1, "b": 2}) == latch.revision_of({"b": 2, "a": 1})
    assert latch.revision_of({"a": 1}) != latch.revision_of({"a": 2})


# --- who answers after it


def arm(n, seconds=0.4, errors=0):
    return watching.Arm(Histogram.of([seconds] * (n - errors)), n, errors)


def test_an_equal_baseline_is_not_rising():
    seen = watching.compare(arm(500, errors=5), arm(100, errors=1))

    assert (seen.can_tell, seen.is_rising) == (True, False)
    assert seen.words == "p95 0.394 s, errors 1.00 %, not rising"


@pytest.mark.parametrize("after", [arm(100, errors=30), arm(100, seconds=0.9)])
def test_one_that_breaks_or_slows_is_rising(after):
    assert watching.compare(arm(500, errors=5), after).is_rising is True


def test_few_requests_tell_nothing():
    assert watching.compare(arm(500), arm(19)).can_tell is False


# --- words of a route's state


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({}, State.STEADY),
        ({"switch": "fallback", "rollout": "paused"}, State.ON_FALLBACK),
        ({"rollout": "running", "hold": "baking"}, State.RAMPING),
        ({"rollout": "running", "hold": "warning"}, State.HOLDING),
        ({"rollout": "running", "hold": "approval"}, State.NEEDS_APPROVAL),
        ({"rollout": "running", "hold": "stale"}, State.UNPROTECTED),
        ({"rollout": "running", "is_protected": False}, State.UNPROTECTED),
        ({"rollout": "paused"}, State.PAUSED),
        ({"rollout": "rolled_back", "ended_at": NOW - HOUR}, State.ROLLED_BACK),
        ({"rollout": "rolled_back", "ended_at": NOW - 25 * HOUR}, State.STEADY),
        ({"rollout": "finished", "ended_at": NOW}, State.STEADY),
    ],
)
def test_the_word_for_a_state(facts, state):
    plain = {
        "switch": "", "rollout": "", "has_traffic": True, "is_protected": True, "hold": "", "asks": False,
        "ended_at": None, "now": NOW,
    }  # fmt: skip

    assert word(**plain | facts) is state


def test_the_worst_state_ranks_first():
    assert sorted(State, key=lambda state: state.rank)[0] is State.UNPROTECTED


@pytest.mark.parametrize(
    ("span", "text"),
    [(45, "45 s"), (370, "6 min 10 s"), (22_200, "6 h 10 min"), (14 * 86_400, "14 d"), (0, "0 s")],
)
def test_spans_show_two_units(span, text):
    assert words.span(timedelta(seconds=span)) == text


def test_names_are_listed():
    assert words.listed(["a"]) == "a"
    assert words.listed(["a", "b", "c"]) == "a, b and c"
    assert words.listed(list("abcdefg")) == "a, b, c and 4 more"


def test_the_present_split_costs_what_its_variants_cost_at_this_load():
    measured = {"big": (100, 2_000_000), "small": (50, 50_000)}

    now = plan.cost_of_split({"big": 2_500, "small": 7_500}, measured, 1_000)

    assert now.nano_per_hour == 1_000 * (0.25 * 20_000 + 0.75 * 1_000)


@pytest.mark.parametrize("shares", [{}, {"big": 5_000, "unmeasured": 5_000}])
def test_a_split_with_an_unmeasured_part_has_no_price(shares):
    assert plan.cost_of_split(shares, {"big": (100, 2_000_000)}, 1_000).nano_per_hour is None
