import pytest

from apps.core.refusals import Invalid, NotFound, Stale
from apps.flags import keeping, queries, services, versions
from apps.flags.models import FlagVersion
from apps.flags.refusals import RevertWouldMove
from tests.flags.make_flags import ALICE, NOW, VARIANTS, make_flag, make_route
from tests.flags.test_services import last_entry, served

pytestmark = pytest.mark.django_db
SAID = {"environment": "production", "by": ALICE, "because": "to see", "now": NOW}
FLAG = SAID | {"key": "new-parser"}
ROUTE = SAID | {"key": "invoice-extraction"}
RULES = [{"name": "Testers", "when": {"attribute": "plan", "operator": "is", "values": ["beta"]}, "variant": "on"}]


def test_every_change_is_a_version_of_the_whole_flag():
    make_flag()
    services.update_flag(**FLAG, rules=RULES)
    services.switch_off(**FLAG)

    found = versions.versions("production", "new-parser")

    assert [(one.revision, one.version, one.kind, one.by) for one in found] == [
        (3, 3, "flag.switched_off", "alice"),
        (2, 2, "flag.changed", "alice"),
        (1, 1, "flag.created", "alice"),
    ]
    assert found[1].fields["rules"][0]["name"] == "Testers"
    assert found[0].fields["switch"] == "off"
    assert FlagVersion.objects.count() == 3


def test_two_versions_are_compared_field_by_field():
    make_route()
    services.change_weights(**ROUTE, weights={"flash-lite": 1000, "gpt-4.1": 9000})
    services.update_route(**ROUTE, owner="ledger")

    told = versions.compare("production", "invoice-extraction", 1, 3)

    assert told.changes == {
        "weights": {"was": {"gpt-4.1": 100.0}, "is": {"flash-lite": 10.0, "gpt-4.1": 90.0}},
        "owner": {"was": "payments", "is": "ledger"},
    }


def test_a_revert_is_a_new_version_with_the_old_fields():
    make_flag(description="first")
    services.update_flag(**FLAG, description="second", default_variant="on", rules=RULES)

    published = versions.revert(**FLAG, revision=1)

    flag = queries.flag("production", "new-parser")
    assert (flag.description, flag.default_variant, flag.rules, flag.revision) == ("first", "off", [], 3)
    assert published.version == 3
    assert "targeting" not in served("new-parser")
    assert last_entry().kind == "flag.reverted"


def test_only_the_named_fields_are_reverted():
    make_flag(description="first")
    services.update_flag(**FLAG, description="second", default_variant="on")

    versions.revert(**FLAG, revision=1, only=["description"])

    flag = queries.flag("production", "new-parser")
    assert (flag.description, flag.default_variant) == ("first", "on")
    with pytest.raises(Invalid, match="never reverted"):
        versions.revert(**FLAG, revision=1, only=["segments"])


def test_a_revert_never_touches_weights_switches_and_holds():
    make_route(fallback_variant="flash-lite")
    services.update_route(**ROUTE, owner="ledger")
    services.change_weights(**ROUTE, weights={"flash-lite": 1000, "gpt-4.1": 9000})
    services.switch_to_fallback(**ROUTE)

    versions.revert(**ROUTE, revision=1)

    route = queries.route("production", "invoice-extraction")
    assert (route.owner, route.weights["flash-lite"], route.switch) == ("payments", 1000, "fallback")


def test_a_revert_conflicts_while_a_rollout_holds_the_flag():
    make_route()
    services.update_route(**ROUTE, variants=VARIANTS | {"other": {"model": "x/y"}})
    services.take_hold(**ROUTE, holder="rollout 7", trial="7")

    with pytest.raises(services.FlagIsHeld):
        versions.revert(**ROUTE, revision=1)


def test_a_revert_never_carries_the_old_default_back_in_after_a_rollout():
    make_route()
    services.take_hold(**ROUTE, holder="rollout 7", trial="7")
    services.settle_on(**ROUTE, variant="flash-lite", holder="rollout 7")
    services.release_hold(**ROUTE, holder="rollout 7")
    services.update_route(**ROUTE, runbook="call us")

    with pytest.raises(RevertWouldMove, match="was moved by rollout 7 since revision 1"):
        versions.revert(**ROUTE, revision=1)

    versions.revert(**ROUTE, revision=1, only=["runbook"])
    assert queries.route("production", "invoice-extraction").default_variant == "flash-lite"


def test_a_revert_that_would_remove_a_variant_in_use_is_refused():
    make_route()
    more = VARIANTS | {"other": {"model": "x/y"}}
    services.update_route(**ROUTE, variants=more)
    services.change_weights(**ROUTE, weights={"other": 100, "gpt-4.1": 9900})

    with pytest.raises(services.VariantIsUsed, match="other of invoice-extraction is still getting traffic"):
        versions.revert(**ROUTE, revision=1)


def test_a_revert_to_what_already_stands_publishes_nothing():
    make_flag()
    services.switch_off(**FLAG)

    assert versions.revert(**FLAG, revision=1).version == 2
    with pytest.raises(NotFound, match="revision of new-parser 9"):
        versions.revert(**FLAG, revision=9)


def test_a_stale_revert_is_told_what_changed():
    make_flag()
    services.update_flag(**FLAG, description="x")

    with pytest.raises(Stale) as refused:
        versions.revert(**FLAG, revision=1, expected=1)

    assert refused.value.changes == {"description": {"was": "", "is": "x"}}


def test_the_versions_of_a_deleted_flag_are_still_there():
    make_flag()
    keeping.archive_flag(**FLAG)
    keeping.delete_flag(**FLAG)

    assert [one.kind for one in versions.versions("production", "new-parser")] == ["flag.archived", "flag.created"]
    make_flag()
    assert [one.kind for one in versions.versions("production", "new-parser")] == ["flag.created"]
