"""Flags that leave: archived, brought back, renamed, deleted."""

import pytest

from apps.core.refusals import AlreadyThere, NotFound
from apps.flags import importing, keeping, queries, services
from apps.flags.models import Flag, Snapshot
from apps.flags.refusals import CannotBeRenamed, FlagIsArchived, NotArchived
from changeover import Snapshot as Compiled
from tests.flags.make_flags import ALICE, NOW, make_flag, make_route
from tests.flags.test_services import last_entry

pytestmark = pytest.mark.django_db
SAID = {"environment": "production", "by": ALICE, "because": "to see", "now": NOW}
FLAG = SAID | {"key": "new-parser"}


def answers(key: str) -> list[str | None]:
    compiled = Compiled.from_flagd(queries.snapshot("production").body)
    return [compiled.evaluate(key, {"targetingKey": f"u-{number}"}).variant for number in range(300)]


def test_an_archived_flag_is_no_longer_served_and_a_new_version_says_so():
    make_flag()

    published = keeping.archive_flag(**FLAG)

    assert b"new-parser" not in queries.snapshot("production").body
    assert Snapshot.objects.get(version=published.version).changed_keys == ["new-parser"]
    with pytest.raises(FlagIsArchived):
        services.update_flag(**FLAG, description="x")
    assert last_entry().kind == "flag.archived"


def test_it_comes_back_as_it_was():
    make_flag(rules=[{"when": {"attribute": "a", "operator": "is_set"}, "variant": "on"}])
    before = queries.snapshot("production").body.split(b'"metadata":{"flagSetId"')[0]
    keeping.archive_flag(**FLAG)

    keeping.unarchive_flag(**FLAG)

    assert queries.snapshot("production").body.split(b'"metadata":{"flagSetId"')[0] == before


def test_an_imported_rule_that_we_would_not_save_comes_back_as_it_was():
    odd = {"flags": {"odd": {"state": "ENABLED", "variants": {"a": 1}, "targeting": {"nand": [1, 2]}}}}
    make_flag()
    importing.import_definition(environment="production", document=odd, bucketing="v2", by=ALICE, because="", now=NOW)
    keeping.archive_flag(**SAID, key="odd")

    keeping.unarchive_flag(**SAID, key="odd")

    assert queries.flag("production", "odd").targeting == {"nand": [1, 2]}


def test_only_what_is_archived_is_deleted_and_nothing_is_published_for_it():
    make_flag()

    with pytest.raises(NotArchived):
        keeping.delete_flag(**FLAG)
    version = keeping.archive_flag(**FLAG).version
    keeping.delete_flag(**FLAG)

    assert not Flag.objects.exists()
    assert queries.snapshot("production").version == version
    entry = last_entry()
    assert (entry.kind, entry.before["default_variant"]) == ("flag.deleted", "off")
    with pytest.raises(NotFound):
        queries.flag("production", "new-parser")


def test_an_archived_route_is_no_route_to_watch():
    make_route()
    keeping.archive_flag(**SAID, key="invoice-extraction")

    assert queries.routes("production") == []
    assert queries.route("production", "invoice-extraction").archived_at == NOW


def test_a_held_flag_is_not_archived():
    make_route()
    services.take_hold(**SAID, key="invoice-extraction", holder="rollout 7", trial="7")

    with pytest.raises(services.FlagIsHeld):
        keeping.archive_flag(**SAID, key="invoice-extraction")


@pytest.mark.parametrize("bucketing", ["v1", "v2"])
def test_a_renamed_flag_keeps_its_salt_and_everybody_where_they_were(bucketing):
    make_flag(bucketing=bucketing)
    services.change_weights(**FLAG, weights={"on": 3000, "off": 7000})
    before = answers("new-parser")

    published = keeping.rename_flag(**FLAG, to="parser-2")

    assert answers("parser-2") == before
    assert len(set(before)) == 2
    flag = queries.flag("production", "parser-2")
    assert flag.salt == "new-parser"
    assert Snapshot.objects.get(version=published.version).changed_keys == ["new-parser", "parser-2"]
    with pytest.raises(NotFound):
        queries.flag("production", "new-parser")


def test_a_salted_flag_of_v3_is_renamed_and_stays_split_as_it_was():
    rules = [{"split": {"on": 40, "off": 60}}]
    make_flag(salt="s", rules=rules)
    before = answers("new-parser")

    keeping.rename_flag(**FLAG, to="parser-2")

    assert answers("parser-2") == before


def test_a_rename_that_would_move_somebody_is_refused():
    make_flag()
    services.change_weights(**FLAG, weights={"on": 3000, "off": 7000})
    make_flag("by-rule", rules=[{"split": {"on": 40, "off": 60}}])
    make_route()

    with pytest.raises(CannotBeRenamed, match="v3 hashes it"):
        keeping.rename_flag(**FLAG, to="parser-2")
    with pytest.raises(CannotBeRenamed, match="v3 hashes it"):
        keeping.rename_flag(**SAID, key="by-rule", to="parser-2")
    with pytest.raises(CannotBeRenamed, match="calls, spend and rollouts"):
        keeping.rename_flag(**SAID, key="invoice-extraction", to="parser-2")
    with pytest.raises(AlreadyThere):
        keeping.rename_flag(**FLAG, to="by-rule")


def test_the_kill_switch_and_the_fallback_win_over_rules_prerequisites_and_split():
    make_flag()
    make_route(
        fallback_variant="flash-lite",
        rules=[{"variant": "gpt-4.1"}],
        prerequisites=[{"flag": "new-parser", "variant": "off"}],
    )
    route = SAID | {"key": "invoice-extraction"}
    services.change_weights(**route, weights={"gpt-4.1": 9000, "flash-lite": 1000})
    assert set(answers("invoice-extraction")) == {"gpt-4.1"}

    services.switch_to_fallback(**route)
    assert set(answers("invoice-extraction")) == {"flash-lite"}
    services.switch_off(**route)
    assert set(answers("invoice-extraction")) == {None}
