"""The endpoints of versions, audiences, change requests and use; and who may do what."""

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from apps.access.domain.roles import Role
from apps.access.models import Environment, Grant
from apps.flags import queries, services
from tests.flags.make_flags import ALICE, NOW, make_environment, make_flag, make_route
from tests.flags.test_api import FLAG, Api, with_key

pytestmark = pytest.mark.django_db
BETA = {"attribute": "plan", "operator": "is", "values": ["beta"]}
RULES = [{"name": "Testers", "when": BETA, "variant": "on"}]
WHY = {"because": "to see"}


@pytest.fixture
def ci() -> Api:
    return with_key("manage:write")


def as_person(user: User) -> Api:
    api = Api()
    api.client.force_login(user)
    return api


@pytest.fixture
def dave(db, password_hash):
    """He approves, everywhere."""
    user = User.objects.create(username="dave", password=password_hash)
    Grant.objects.create(user=user, environment=None, role=Role.APPROVER)
    return user


def test_rules_go_in_readable_and_come_out_with_their_jsonlogic(ci):
    made = ci.post("flags/", FLAG | {"rules": RULES} | {"targeting": None})

    assert made.status_code == 201, made.content
    flag = made.json()
    assert flag["rules"] == [{"name": "Testers", "when": {"all": [BETA]}, "variant": "on"}]
    assert flag["conditions"] == ["Testers: plan is beta → on"]
    assert flag["targeting"] == {"if": [{"===": [{"var": "plan"}, "beta"]}, "on"]}
    beta = ci.post("evaluate/", {"flag": "new-parser", "context": {"plan": "beta"}}).json()
    assert (beta["variant"], beta["assigned_by"]) == ("on", "rule")


def test_an_experts_jsonlogic_is_kept_and_linted(ci):
    answer = ci.post("flags/", FLAG | {"targeting": {"if": [{">=": [{"var": "age"}, 0]}, "on"]}}).json()

    assert answer["rules"] is None
    assert answer["warnings"] == ["A missing attribute passes >= 0: guard it with and, !!."]
    guarded = {"if": [{"and": [{"!!": [{"var": "age"}]}, {">=": [{"var": "age"}, 0]}]}, "on"]}
    answer = ci.patch("flags/new-parser/", {"targeting": guarded} | WHY).json()
    assert answer["warnings"] == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rules": [{"when": BETA | {"operator": "matches", "values": ["("]}, "variant": "on"}]}, "no regular"),
        ({"rules": [{"when": BETA | {"operator": "version_is"}, "variant": "on"}]}, "is no version"),
        ({"targeting": {"if": [{"sem_ver": [{"var": "v"}, "=>", "1.0.0"]}, "on"]}}, "sem_ver compares by"),
        ({"targeting": {"if": [{"sem_ver": [{"var": "v"}, ">=", "1.x"]}, "on"]}}, "is no version"),
        ({"targeting": {"if": [{"in": [{"var": "v"}, ["x" * 1_000_000]]}, "on"]}}, "Rules may have 256 KiB"),
        ({"rules": RULES, "targeting": {"if": [True, "on"]}}, "not both"),
        ({"prerequisites": [{"flag": "nobody", "variant": "on"}]}, "There is no flag nobody"),
        ({"variants": {"off": False}}, "Variant on of new-parser is still the answer of a rule"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_a_sentence(ci, fields, words):
    ci.post("flags/", FLAG | {"rules": RULES})

    answer = ci.patch("flags/new-parser/", fields | WHY)

    assert answer.status_code in (400, 409), answer.content
    assert words in answer.json()["detail"]
    assert queries.flag("production", "new-parser").revision == 1


def test_deeply_nested_json_is_refused_not_a_fault(ci):
    ci.post("flags/", FLAG)
    nested = '{"!":' * 3000 + "true" + "}" * 3000
    body = f'{{"because": "x", "targeting": {nested}}}'

    answer = ci.client.patch("/api/v1/flags/new-parser/", data=body, content_type="application/json")

    assert answer.status_code == 400


def test_versions_are_listed_shown_compared_and_reverted_to(ci):
    ci.post("flags/", FLAG)
    ci.patch("flags/new-parser/", {"default_variant": "on", "description": "x"} | WHY)

    listed = ci.get("flags/new-parser/versions/").json()
    shown = ci.get("flags/new-parser/versions/1/").json()
    compared = ci.get("flags/new-parser/versions/compare/?from=1&to=2").json()
    reverted = ci.post("flags/new-parser/revert/", {"revision": 1} | WHY, If_Match='"2"')

    assert [one["revision"] for one in listed["results"]] == [2, 1]
    assert (listed["results"][0]["by"], listed["results"][0]["because"]) == ("key:ci 0", "to see")
    assert shown["definition"]["default_variant"] == "off"
    assert compared["changes"] == {
        "description": {"was": "", "is": "x"},
        "default_variant": {"was": "off", "is": "on"},
    }
    assert (reverted.status_code, reverted.json()["default_variant"], reverted.json()["version"]) == (200, "off", 3)
    assert ci.get("flags/new-parser/versions/9/").status_code == 404
    assert ci.get("flags/new-parser/versions/compare/?from=1&to=x").status_code == 400


def test_audiences_through_the_api(ci):
    body = {"key": "testers", "conditions": BETA, "environment": "production"}
    made = ci.post("audiences/", body)
    assert (made.status_code, made.json()["words"]) == (201, "plan is beta")
    ci.post("flags/", FLAG | {"rules": [{"when": {"audience": "testers"}, "variant": "on"}]})

    changed = ci.patch("audiences/testers/", {"conditions": BETA | {"values": ["pro"]}} | WHY, If_Match='"1"')
    stale = ci.patch("audiences/testers/", {"description": "x"} | WHY, If_Match='"1"')

    assert (changed.json()["version"], changed.json()["flags"], changed.headers["ETag"]) == (2, ["new-parser"], '"2"')
    assert (stale.status_code, stale.json()["changed_by"]) == (412, "key:ci 0")
    assert ci.get("audiences/").json()["count"] == 1
    refused = ci.delete("audiences/testers/")
    assert (refused.status_code, refused.json()["code"]) == (409, "audience_is_used")
    ci.patch("flags/new-parser/", {"rules": []} | WHY)
    assert ci.delete("audiences/testers/").status_code == 204


def test_a_flag_is_archived_brought_back_renamed_and_deleted(ci):
    ci.post("flags/", FLAG)

    assert ci.delete("flags/new-parser/").json()["code"] == "not_archived"
    assert ci.post("flags/new-parser/archive/", WHY).json()["archived_at"]
    assert ci.get("flags/").json()["count"] == 0
    assert ci.get("flags/?archived=true").json()["count"] == 1
    assert ci.patch("flags/new-parser/", {"description": "x"} | WHY).json()["code"] == "flag_is_archived"
    assert ci.post("flags/new-parser/unarchive/", WHY).json()["archived_at"] is None
    renamed = ci.post("flags/new-parser/rename/", {"to": "parser-2"} | WHY)
    assert (renamed.json()["key"], renamed.json()["salt"]) == ("parser-2", "new-parser")
    ci.post("flags/parser-2/archive/", WHY)
    assert ci.delete("flags/parser-2/?because=done").status_code == 204
    assert ci.get("flags/parser-2/").status_code == 404


def test_who_would_move_is_told_before_it_is_saved(ci):
    make_route()

    told = ci.post("flags/invoice-extraction/weights/preview/", {"weights": {"flash-lite": 0.01, "gpt-4.1": 99.99}})

    assert told.status_code == 200, told.content
    assert told.json()["moves"] == [{"before": "gpt-4.1", "after": "flash-lite", "percent": 0.01, "subjects": 0}]
    assert queries.route("production", "invoice-extraction").revision == 1


def test_stale_flags_exposures_and_clients(ci):
    now = timezone.now()
    make_flag(now=now - timedelta(days=40), owner="payments")
    make_route(now=now)
    seen = {"flag": "invoice-extraction", "variant": "gpt-4.1", "snapshot": 1, "assigned_by": "split", "count": 5}
    services.note_seen(
        environment="production", client={"name": "mail", "sdk": "py/1", "snapshot": 1}, exposures=[seen], now=now
    )

    (stale,) = ci.get("flags/?stale=true&owner=payments").json()["results"]
    told = ci.get("flags/invoice-extraction/exposures/").json()
    (client,) = ci.get("clients/").json()["results"]

    assert (stale["key"], stale["reasons"][0]["code"]) == ("new-parser", "never_evaluated")
    assert ci.get("flags/?stale=true&days=x").status_code == 400
    assert (told["count"], told["rows"][0]["client"], told["rows"][0]["variant"]) == (5, "mail", "gpt-4.1")
    assert (client["name"], client["behind"]) == ("mail", 1)
    assert ci.get("flags/nobody/exposures/").status_code == 404


def test_four_eyes_through_the_api(alice, dave):
    make_flag()
    Environment.objects.update(is_protected=True)
    ask = {"environment": "production"}
    hers, his = as_person(alice), as_person(dave)
    path = "flags/new-parser/?environment=production"

    direct = hers.patch(path, {"default_variant": "on"} | WHY, If_Match='"1"')
    assert (direct.status_code, direct.json()["code"]) == (409, "change_request_needed")
    body = ask | {"flag": "new-parser", "changes": {"default_variant": "on"}, "submit": True} | WHY
    made = hers.post("change-requests/", body, If_Match='"1"')
    assert (made.status_code, made.json()["state"], made.json()["needs_approval"]) == (201, "submitted", True)
    assert made.json()["diff"] == {"default_variant": {"was": "off", "is": "on"}}
    one, tag = f"change-requests/{made.json()['id']}", made.headers["ETag"]

    assert hers.post(f"{one}/approve/", {}, If_Match=tag).status_code == 403  # she operates only
    assert his.post(f"{one}/approve/", {}).status_code == 428
    assert hers.post(f"{one}/apply/", {}, If_Match=tag).json()["code"] == "not_in_this_state"
    approved = his.post(f"{one}/approve/", {"digest": made.json()["digest"]}, If_Match=tag)
    assert (approved.status_code, approved.json()["decided_by"]) == (200, "dave"), approved.content
    applied = hers.post(f"{one}/apply/", {}, If_Match=approved.headers["ETag"]).json()

    assert (applied["state"], applied["version"]) == ("applied", 2)
    assert queries.flag("production", "new-parser").default_variant == "on"
    assert hers.get("change-requests/?environment=production&open=true").json()["count"] == 0
    assert hers.get("change-requests/?environment=production&state=applied").json()["count"] == 1


def test_a_void_approval_is_told_and_stays_void_even_when_sent_with_an_idempotency_key(alice, dave):
    make_flag()
    Environment.objects.update(is_protected=True)
    hers, his = as_person(alice), as_person(dave)
    body = {"environment": "production", "flag": "new-parser", "changes": {"owner": "x"}, "submit": True} | WHY
    one = f"change-requests/{hers.post('change-requests/', body).json()['id']}"
    tag = his.post(f"{one}/approve/", {}, If_Match='"1"').headers["ETag"]
    services.switch_off(environment="production", key="new-parser", by=ALICE, because="fire", now=NOW)

    refused = hers.post(f"{one}/apply/", {}, If_Match=tag, Idempotency_Key="1")

    assert (refused.status_code, refused.json()["code"]) == (409, "approval_is_void")
    seen = hers.get(f"{one}/").json()
    assert (seen["state"], seen["decided_by"]) == ("submitted", "")


def test_a_change_is_scheduled_through_the_api(ci):
    ci.post("flags/", FLAG)
    due = (timezone.now() + timedelta(hours=1)).isoformat()

    made = ci.post("flags/new-parser/schedule/", {"changes": {"expires_on": "2027-01-01"}, "due_at": due} | WHY)
    weights = {"weights": {"on": 12.5, "off": 87.5}}
    other = ci.post("flags/new-parser/schedule/", {"changes": weights, "due_at": due} | WHY)
    wrong = ci.post("flags/new-parser/schedule/", {"changes": {"salt": "x"}, "due_at": due} | WHY)

    assert (made.status_code, made.json()["state"]) == (201, "scheduled"), made.content
    assert other.json()["diff"] == {"weights": {"was": {}, "is": {"on": 12.5, "off": 87.5}}}
    assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid")
    from apps.flags import change_requests

    assert change_requests.run_due(now=timezone.now() + timedelta(hours=2)) == 2
    assert queries.flag("production", "new-parser").weights == {"on": 1250, "off": 8750}
    withdrawn = ci.post(f"change-requests/{made.json()['id']}/withdraw/", WHY)
    assert withdrawn.json()["code"] == "not_in_this_state"


@pytest.mark.parametrize(
    ("verb", "path", "body"),
    [
        ("patch", "flags/new-parser/", {"rules": []}),
        ("post", "flags/new-parser/revert/", {"revision": 1}),
        ("post", "flags/new-parser/archive/", {}),
        ("post", "flags/new-parser/rename/", {"to": "x"}),
        ("delete", "flags/new-parser/", None),
        ("post", "flags/new-parser/schedule/", {"changes": {"owner": "x"}, "due_at": "2030-01-01T00:00:00Z"}),
        ("post", "change-requests/", {"flag": "new-parser", "changes": {"owner": "x"}}),
        ("post", "audiences/", {"key": "a", "conditions": BETA}),
    ],
)
def test_what_bob_charlie_and_keys_may_not(bob, charlie, verb, path, body):
    make_flag()
    make_environment("staging")
    where = f"{path}?environment=production"
    sent = None if body is None else body | WHY
    reader, stranger = with_key("manage:read"), with_key("manage:write", environment="staging")

    def status(api: Api) -> int:
        return getattr(api, verb)(where, sent).status_code

    assert [status(as_person(bob)), status(as_person(charlie)), status(reader), status(stranger), status(Api())] == [
        403, 404, 403, 404, 401,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [
        "flags/new-parser/versions/", "flags/new-parser/exposures/", "clients/", "audiences/", "change-requests/",
        "flags/?stale=true",
    ],
)  # fmt: skip
def test_what_bob_may_read_and_charlie_not(bob, charlie, path):
    make_flag()
    where = f"{path}{'&' if '?' in path else '?'}environment=production"

    assert (as_person(bob).get(where).status_code, as_person(charlie).get(where).status_code) == (200, 404)


def test_a_request_of_another_environment_is_not_seen():
    make_flag()
    hers = with_key("manage:write")
    id = hers.post("change-requests/", {"flag": "new-parser", "changes": {"owner": "x"}} | WHY).json()["id"]
    other = with_key("manage:write", environment="staging")

    assert other.get(f"change-requests/{id}/").status_code == 404
    assert other.post(f"change-requests/{id}/apply/", {}).status_code == 404
    assert other.get("change-requests/none/").status_code == 404


@pytest.mark.parametrize(
    "fields",
    [
        {"rules": [{"name": "a\0", "variant": "on"}]},
        {"rules": [{"when": BETA | {"attribute": "\0"}, "variant": "on"}]},
        {"rules": [{"when": BETA | {"values": ["\ud800"]}, "variant": "on"}]},
        {"rules": [{"when": {"audience": "\0"}, "variant": "on"}]},
        {"prerequisites": [{"flag": "\0", "variant": "on"}]},
        {"owner": "\0"},
    ],
)
def test_texts_that_no_database_takes_are_refused(ci, fields):
    ci.post("flags/", FLAG)

    assert ci.patch("flags/new-parser/", fields | WHY).status_code == 400
    body = {"flag": "new-parser", "changes": fields} | WHY
    assert ci.post("change-requests/", body).status_code == 400


@pytest.mark.parametrize(
    "path", ["change-requests/%00/", "change-requests/?state=%00", "change-requests/?flag=%00", "flags/?owner=%00",
             "audiences/%00/", "flags/%00/versions/", "flags/%00/versions/99999999999/", "flags/?stale=true&days=0"],
)  # fmt: skip
def test_addresses_that_name_nothing_are_no_fault(ci, path):
    make_environment()

    assert ci.get(path).status_code in (200, 400, 404)


def test_the_answers_are_json_as_the_schema_says(ci):
    made = ci.post("flags/", FLAG | {"expires_on": "2027-01-01", "owner": "payments"})

    assert json.loads(made.content)["expires_on"] == "2027-01-01"
    assert queries.flag("production", "new-parser").expires_on.isoformat() == "2027-01-01"
