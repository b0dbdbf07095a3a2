import json

import pytest
from django.test import Client

from apps.access import services as access_services
from apps.access.models import Environment
from apps.flags import queries, services
from tests.flags.make_flags import ALICE, NOW, VARIANTS, make_environment, make_flag, make_route

pytestmark = pytest.mark.django_db
ROUTE = {
    "environment": "production",
    "key": "invoice-extraction",
    "task_type": "extraction",
    "owner": "payments",
    "variants": VARIANTS,
    "default_variant": "gpt-4.1",
    "fallback_variant": "gpt-4.1",
}
FLAG = {
    "environment": "production",
    "key": "new-parser",
    "type": "boolean",
    "variants": {"on": True, "off": False},
    "default_variant": "off",
    "targeting": {},
}


class Api:
    def __init__(self, secret: str = "") -> None:
        self.client = Client(headers={"Authorization": f"Bearer {secret}"} if secret else {})

    def __getattr__(self, verb: str):
        def ask(path: str, body: object = None, **headers: str):
            given = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
            return getattr(self.client, verb)(f"/api/v1/{path}", headers=headers, **given)

        return ask


def with_key(*scopes: str, environment: str = "production") -> Api:
    row = make_environment(environment)
    _, secret = access_services.create_key(
        environment=row, name=f"ci {row.api_keys.count()}", scopes=list(scopes), by=ALICE, now=NOW
    )
    return Api(secret)


@pytest.fixture
def ci() -> Api:
    return with_key("manage:write")


def test_a_route_is_created_and_read_back(ci):
    made = ci.post("routes/", ROUTE)

    assert made.status_code == 201, made.content
    assert made.json()["version"] == 1
    assert made.json()["weights"] == {"gpt-4.1": 100.0, "flash-lite": 0.0}
    read = ci.get("routes/invoice-extraction/").json()
    assert (read["owner"], read["fallback_variant"], read["variants"]) == ("payments", "gpt-4.1", VARIANTS)
    assert queries.route("production", "invoice-extraction").task_type == "extraction"


def test_a_flag_is_created_once(ci):
    assert ci.post("flags/", FLAG).status_code == 201

    again = ci.post("flags/", FLAG)

    assert (again.status_code, again.json()["code"]) == (409, "already_there")
    assert again.headers["Content-Type"] == "application/problem+json"


def test_a_patch_says_which_snapshot_carries_it(ci):
    ci.post("flags/", FLAG)

    answer = ci.patch("flags/new-parser/?environment=production", {"default_variant": "on", "because": "ready"})

    assert (answer.status_code, answer.json()["version"], answer.json()["default_variant"]) == (200, 2, "on")


def test_a_change_needs_a_reason(ci):
    ci.post("flags/", FLAG)

    answer = ci.patch("flags/new-parser/?environment=production", {"default_variant": "on"})

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert "because" in answer.json()["errors"]


def test_a_patch_leaves_what_it_does_not_name(ci):
    ci.post("routes/", ROUTE)

    ci.patch("routes/invoice-extraction/", {"owner": "ledger", "because": "moved"})

    route = queries.route("production", "invoice-extraction")
    assert (route.owner, route.task_type, route.default_variant) == ("ledger", "extraction", "gpt-4.1")


def test_a_stale_write_is_refused_with_the_difference(ci):
    ci.post("flags/", FLAG)
    seen = ci.get("flags/new-parser/").headers["ETag"]
    ci.patch("flags/new-parser/", {"default_variant": "on", "because": "ready"})

    late = ci.patch("flags/new-parser/", {"description": "x", "because": "y"}, If_Match=seen)

    assert (late.status_code, late.json()["code"], late.json()["changed_by"]) == (412, "stale", "key:ci 0")
    assert late.json()["changes"] == {"default_variant": {"was": "off", "is": "on"}}


def test_a_protected_environment_asks_for_the_revision_but_never_for_the_kill_switch():
    make_environment("guarded", is_protected=True)
    ci = with_key("manage:write", environment="guarded")
    ci.post("flags/", FLAG | {"environment": "guarded"})

    assert ci.patch("flags/new-parser/", {"default_variant": "on", "because": "x"}).status_code == 428
    assert ci.post("flags/new-parser/switch-off/", {"because": "on fire"}).status_code == 200


def test_weights_are_percent_in_hundredths(ci):
    ci.post("routes/", ROUTE)

    answer = ci.put(
        "flags/invoice-extraction/weights/", {"weights": {"flash-lite": 0.01, "gpt-4.1": 99.99}, "because": "x"}
    )

    assert answer.json()["weights"] == {"gpt-4.1": 99.99, "flash-lite": 0.01}
    assert answer.json()["segments"] == [["flash-lite", 1], ["gpt-4.1", 9999]]


def test_a_held_flag_says_who_holds_it(ci):
    make_route()
    services.take_hold(
        environment="production", key="invoice-extraction", holder="rollout 7", trial="7", by=ALICE, because="", now=NOW
    )

    answer = ci.patch("routes/invoice-extraction/", {"default_variant": "flash-lite", "because": "x"})

    assert (answer.status_code, answer.json()["code"]) == (409, "flag_is_held")
    assert "rollout 7" in answer.json()["detail"]


def test_evaluate_tells_the_variant_and_why(ci):
    make_flag(targeting={"if": [{"==": [{"var": "plan"}, "beta"]}, "on"]})

    beta = ci.post("evaluate/", {"flag": "new-parser", "context": {"targetingKey": "u", "plan": "beta"}}).json()
    other = ci.post("evaluate/", {"flag": "new-parser", "context": {"targetingKey": "u"}}).json()

    assert (beta["value"], beta["variant"], beta["assigned_by"], beta["version"]) == (True, "on", "rule", 1)
    assert beta["why"] == "A rule answered on."
    assert (other["variant"], other["reason"]) == ("off", "DEFAULT")
    assert ci.post("evaluate/", {"flag": "nobody"}).status_code == 404


def test_lists_are_paged_newest_first(ci):
    for number in range(3):
        make_flag(f"flag-{number}")

    answer = ci.get("flags/?environment=production&limit=2").json()

    assert (answer["count"], [flag["key"] for flag in answer["results"]]) == (3, ["flag-2", "flag-1"])
    assert answer["next"]


def test_the_same_write_sent_twice_happens_once(ci):
    first = ci.post("flags/", FLAG, Idempotency_Key="1")

    again = ci.post("flags/", FLAG, Idempotency_Key="1")

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert queries.snapshot("production").version == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (ROUTE | {"variants": {"a": {"timeout_ms": 5}}, "default_variant": "a"}, "variants"),
        (ROUTE | {"default_variant": "nobody"}, "default_variant"),
        (ROUTE | {"fallback_variant": "nobody"}, "fallback_variant"),
        (ROUTE | {"variants": []}, "variants"),
        (ROUTE | {"targeting": {"if": [{"var": "x"}, "nobody"]}}, "targeting"),
        ({"environment": "production", "key": "x"}, "variants"),
    ],
)
def test_a_refused_route_names_the_field(ci, body, field):
    answer = ci.post("routes/", body)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert field in answer.json()["errors"]
    assert Environment.objects.get(key="production").snapshot_version == 0


def test_what_alice_bob_charlie_and_keys_may(alice, bob, charlie):
    make_flag()
    body = {"default_variant": "on", "because": "x"}
    path = "flags/new-parser/?environment=production"

    def statuses(api: Api) -> tuple[int, int]:
        return api.get(path).status_code, api.patch(path, body).status_code

    people = {}
    for person in (alice, bob, charlie):
        api = Api()
        api.client.force_login(person)
        people[person.username] = statuses(api)

    assert people == {"alice": (200, 200), "bob": (200, 403), "charlie": (404, 404)}
    assert statuses(with_key("manage:read")) == (200, 403)
    assert statuses(with_key("flags:read")) == (404, 404)
    assert statuses(with_key("manage:write", environment="staging")) == (404, 404)
    assert statuses(Api()) == (401, 401)


def test_a_route_can_be_switched_off_and_back(ci):
    make_route()

    off = ci.post("flags/invoice-extraction/switch-off/", {"because": "on fire"}).json()
    back = ci.post("flags/invoice-extraction/restore/", {"because": "out"}).json()

    assert (off["switch"], back["switch"], back["version"]) == ("off", "", 3)
