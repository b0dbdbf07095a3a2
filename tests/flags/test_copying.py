"""A copy of a flag: what comes along, what does not, and who gets what in it."""

import pytest

from apps.access.models import Grant
from apps.core.refusals import AlreadyThere, Invalid
from apps.flags import audiences, copying, importing, queries, services
from changeover import Snapshot as Compiled
from tests.flags.make_flags import ALICE, NOW, make_environment, make_flag, make_route
from tests.flags.test_services import last_entry

pytestmark = pytest.mark.django_db
SAID = {"environment": "production", "by": ALICE, "because": "to see", "now": NOW}
COPY = SAID | {"key": "new-parser", "to": "newer-parser"}
HALF = {"weights": {"on": 5000, "off": 5000}}


def answers(key: str, environment: str = "production") -> list[str | None]:
    compiled = Compiled.from_flagd(queries.snapshot(environment).body)
    return [compiled.evaluate(key, {"targetingKey": f"u-{number}"}).variant for number in range(300)]


def test_what_a_person_set_comes_along_and_acts_do_not():
    make_flag(rules=[{"when": {"attribute": "a", "operator": "is_set"}, "variant": "on"}], owner="payments")
    services.switch_off(**SAID, key="new-parser")

    copying.copy_flag(**COPY)

    original, copy = queries.flag("production", "new-parser"), queries.flag("production", "newer-parser")
    assert (copy.rules, copy.owner, copy.salt) == (original.rules, "payments", "new-parser")
    assert (original.switch, copy.switch) == ("off", "")
    assert last_entry().kind == "flag.copied"
    assert last_entry().before == {"copied_from": "new-parser in production"}


@pytest.mark.parametrize("bucketing", ["v1", "v2"])
def test_a_subject_gets_in_the_copy_what_it_gets_in_the_original(bucketing):
    make_flag(bucketing=bucketing)
    services.change_weights(**SAID, key="new-parser", **HALF)

    copying.copy_flag(**COPY)

    assert answers("newer-parser") == answers("new-parser")
    assert set(answers("new-parser")) == {"on", "off"}


def test_a_copy_under_v3_draws_anew_and_says_so():
    make_flag()
    services.change_weights(**SAID, key="new-parser", **HALF)

    copying.copy_flag(**COPY)

    assert answers("newer-parser") != answers("new-parser")
    assert copying.draws_anew(queries.flag("production", "new-parser"))


def test_a_copy_of_a_copy_keeps_the_first_one_s_subjects():
    make_flag(salt="first")
    services.change_weights(**SAID, key="new-parser", **HALF)

    copying.copy_flag(**COPY)

    assert answers("newer-parser") == answers("new-parser")


def test_a_route_goes_into_another_environment_with_its_split():
    make_route()
    make_environment("staging")
    weights = {"gpt-4.1": 9000, "flash-lite": 1000}
    services.change_weights(**SAID, key="invoice-extraction", weights=weights)

    copying.copy_flag(**SAID, key="invoice-extraction", to="invoice-extraction", to_environment="staging")

    copy = queries.route("staging", "invoice-extraction")
    assert (copy.weights, copy.fallback_variant) == (weights, "gpt-4.1")
    assert answers("invoice-extraction", "staging") == answers("invoice-extraction")


def test_an_expert_s_rule_that_hashes_its_key_is_hashed_by_the_copy_s_own():
    make_flag(targeting={"fractional": [["on", 50], ["off", 50]]})

    copying.copy_flag(**COPY)

    assert queries.flag("production", "newer-parser").salt == "newer-parser"


def test_an_imported_flag_that_we_would_not_save_is_copied_as_it_is():
    odd = {"flags": {"odd": {"state": "ENABLED", "variants": {"a": 1}, "targeting": {"nand": [1, 2]}}}}
    make_flag()
    importing.import_definition(environment="production", document=odd, bucketing="v2", by=ALICE, because="", now=NOW)

    copying.copy_flag(**SAID, key="odd", to="odder")

    assert queries.flag("production", "odder").targeting == {"nand": [1, 2]}


def test_a_key_that_is_taken_and_an_audience_that_is_not_there_are_refused():
    conditions = {"all": [{"attribute": "plan", "operator": "is", "values": ["beta"]}]}
    make_environment()
    audiences.create_audience(environment="production", key="testers", conditions=conditions, by=ALICE, now=NOW)
    make_flag(rules=[{"when": {"audience": "testers"}, "variant": "on"}])
    make_environment("staging")

    with pytest.raises(AlreadyThere):
        copying.copy_flag(**SAID, key="new-parser", to="new-parser")
    with pytest.raises(Invalid, match="There is no audience testers"):
        copying.copy_flag(**SAID, key="new-parser", to="new-parser", to_environment="staging")


def test_whoever_copies_needs_the_role_where_it_goes(client, alice, bob, charlie, environment):
    make_flag()
    make_environment("staging")
    Grant.objects.filter(user=alice).update(environment=environment)
    body = {"to": "newer-parser", "because": "x"}
    url = "/api/v1/flags/new-parser/copy/?environment=production"

    for user, expected in ((bob, 403), (charlie, 404), (alice, 201)):
        client.force_login(user)
        assert client.post(url, body, "application/json").status_code == expected
    elsewhere = client.post(url, body | {"to_environment": "staging"}, "application/json")
    assert elsewhere.status_code in (403, 404)
