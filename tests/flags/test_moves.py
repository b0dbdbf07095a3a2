"""Before a change is saved: who would move, from where to where."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.core.refusals import Invalid
from apps.flags import audiences, moves, queries, services
from changeover import Snapshot
from tests.flags.make_flags import ALICE, NOW, make_environment, make_flag, make_route
from tests.flags.test_use import see

pytestmark = pytest.mark.django_db
SAID = {"environment": "production", "by": ALICE, "because": "to see", "now": NOW}
ROUTE = SAID | {"key": "invoice-extraction"}
FLAG = "new-parser"
BETA = [{"when": {"attribute": "plan", "operator": "is", "values": ["beta"]}, "variant": "on"}]
OWN = [{"when": {"attribute": "targetingKey", "operator": "starts_with", "values": ["r-1"]}, "variant": "on"}]


def see_subjects(flag: str, count: int) -> None:
    for start in range(0, count, 20):
        at = NOW - timedelta(minutes=start // 20)
        see(flag, "gpt-4.1", at=at, count=20, subjects=[f"r-{number}" for number in range(start, start + 20)])


def test_without_subjects_the_preview_tells_the_lengths():
    make_route()

    told = moves.preview("production", "invoice-extraction", {"flash-lite": 1000, "gpt-4.1": 9000}, now=NOW)

    (move,) = told.moves
    assert (move.before, move.after, move.percent, move.subjects) == ("gpt-4.1", "flash-lite", 10.0, 0)
    assert told.sentence == (
        "No subjects were reported in the last day. Of all there are, in expectation: 10 % from gpt-4.1 to flash-lite."
    )


def test_the_preview_counts_exactly_the_subjects_that_then_move():
    make_route()
    see_subjects("invoice-extraction", 200)
    weights = {"flash-lite": 2500, "gpt-4.1": 7500}

    told = moves.preview("production", "invoice-extraction", weights, now=NOW)

    services.change_weights(**ROUTE, weights=weights)
    after = Snapshot.from_flagd(queries.snapshot("production").body)
    moved = [
        number
        for number in range(200)
        if after.evaluate("invoice-extraction", {"targetingKey": f"r-{number}"}).variant == "flash-lite"
    ]
    assert (told.seen, told.subjects) == (200, len(moved))
    assert 20 < len(moved) < 80
    assert told.sentence.startswith(f"Of 200 subjects seen in the last day {len(moved)} would move: {len(moved)} from")


def test_three_arms_move_from_the_baseline_only():
    make_flag("arms", variants={"a": 1, "b": 2, "c": 3}, default_variant="c")
    services.change_weights(**SAID, key="arms", weights={"a": 1000, "b": 2000, "c": 7000})

    told = moves.preview("production", "arms", {"a": 3000, "b": 2000, "c": 5000}, now=NOW)

    assert [(move.before, move.after, move.percent) for move in told.moves] == [("c", "a", 20.0)]
    assert moves.preview("production", "arms", {"a": 1000, "b": 2000, "c": 7000}, now=NOW).sentence == "Nobody moves."
    with pytest.raises(Invalid, match="add up to 100 %"):
        moves.preview("production", "arms", {"a": 1}, now=NOW)


def test_where_an_attribute_keeps_the_arm_requests_tell_nothing():
    make_route(bucketing_unit="tenant")
    see_subjects("invoice-extraction", 40)

    told = moves.preview("production", "invoice-extraction", {"flash-lite": 1000, "gpt-4.1": 9000}, now=NOW)

    assert (told.seen, told.percent) == (0, 10.0)


def change(fields, **more):
    return moves.preview("production", FLAG, fields=fields, now=NOW, **more)


def test_another_default_moves_whomever_nothing_else_answers():
    make_flag()
    see(FLAG, "off", by="default", subjects=[f"r-{number}" for number in range(20)])

    told = change({"default_variant": "on"})

    assert told.sentence == "Of 20 subjects seen in the last day 20 would move: 20 from off to on."
    assert told.percent == 100.0


def test_another_default_beside_a_split_moves_nobody_whom_the_split_answers():
    make_flag()
    services.change_weights(**SAID, key=FLAG, weights={"on": 2500, "off": 7500})

    assert change({"default_variant": "on"}).sentence == "Nobody moves."


def test_switching_it_off_for_good_moves_everybody_to_the_code():
    make_flag()
    see(FLAG, "off", by="default", subjects=["r-1", "r-2"])

    told = change({"enabled": False})

    assert told.sentence.endswith("2 would move: 2 from off to the default in the code.")


def test_a_rule_on_the_subject_itself_is_counted_exactly():
    make_flag()
    see(FLAG, "off", by="default", subjects=[f"r-{number}" for number in range(20)])

    told = change({"rules": OWN})

    assert (told.subjects, told.asks) == (11, [])  # r-1 and r-10 to r-19
    assert told.sentence == "Of 20 subjects seen in the last day 11 would move: 11 from off to on."


def test_what_a_rule_asks_and_nobody_reports_is_said_with_its_size():
    make_flag(rules=BETA)
    see(FLAG, "off", by="default", count=30, subjects=["r-1", "r-2"])
    see(FLAG, "on", by="rule", count=10, subjects=["r-3"])

    told = change({"rules": []})

    assert told.asks == ["plan"]
    assert told.sentence == (
        "Of 3 subjects seen in the last day nobody moves. The rules ask for plan, which nobody reports with a subject:"
        " counted as missing. In the last day a rule answered 10 of 40 evaluations."
    )


def test_contexts_that_the_caller_gives_are_counted_whole():
    make_flag()
    contexts = [{"targetingKey": f"r-{number}", "plan": "beta" if number < 3 else "free"} for number in range(10)]

    told = change({"rules": BETA}, contexts=contexts)

    assert told.sentence == "Of 10 contexts given 3 would move: 3 from off to on."


def test_without_subjects_a_change_of_rules_does_not_claim_that_nobody_moves():
    make_flag()

    told = change({"rules": OWN})

    assert told.sentence.startswith("No subjects were reported in the last day: whom the changed rules meet cannot")


def test_a_prerequisite_sends_those_who_miss_it_to_the_default():
    make_flag("base", rules=OWN, salt="s")
    make_flag(default_variant="off", rules=[{"variant": "on"}])
    see(FLAG, "on", by="rule", subjects=[f"r-{number}" for number in range(20)])

    told = change({"prerequisites": [{"flag": "base", "variant": "on"}]})

    assert told.sentence == "Of 20 subjects seen in the last day 9 would move: 9 from on to off."


def test_another_audience_is_told_for_each_flag_that_uses_it():
    make_environment()
    key = {"attribute": "targetingKey", "operator": "is_one_of", "values": ["r-1"]}
    audiences.create_audience(environment="production", key="testers", conditions=key, by=ALICE, now=NOW)
    make_flag(rules=[{"when": {"audience": "testers"}, "variant": "on"}])
    see(FLAG, "off", by="default", subjects=["r-1", "r-2", "r-3"])

    (told,) = moves.preview_audience("production", "testers", key | {"values": ["r-1", "r-2"]}, now=NOW)

    assert (told.flag, told.sentence) == (
        FLAG,
        "Of 3 subjects seen in the last day 1 would move: 1 from off to on.",
    )


def test_a_change_that_cannot_stand_is_refused_as_the_save_would():
    make_flag()

    with pytest.raises(Invalid, match="nobody is no variant"):
        change({"default_variant": "nobody"})


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 100), st.sampled_from(["on", "off"]), st.booleans())
def test_what_is_told_is_what_then_happens(share, default, ruled):
    """Any change at all: the count is that of the evaluator before and after the save."""
    from django.db import transaction

    fields = {"default_variant": default, "rules": OWN if ruled else []}
    weights = {"on": share * 100, "off": 10_000 - share * 100}
    subjects = [f"r-{number}" for number in range(20)]
    with transaction.atomic():
        make_flag()
        see(FLAG, "off", by="split", subjects=subjects)
        before = Snapshot.from_flagd(queries.snapshot("production").body)
        told = moves.preview("production", FLAG, weights, fields=fields, now=NOW)
        services.update_flag(**SAID, key=FLAG, weights=weights, **fields)
        after = Snapshot.from_flagd(queries.snapshot("production").body)
        transaction.set_rollback(True)

    moved = [
        subject
        for subject in subjects
        if before.evaluate(FLAG, {"targetingKey": subject}).variant
        != after.evaluate(FLAG, {"targetingKey": subject}).variant
    ]
    assert told.subjects == len(moved)


@pytest.mark.parametrize(("who", "status"), [("bob", 200), ("charlie", 404)])
def test_a_preview_changes_nothing_and_is_a_viewer_s(who, status, client, request):
    make_flag()
    client.force_login(request.getfixturevalue(who))
    before = queries.newest_version("production")
    url = f"/api/v1/flags/{FLAG}/preview/?environment=production"

    answer = client.post(url, {"changes": {"default_variant": "on", "weights": {"on": 100}}}, "application/json")

    assert answer.status_code == status
    assert queries.newest_version("production") == before
    assert status == 404 or answer.json()["moves"][0]["after"] == "on"
