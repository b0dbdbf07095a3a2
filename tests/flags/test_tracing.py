"""What the tester says must be what services get."""

import pytest

from apps.core.refusals import Invalid
from apps.flags import queries, services, tracing
from changeover import Snapshot
from tests.flags.make_flags import ALICE, NOW, make_flag, make_route

pytestmark = pytest.mark.django_db
E = "production"
ROUTE = "invoice-extraction"


def trace(key, version=None, **context):
    return tracing.trace(E, key, context, now=NOW, version=version)


def answer(subject):
    """As a service evaluates the newest snapshot."""
    newest = Snapshot.from_flagd(queries.snapshot(E).body)
    return newest.evaluate("new-parser", {"targetingKey": subject}).variant


def weigh(key, **weights):
    services.change_weights(environment=E, key=key, weights=weights, by=ALICE, because="test", now=NOW)


@pytest.mark.parametrize("bucketing", ["v1", "v2", "v3"])
@pytest.mark.parametrize("share", [0, 1000, 8000])
def test_a_subject_joins_at_exactly_the_share_that_is_told(bucketing, share):
    make_flag("new-parser", bucketing=bucketing, salt="pinned")
    weigh("new-parser", on=share or 100, off=10_000 - (share or 100))

    for number in range(25):
        subject = f"user-{number}"
        (join,) = trace("new-parser", targetingKey=subject).ruler.joins
        weigh("new-parser", on=join.share, off=10_000 - join.share)
        has_it = answer(subject)
        weigh("new-parser", on=join.share - 1, off=10_001 - join.share)
        misses_it = answer(subject)
        assert (has_it, misses_it) == ("on", "off"), subject


def test_a_sticky_unit_is_the_one_that_is_hashed():
    make_route(ROUTE, bucketing_unit="tenant")
    weigh(ROUTE, **{"gpt-4.1": 5000, "flash-lite": 5000})

    with_it, without = trace(ROUTE, targetingKey="r-1", tenant="acme"), trace(ROUTE, targetingKey="r-1")

    ruler = with_it.ruler
    on_ruler = ruler.split[0][0] if ruler.point < ruler.split[0][1] else ruler.split[1][0]
    assert (ruler.unit, ruler.subject, on_ruler) == ("tenant", "acme", with_it.answer.variant)
    assert without.ruler is None
    assert "tenant is missing" in without.no_ruler
    assert without.steps[0].passed is False


def test_steps_stop_at_the_first_that_holds():
    rules = [
        {"name": "Old", "when": {"attribute": "age", "operator": "at_least", "values": [65]}, "variant": "on"},
        {"name": "Pro", "when": {"all": [{"attribute": "plan", "operator": "is", "values": ["pro"]}]}, "variant": "on"},
        {"name": "All", "when": {"all": []}, "variant": "off"},
    ]  # fmt: skip
    make_flag("new-parser", rules=rules)

    found = trace("new-parser", plan="pro")

    assert [(step.name, step.passed) for step in found.steps] == [("Old", False), ("Pro", True), ("All", None)]
    assert found.steps[0].missing == ("age",)
    assert found.answer.variant == "on"


def test_prerequisites_are_a_step_of_their_own():
    make_flag("base", default_variant="on")
    make_flag(
        "new-parser",
        prerequisites=[{"flag": "base", "variant": "off"}],
        rules=[{"name": "All", "when": {"all": []}, "variant": "on"}],
    )

    found = trace("new-parser", targetingKey="x")

    assert found.answer.variant == "off"


def test_an_expert_s_rule_is_told_in_words_where_it_can_be_read():
    logic = {"if": [{"===": [{"var": "plan"}, "pro"]}, "on", {"in": ["a", {"var": "tags"}]}, "on"]}
    make_flag("new-parser", targeting=logic)

    words = [step.words for step in trace("new-parser", plan="free").steps]

    assert words == ["plan is pro", "tags contains a"]


def test_what_was_switched_off_has_no_steps():
    make_flag("new-parser")
    services.switch_off(environment=E, key="new-parser", by=ALICE, because="test", now=NOW)

    found = trace("new-parser", targetingKey="x")

    assert (found.steps, found.ruler) == ((), None)
    assert "switched off" in found.why
    assert trace("new-parser", version=1, targetingKey="x").answer.variant == "off"
    assert trace("gone") is None


def test_two_snapshots_count_contexts_once_whatever_flags_they_move():
    for key in ("one", "other"):
        make_flag(key)
    before = queries.newest_version(E)[0]
    for key in ("one", "other"):
        services.settle_on(environment=E, key=key, variant="on", by=ALICE, because="test", now=NOW)
    contexts = [{"targetingKey": f"u-{number}"} for number in range(10)]

    found = tracing.compare(E, contexts, before=before, after=before + 2, now=NOW)

    assert (found.changed, found.contexts) == (10, 10)
    assert [(row.flag, row.before, row.after, row.count) for row in found.moved] == [
        ("one", "off", "on", 10),
        ("other", "off", "on", 10),
    ]


def test_too_many_answers_at_once_are_refused():
    make_flag("one")
    with pytest.raises(Invalid):
        tracing.compare(E, [{}] * (tracing.MOST_ANSWERS + 1), before=1, after=1, now=NOW)
