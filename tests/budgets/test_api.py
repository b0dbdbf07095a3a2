import pytest
from django.utils import timezone

from apps.access import services as access
from apps.access.models import Environment
from apps.budgets import queries
from apps.budgets.models import Budget
from tests.budgets.make_rows import ALICE, ROUTE, guard, spend

pytestmark = pytest.mark.django_db
BUDGET = {
    "environment": "production",
    "scope": {"route": ROUTE},
    "period": "day",
    "limit_usd": "50.00",
    "thresholds": [{"at": 0.8, "do": "alert"}, {"at": 1.0, "do": "fall_back"}, {"forecast": 1.0, "do": "alert"}],
}
WRONG = [
    {"limit_usd": "-1"}, {"limit_usd": "0"}, {"limit_usd": "much"}, {"limit_usd": "9223372037"}, {"limit_usd": None},
    {"period": "year"}, {"thresholds": [{"forecast": 1}], "period": "hour"}, {"timezone": "Mars"},
    {"scope": {"x": "y"}}, {"scope": {"route": ["a"]}}, {"scope": {"arm": "both"}},
    {"thresholds": [{"at": 1, "do": "explode"}]}, {"thresholds": [{"at": 1, "forecast": 1}]},
    {"thresholds": [{"at": "1"}]}, {"thresholds": [{"at": 1, "do": "cap_share"}]},
]  # fmt: skip
BROKEN = [
    {"timezone": "US/Pacific-New"}, {"scope": ["route"]}, {"scope": {"x": "y"}}, {"period": "year"},
    {"thresholds": [{"at": "all"}]},
]  # fmt: skip


@pytest.fixture
def as_alice(client, alice, environment, now, time_machine):
    time_machine.move_to(now)
    client.force_login(alice)
    return client


def post(client, body):
    return client.post("/api/v1/budgets/", body, content_type="application/json")


def test_alice_makes_a_budget_as_the_contract_shows_it(as_alice):
    answer = post(as_alice, BUDGET)

    assert answer.status_code == 201, answer.json()
    made = answer.json()
    assert made["scope"] == {"route": ROUTE}
    assert made["limit_usd"] == "50.000000"
    assert made["thresholds"] == [
        {"at": 0.8, "do": "alert"}, {"at": 1.0, "do": "fall_back"}, {"forecast": 1.0, "do": "alert"},
    ]  # fmt: skip
    assert made["next_action"] == "alert at $40.00"
    assert made["no_forecast"].startswith("No forecast yet.")


def test_spend_is_text_with_six_decimals(as_alice, now, time_machine):
    time_machine.move_to(now, tick=False)
    spend(now, 12.3456789)
    post(as_alice, BUDGET)

    (row,) = as_alice.get("/api/v1/budgets/?environment=production").json()["results"]

    assert row["spent_usd"] == "12.345679"
    assert row["pace"] == pytest.approx(0.125)


def test_it_is_changed_by_revision(as_alice):
    made = post(as_alice, BUDGET).json()
    address = f"/api/v1/budgets/{made['id']}/"
    change = {"limit_usd": "80", "because": "more"}

    first = as_alice.patch(address, change, content_type="application/json", headers={"If-Match": '"1"'})
    second = as_alice.patch(address, change, content_type="application/json", headers={"If-Match": '"1"'})

    assert (first.status_code, first.json()["limit_usd"], first["ETag"]) == (200, "80.000000", '"2"')
    assert second.status_code == 412
    stale = second.json()
    assert (stale["code"], stale["changed_by"], stale["changed_at"]) == (
        "stale", "alice", first.json()["changed_at"].replace("Z", "+00:00"),
    )  # fmt: skip
    assert stale["changes"] == {"limit_usd": {"was": "50.000000", "is": "80.000000"}}
    assert as_alice.delete(address, headers={"If-Match": '"1"'}).json()["changes"] == stale["changes"]
    assert as_alice.delete(address, headers={"If-Match": '"2"'}).status_code == 204


def test_the_same_write_sent_again_makes_one_budget(as_alice):
    headers = {"Idempotency-Key": "deploy-7"}

    sent = [as_alice.post("/api/v1/budgets/", BUDGET, content_type="application/json", headers=headers) for _ in "ab"]

    assert sent[0].status_code == sent[1].status_code == 201
    assert sent[0].json()["id"] == sent[1].json()["id"]
    assert as_alice.get("/api/v1/budgets/?environment=production").json()["count"] == 1


def test_a_key_of_another_environment_finds_no_budget(as_alice, client, environment, now):
    made = post(as_alice, BUDGET).json()
    staging = Environment.objects.create(key="staging", name="Staging", created_at=now)
    _, key = access.create_key(
        environment=staging, name="ci", scopes=["manage:write"], by=ALICE, because="x", now=timezone.now()
    )
    client.logout()
    headers, address = {"Authorization": f"Bearer {key}"}, f"/api/v1/budgets/{made['id']}/"

    asked = [
        client.get(address, headers=headers),
        client.patch(address, {"limit_usd": "1"}, content_type="application/json", headers=headers),
        client.delete(address, headers=headers),
        client.post("/api/v1/budgets/", BUDGET, content_type="application/json", headers=headers),
    ]

    assert [(answer.status_code, answer.json()["code"]) for answer in asked] == [(404, "not_found")] * 4


@pytest.mark.parametrize("fields", BROKEN)
def test_one_that_cannot_be_read_says_so_and_is_mended_or_ended(as_alice, fields):
    _, bad, worse = (post(as_alice, BUDGET).json() for _ in range(3))
    Budget.objects.filter(pk__in=[bad["id"], worse["id"]]).update(**fields)
    address = f"/api/v1/budgets/{bad['id']}/"

    rows = as_alice.get("/api/v1/budgets/?environment=production").json()["results"]
    told = as_alice.get(address).json()
    mended = as_alice.patch(
        address, {name: BUDGET.get(name, "UTC") for name in fields}, content_type="application/json"
    )

    assert [row["state"] for row in rows] == ["unreadable", "unreadable", "within"]
    assert told["id"] == bad["id"]
    assert " cannot be read: change or end it. " in told["sentence"]
    assert "spent_usd" not in told  # nobody knows
    assert (mended.status_code, mended.json()["state"]) == (200, "within")
    assert as_alice.delete(f"/api/v1/budgets/{worse['id']}/").status_code == 204
    assert as_alice.get("/api/v1/budgets/?environment=production").json()["count"] == 2


def test_it_ends(as_alice):
    made = post(as_alice, BUDGET).json()
    address = f"/api/v1/budgets/{made['id']}/"

    assert as_alice.delete(address, {"because": "over"}, content_type="application/json").status_code == 204
    assert as_alice.get(address).status_code == 404
    assert as_alice.get("/api/v1/budgets/?environment=production").json()["count"] == 0


@pytest.mark.parametrize("wrong", WRONG)
def test_nonsense_is_a_problem_that_names_its_place(as_alice, wrong):
    answer = post(as_alice, BUDGET | wrong)

    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "invalid"
    assert next(iter(wrong)) in answer.json()["detail"]


def test_bob_sees_and_may_not_change(client, bob, environment):
    client.force_login(bob)

    assert client.get("/api/v1/budgets/?environment=production").status_code == 200
    assert post(client, BUDGET).status_code == 403


def test_charlie_learns_nothing(client, charlie, environment):
    client.force_login(charlie)

    assert client.get("/api/v1/budgets/?environment=production").status_code == 404
    assert client.get("/api/v1/guardrails/?environment=production").status_code == 404


def test_guardrails_are_listed_as_they_were_written(as_alice, now):
    guard(now)

    rows = as_alice.get(f"/api/v1/guardrails/?environment=production&route={ROUTE}").json()["results"]

    assert [(row["metric"], row["against"]) for row in rows] == [
        ("latency_p95", "limit"), ("error_rate", "baseline"), ("cost_per_request", "limit"),
    ]  # fmt: skip
    assert rows[0]["limit_ms"] == 1500
    assert rows[1]["tolerance"] == 0.25
    assert rows[2]["limit_usd"] == "0.005000"
    assert rows[0]["needed"] == 500


def test_a_guardrails_act_is_changed_with_a_reason(as_alice, now):
    row = guard(now)[0]
    address = f"/api/v1/guardrails/{row.id}/"

    without = as_alice.patch(address, {"on_breach": "hold"}, content_type="application/json")
    answer = as_alice.patch(address, {"on_breach": "hold", "because": "a calm try"}, content_type="application/json")

    assert without.status_code == 400
    assert answer.json()["on_breach"] == "hold"
    assert queries.guardrails("t-1")[0].on_breach == "hold"
