"""A flag decides only for those who get a named variant of each flag that it requires."""

import pytest

from apps.core.refusals import Invalid
from apps.flags import keeping, queries, services
from apps.flags.refusals import FlagIsRequired
from changeover import Snapshot
from tests.flags.make_flags import ALICE, NOW, make_flag, make_route
from tests.flags.test_services import served

pytestmark = pytest.mark.django_db
SAID = {"environment": "production", "by": ALICE, "because": "to see", "now": NOW}
BETA = [{"when": {"attribute": "plan", "operator": "is", "values": ["beta"]}, "variant": "on"}]
NEEDS_PARSER = [{"flag": "new-parser", "variant": "on"}]


def value(key: str, **context):
    return Snapshot.from_flagd(queries.snapshot("production").body).evaluate(key, {"targetingKey": "u", **context})


def test_a_flag_answers_only_for_those_who_meet_its_prerequisite():
    make_flag(rules=BETA)
    make_flag("new-editor", default_variant="off", rules=[{"variant": "on"}], prerequisites=NEEDS_PARSER)

    assert value("new-editor", plan="beta").value is True
    assert value("new-editor", plan="free").value is False


def test_flagds_own_evaluator_means_the_same():
    core = pytest.importorskip("openfeature.contrib.tools.flagd.core")
    make_flag(rules=BETA)
    make_flag("new-editor", rules=[{"variant": "on"}], prerequisites=NEEDS_PARSER)
    evaluator = core.FlagdCore()
    evaluator.set_flags(queries.snapshot("production").body.decode())
    from openfeature.evaluation_context import EvaluationContext

    def told(plan: str) -> bool:
        return evaluator.resolve_boolean_value("new-editor", False, EvaluationContext("u", {"plan": plan})).value

    assert (told("beta"), told("free")) == (True, False)


def test_a_change_of_the_required_flag_changes_the_others_in_the_same_version():
    make_flag(rules=BETA)
    make_flag("new-editor", rules=[{"variant": "on"}], prerequisites=NEEDS_PARSER)
    make_flag("new-menu", rules=[{"variant": "on"}], prerequisites=[{"flag": "new-editor", "variant": "on"}])

    published = services.switch_off(**SAID, key="new-parser")

    assert value("new-editor", plan="beta").value is False
    assert value("new-menu", plan="beta").value is False
    assert queries.flag("production", "new-menu").since_version == published.version
    from apps.flags.models import Snapshot as Stored

    newest = Stored.objects.order_by("-version").first()
    assert newest.changed_keys == ["new-editor", "new-menu", "new-parser"]
    services.restore(**SAID, key="new-parser")
    assert value("new-menu", plan="beta").value is True


def test_a_constant_requirement_needs_no_rule():
    make_flag(default_variant="on")
    make_flag("new-editor", rules=BETA, prerequisites=NEEDS_PARSER)

    assert served("new-editor")["targeting"] == {"if": [{"===": [{"var": "plan"}, "beta"]}, "on"]}


def test_circles_are_refused_with_the_way_round():
    make_flag()
    make_flag("b", prerequisites=NEEDS_PARSER)
    make_flag("c", prerequisites=[{"flag": "b", "variant": "on"}])

    with pytest.raises(Invalid, match="new-parser requires c requires b requires new-parser"):
        services.update_flag(**SAID, key="new-parser", prerequisites=[{"flag": "c", "variant": "on"}])
    with pytest.raises(Invalid, match="cannot require itself"):
        services.update_flag(**SAID, key="new-parser", prerequisites=NEEDS_PARSER)


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ([{"flag": "nobody", "variant": "on"}], "There is no flag nobody"),
        ([{"flag": "new-parser", "variant": "maybe"}], "maybe is no variant of new-parser"),
        ([{"flag": "new-parser"}], "names a flag and its variant"),
        (NEEDS_PARSER * 2, "required twice"),
        ("new-parser", "are a list"),
    ],
)
def test_what_no_prerequisite_may_be_is_refused(wanted, sentence):
    make_flag()

    with pytest.raises(Invalid, match=sentence):
        make_flag("new-editor", prerequisites=wanted)


def test_a_required_flag_is_not_split_by_its_own_key():
    make_flag()
    make_flag("new-editor", rules=BETA, prerequisites=NEEDS_PARSER)

    with pytest.raises(Invalid, match="splits by its own key"):
        services.change_weights(**SAID, key="new-parser", weights={"on": 1000, "off": 9000})

    services.update_flag(**SAID, key="new-editor", prerequisites=[])
    services.change_weights(**SAID, key="new-parser", weights={"on": 1000, "off": 9000})
    with pytest.raises(Invalid, match="splits by its own key"):
        services.update_flag(**SAID, key="new-editor", prerequisites=NEEDS_PARSER)


def test_a_split_by_a_salt_of_its_own_means_the_same_everywhere():
    make_flag(salt="parser-2026")
    services.change_weights(**SAID, key="new-parser", weights={"on": 5000, "off": 5000})
    make_flag("new-editor", rules=[{"variant": "on"}], prerequisites=NEEDS_PARSER)
    compiled = Snapshot.from_flagd(queries.snapshot("production").body)

    for number in range(200):
        context = {"targetingKey": f"u-{number}"}
        assert compiled.evaluate("new-editor", context).value == compiled.evaluate("new-parser", context).value


def test_a_rollout_on_a_required_flag_is_refused_before_it_begins():
    make_route()
    make_flag(prerequisites=[{"flag": "invoice-extraction", "variant": "gpt-4.1"}])

    with pytest.raises(FlagIsRequired, match="invoice-extraction is a prerequisite of new-parser"):
        services.take_hold(**SAID, key="invoice-extraction", holder="rollout 7", trial="7")


def test_a_required_flag_and_its_variant_stay():
    make_flag()
    make_flag("new-editor", prerequisites=NEEDS_PARSER)

    with pytest.raises(FlagIsRequired):
        keeping.archive_flag(**SAID, key="new-parser")
    with pytest.raises(services.VariantIsUsed, match="required by new-editor"):
        services.update_flag(**SAID, key="new-parser", variants={"off": False})


def test_a_route_with_prerequisites_cannot_tell_rule_from_split():
    make_flag(rules=BETA)
    make_route(prerequisites=NEEDS_PARSER)

    assert [split.kind for split in queries.splits("production")] == ["rules"]


def test_the_required_flags_rule_is_written_out():
    make_flag(rules=BETA)
    make_flag("new-editor", rules=[{"variant": "on"}], prerequisites=NEEDS_PARSER)

    parser = {"if": [{"===": [{"var": "plan"}, "beta"]}, "on"]}
    assert served("new-editor")["targeting"] == {"if": [{"!": [{"===": [parser, "on"]}]}, None, {"if": [True, "on"]}]}
