"""/api/v1/rollouts and what belongs to it. Alice operates, Bob views, Charlie is a stranger, Ada approves."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.test import APIClient

from apps.access import services as access
from apps.access.domain.roles import Role
from apps.access.models import Environment, Grant
from apps.flags import queries as flags
from apps.rollouts import services
from apps.rollouts.models import Decision
from tests.rollouts.make_rollouts import ALICE, make_route, see_traffic, weights

pytestmark = pytest.mark.django_db
PLAN = {
    "environment": "production",
    "route": "invoice-extraction",
    "candidate": "flash-lite",
    "stages": [
        {"share": 10, "min_seconds": 600, "min_samples": 200},
        {"share": 50, "min_seconds": 600, "approval": True},
        {"share": 100},
    ],
    "guardrails": [
        {"metric": "latency_p95", "limit_ms": 1500, "on_breach": "roll_back"},
        {"metric": "latency_p95", "against": "baseline", "tolerance": 0.19, "on_breach": "roll_back"},
        {"metric": "error_rate", "against": "baseline", "tolerance": 0.25, "on_breach": "roll_back"},
        {"metric": "cost_per_request", "limit_usd": "0.005", "on_breach": "roll_back"},
    ],
}


@pytest.fixture
def ada(db, password_hash):
    user = User.objects.create(username="ada", password=password_hash)
    Grant.objects.create(user=user, environment=None, role=Role.APPROVER)
    return user


@pytest.fixture
def now():
    return timezone.now()


@pytest.fixture
def a_route(environment, now):
    make_route(now)


def client_of(user):
    client = APIClient()
    client.force_login(user)
    return client


@pytest.fixture
def key_client(environment, now):
    def make(*scopes):
        _, secret = access.create_key(environment=environment, name="ci", scopes=list(scopes), by=ALICE, now=now)
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
        return client

    return make


def post(client, path, body=None, **headers):
    return client.post(f"/api/v1/{path}", body or {"because": "test"}, format="json", headers=headers)


@pytest.fixture
def operator(alice):
    return client_of(alice)


@pytest.fixture
def started(operator, a_route):
    rollout = post(operator, "rollouts/", PLAN).json()
    return post(operator, f"rollouts/{rollout['id']}/start/").json()


def test_the_body_of_the_contract_makes_a_draft(operator, a_route):
    answer = post(operator, "rollouts/", PLAN)

    assert answer.status_code == 201, answer.json()
    rollout = answer.json()
    assert (rollout["state"], rollout["baseline"], rollout["candidate"]) == ("draft", "gpt-4.1", "flash-lite")
    assert [stage["share"] for stage in rollout["stages"]] == [10, 50, 100]
    assert [guardrail["metric"] for guardrail in rollout["guardrails"]][-1] == "cost_per_request"


def test_a_started_rollout_takes_its_share(operator, started):
    assert (started["state"], started["stage"], started["share"]) == ("running", 0, 10)
    assert weights() == {"gpt-4.1": 9000, "flash-lite": 1000}


@pytest.mark.parametrize("act", ["start", "pause", "resume", "advance", "step-back", "approve", "roll-back", "abort"])
def test_who_may_not_act_changes_nothing(started, bob, charlie, act):
    path = f"rollouts/{started['id']}/{act}/"

    assert post(client_of(bob), path).status_code == 403
    assert post(client_of(charlie), path).status_code == 404
    assert post(APIClient(), path).status_code == 401
    assert weights() == {"gpt-4.1": 9000, "flash-lite": 1000}


def test_bob_sees_it_and_charlie_does_not(started, bob, charlie):
    path = f"/api/v1/rollouts/{started['id']}/"

    assert client_of(bob).get(path).json()["id"] == started["id"]
    assert client_of(charlie).get(path).status_code == 404
    assert client_of(bob).get("/api/v1/rollouts/?environment=production").json()["count"] == 1
    assert client_of(charlie).get("/api/v1/rollouts/?environment=production").status_code == 404


def test_a_key_may_operate_but_not_approve(a_route, key_client):
    key = key_client("manage:write")
    rollout = post(key, "rollouts/", {k: v for k, v in PLAN.items() if k != "environment"}).json()

    assert post(key, f"rollouts/{rollout['id']}/start/").json()["state"] == "running"
    assert post(key, f"rollouts/{rollout['id']}/approve/").status_code == 403
    assert post(key, f"rollouts/{rollout['id']}/roll-back/").json()["state"] == "rolled_back"


def test_a_key_that_reads_does_not_act(started, key_client):
    key = key_client("manage:read")

    assert key.get(f"/api/v1/rollouts/{started['id']}/").status_code == 200
    assert post(key, f"rollouts/{started['id']}/pause/").status_code == 403


def test_four_eyes(operator, ada, started):
    own = post(operator, f"rollouts/{started['id']}/approve/")
    path = f"rollouts/{started['id']}"
    needs = post(operator, f"{path}/advance/")
    approved = post(client_of(ada), f"{path}/approve/")
    moved = post(operator, f"{path}/advance/")

    assert own.status_code == 403
    assert (needs.status_code, needs.json()["code"]) == (409, "needs_approval")
    assert (approved.status_code, approved.json()["needs_approval"]) == (200, False)
    assert (moved.json()["stage"], moved.json()["share"]) == (1, 50)


def test_nobody_approves_their_own(ada, a_route):
    client = client_of(ada)
    rollout = post(client, "rollouts/", PLAN).json()
    post(client, f"rollouts/{rollout['id']}/start/")

    answer = post(client, f"rollouts/{rollout['id']}/approve/")

    assert (answer.status_code, answer.json()["code"]) == (403, "own_request")


def test_what_moves_towards_the_candidate_says_why(operator, started):
    answer = post(operator, f"rollouts/{started['id']}/advance/", {"x": 1})

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


def test_safety_asks_for_no_reason_and_no_revision(operator, started):
    Environment.objects.update(is_protected=True)

    assert post(operator, f"rollouts/{started['id']}/pause/", {"x": 1}).json()["state"] == "paused"
    assert post(operator, f"rollouts/{started['id']}/roll-back/", {"x": 1}).json()["state"] == "rolled_back"
    assert post(operator, "routes/invoice-extraction/fall-back/?environment=production", {"x": 1}).status_code == 200


def test_a_protected_environment_asks_which_revision_was_seen(operator, ada, started):
    Environment.objects.update(is_protected=True)
    path = f"rollouts/{started['id']}"
    approved = post(client_of(ada), f"{path}/approve/").json()

    missing = post(operator, f"{path}/advance/")
    old = post(operator, f"{path}/advance/", None, **{"If-Match": '"99"'})
    right = post(operator, f"{path}/advance/", None, **{"If-Match": f'"{approved["revision"]}"'})

    assert (missing.status_code, old.status_code, right.status_code) == (428, 412, 200)


def test_a_press_that_arrives_twice_is_one_act(operator, started):
    path = f"rollouts/{started['id']}/roll-back/"
    first = post(operator, path, None, **{"Idempotency-Key": "press-1"})
    again = post(operator, path, None, **{"Idempotency-Key": "press-1"})

    assert first.json() == again.json()
    assert Decision.objects.filter(kind="roll_back").count() == 1


def test_the_wrong_moment_is_a_clear_no(operator, started):
    post(operator, f"rollouts/{started['id']}/roll-back/")

    answer = post(operator, f"rollouts/{started['id']}/resume/")

    assert answer.status_code == 409
    assert answer["content-type"].startswith("application/problem+json")
    assert answer.json()["code"] == "wrong_state"


def test_a_plan_with_a_fault_names_its_place(operator, a_route):
    bad = PLAN | {"stages": [{"share": 10}, {"share": 5}]}

    answer = post(operator, "rollouts/", bad)

    assert (answer.status_code, "stages.1.share" in answer.json()["errors"]) == (400, True)


def test_a_decision_is_shown_whole_and_in_lists_without_evidence(operator, started, now):
    see_traffic(now, n=400, variant="gpt-4.1", latency_ms=420)
    see_traffic(now, n=80, variant="flash-lite", latency_ms=4300)
    services.tick(now=timezone.now() + timedelta(seconds=6))

    listed = operator.get("/api/v1/decisions/?environment=production&kind=roll_back").json()["results"]
    (row,) = listed
    whole = operator.get(f"/api/v1/decisions/{row['id']}/").json()

    assert set(row) >= {"id", "at", "environment", "route", "rollout", "kind", "stage", "share", "because", "sentence"}
    assert "evidence" not in row
    assert (row["rollout"], row["share"], row["stage"]) == (started["id"], 0, 0)
    assert {"guardrail", "metric", "verdict"} == set(row["because"][0])
    assert whole["evidence"]["receipt"]["after"]["weights"]["flash-lite"] == 0
    assert [step["kind"] for step in whole["steps"]][:2] == ["freeze_ramp", "set_candidate_to_0"]


def test_a_strangers_decision_is_not_there(operator, started, charlie):
    decision = Decision.objects.first()

    assert client_of(charlie).get(f"/api/v1/decisions/{decision.id}/").status_code == 404


def test_undo_within_five_minutes(operator, started):
    post(operator, f"rollouts/{started['id']}/roll-back/")
    decision = Decision.objects.get(kind="roll_back")

    answer = post(operator, f"decisions/{decision.id}/undo/")

    assert (answer.status_code, answer.json()["state"], answer.json()["share"]) == (200, "paused", 10)


def test_the_state_of_a_route(operator, started):
    before = operator.get("/api/v1/routes/invoice-extraction/state/?environment=production").json()
    post(operator, "routes/invoice-extraction/fall-back/?environment=production", {"because": "outage"})
    fallen = operator.get("/api/v1/routes/invoice-extraction/state/?environment=production").json()
    post(operator, "routes/invoice-extraction/restore/?environment=production", {"because": "over"})
    restored = operator.get("/api/v1/routes/invoice-extraction/state/?environment=production").json()

    assert (before["weights"], before["share"], before["next_share"]) == (
        {"gpt-4.1": 90.0, "gpt-5": 0.0, "flash-lite": 10.0}, 10, 50,
    )  # fmt: skip
    assert (fallen["state"], fallen["switch"]) == ("On fallback", "fallback")
    assert restored["state"] in ("Paused", "Unprotected")


def test_approvals_are_listed_and_answered(operator, ada, a_route, now):
    plan = PLAN | {"stages": [{"share": 10}, {"share": 50, "approval": True}], "guardrails": []}
    rollout = post(operator, "rollouts/", plan).json()
    post(operator, f"rollouts/{rollout['id']}/start/")
    services.tick(now=now + timedelta(seconds=10))
    (question,) = client_of(ada).get("/api/v1/approvals/?environment=production&state=waiting").json()["results"]

    answer = post(client_of(ada), f"approvals/{question['id']}/reject/", {"because": "not on Friday"})

    assert (question["stage"], question["asked_by"], question["rollout"]) == (1, "alice", rollout["id"])
    assert answer.json()["state"] == "rejected"
    assert operator.get(f"/api/v1/rollouts/{rollout['id']}/").json()["state"] == "paused"


def test_a_rollback_plan_is_there_before_anything_moves(operator, a_route, now):
    see_traffic(now, n=100, variant="gpt-4.1", cost="0.001", assigned_by="default")
    post(operator, "rollouts/", PLAN)
    (plan,) = operator.get("/api/v1/rollback-plans/?environment=production").json()["results"]

    changed = operator.patch(
        f"/api/v1/rollback-plans/{plan['id']}/", {"target": "fallback", "because": "cheaper"}, format="json"
    ).json()

    costs = {cost["target"]: cost["usd_per_hour"] for cost in plan["costs_per_hour"]}
    assert (costs["now"], costs["baseline"], costs["fallback"]) == (
        "1.200000",
        "1.200000",
        None,
    )  # five minutes by twelve
    assert plan["steps"][:2] == ["freeze_ramp", "set_candidate_to_0"]
    assert (changed["target"], changed["revision"], changed["steps"][1]) == ("fallback", 2, "switch_to_fallback")


def test_what_was_measured(operator, started, now):
    see_traffic(now, n=100, variant="gpt-4.1", latency_ms=420, cost="0.0184")
    path = "/api/v1/routes/invoice-extraction/measured/"

    (row,) = operator.get(
        path,
        {
            "environment": "production",
            "from": (now - timedelta(hours=1)).isoformat(),
            "to": (now + timedelta(hours=1)).isoformat(),
        },
    ).json()

    assert (row["variant"], row["requests"], row["cost_per_1k_usd"]) == ("gpt-4.1", 100, "18.400000")
    assert row["p50_ms"] == pytest.approx(420, rel=0.03)


def test_the_flag_says_which_trial_it_serves(started):
    assert flags.route("production", "invoice-extraction").held_by == f"rollout {started['id']}"
