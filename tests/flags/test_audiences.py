import json

import pytest

from apps.core.refusals import AlreadyThere, Invalid, Stale
from apps.flags import audiences, keeping, queries, services
from apps.flags.models import Flag
from apps.flags.refusals import AudienceIsUsed
from tests.flags.make_flags import ALICE, NOW, make_environment, make_flag, make_route
from tests.flags.test_services import last_entry, served

pytestmark = pytest.mark.django_db
SAID = {"environment": "production", "by": ALICE, "because": "to see", "now": NOW}
BETA = {"all": [{"attribute": "plan", "operator": "is", "values": ["beta"]}]}
PRO = {"all": [{"attribute": "plan", "operator": "is", "values": ["pro"]}]}
RULES = [{"name": "Testers", "when": {"audience": "testers"}, "variant": "on"}]


def make_audience(key: str = "testers", **fields):
    make_environment()
    return audiences.create_audience(**SAID, key=key, **({"conditions": BETA} | fields))


def test_an_audience_is_written_out_in_the_rules_that_name_it():
    make_audience()

    make_flag(rules=RULES)

    assert served("new-parser")["targeting"] == {"if": [{"===": [{"var": "plan"}, "beta"]}, "on"]}
    assert queries.flag("production", "new-parser").conditions == ["Testers: in audience testers → on"]
    assert queries.audience("production", "testers").flags == ["new-parser"]


def test_changing_an_audience_republishes_its_flags_in_one_publish():
    make_audience()
    for number in range(3):
        make_flag(f"flag-{number}", rules=RULES)
    make_flag("other")
    before = queries.snapshot("production").version

    published = audiences.change_audience(**SAID, key="testers", conditions=PRO)

    snapshot = queries.snapshot("production")
    assert published.version == snapshot.version == before + 1
    for number in range(3):
        assert served(f"flag-{number}")["targeting"] == {"if": [{"===": [{"var": "plan"}, "pro"]}, "on"]}
    entry = last_entry()
    assert (entry.kind, entry.about, entry.version) == ("audience.changed", {"audience": "testers"}, published.version)
    assert (entry.before["conditions"], entry.after["conditions"]) == (BETA, PRO)
    row = Flag.objects.get(key="other")
    assert row.since_version < published.version
    assert "$evaluators" not in json.loads(snapshot.body)


def test_an_audience_nobody_uses_changes_without_a_publish():
    make_audience()

    published = audiences.change_audience(**SAID, key="testers", conditions=PRO)

    assert published.version == 0
    assert last_entry().kind == "audience.changed"


def test_an_audience_in_use_is_not_deleted():
    make_audience()
    make_flag(rules=RULES)

    with pytest.raises(AudienceIsUsed, match="Audience testers is used by new-parser"):
        audiences.delete_audience(**SAID, key="testers")
    services.update_flag(**SAID, key="new-parser", rules=[])
    audiences.delete_audience(**SAID, key="testers")

    assert queries.audiences("production") == []


def test_a_held_flag_keeps_its_audience_as_it_is():
    make_audience()
    make_route(rules=[RULES[0] | {"variant": "flash-lite"}])
    services.take_hold(**SAID, key="invoice-extraction", holder="rollout 7", trial="7")

    with pytest.raises(services.FlagIsHeld):
        audiences.change_audience(**SAID, key="testers", conditions=PRO)

    assert queries.audience("production", "testers").conditions == BETA


def test_an_archived_flag_comes_back_with_the_audience_of_today():
    make_audience()
    make_flag(rules=RULES)
    keeping.archive_flag(**SAID, key="new-parser")
    audiences.change_audience(**SAID, key="testers", conditions=PRO)

    keeping.unarchive_flag(**SAID, key="new-parser")

    assert served("new-parser")["targeting"] == {"if": [{"===": [{"var": "plan"}, "pro"]}, "on"]}


def test_what_no_audience_may_be_is_refused():
    make_audience()

    with pytest.raises(AlreadyThere):
        make_audience()
    with pytest.raises(Invalid, match="at least one condition"):
        make_audience("empty", conditions={})
    with pytest.raises(Invalid, match="not of other audiences"):
        make_audience("nested", conditions={"audience": "testers"})
    with pytest.raises(Invalid, match="There is no audience nobody"):
        make_flag(rules=[{"when": {"audience": "nobody"}, "variant": "on"}])


def test_a_stale_change_of_an_audience_is_told_the_difference():
    make_audience()
    audiences.change_audience(**SAID, key="testers", conditions=PRO)

    with pytest.raises(Stale) as refused:
        audiences.change_audience(**SAID, key="testers", conditions=BETA, expected=1)

    assert refused.value.changes == {"conditions": {"was": BETA, "is": PRO}}
