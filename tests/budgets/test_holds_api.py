import pytest

from apps.access import services as access
from apps.budgets import ledger
from apps.budgets.models import Hold
from tests.budgets.make_rows import ALICE, ROUTE
from tests.budgets.test_holds import broken, make_cap

pytestmark = pytest.mark.django_db
HOLDS = "/api/v1/budgets/holds/"
CALL = {"route": ROUTE, "provider": "openai", "model": "gpt-4.1"}


@pytest.fixture
def service(client, environment, now, time_machine):
    time_machine.move_to(now)
    _, secret = access.create_key(environment=environment, name="edge", scopes=["telemetry:write"], by=ALICE, now=now)

    headers = {"Authorization": f"Bearer {secret}"}

    def post(address, **body):
        return client.post(address, body, content_type="application/json", headers=headers)

    post.get = lambda address: client.get(address, headers=headers)
    return post


def test_a_service_reserves_and_settles_with_the_key_that_reports_its_calls(service, now):
    make_cap(now)

    held = service(HOLDS, hold="h-1", scope=CALL, usd="0.02")
    again = service(HOLDS, hold="h-1", scope=CALL, usd="0.02")
    more = service(f"{HOLDS}h-1/extend/", usd="0.05")
    settled = service(f"{HOLDS}h-1/settle/", usd="0.013")

    assert (held.status_code, held.json()["state"], held.json()["usd"]) == (201, "open", "0.020000")
    assert held.json()["caps"][0]["on_unreachable"] == "closed"
    assert again.status_code == 200
    assert more.json()["usd"] == "0.050000"
    assert (settled.status_code, settled.json()["settled_usd"]) == (200, "0.013000")
    assert Hold.objects.get().owner == "key:edge"


def test_a_hold_may_have_any_name(service, now):
    make_cap(now)
    service(HOLDS, hold="batch/7?a", scope=CALL, usd="0.02")
    named = f"{HOLDS}batch%2F7%3Fa/"

    assert service(f"{named}extend/", usd="0.03").json()["usd"] == "0.030000"
    assert service(f"{named}settle/", usd="0.01").json()["settled_usd"] == "0.010000"


def test_the_terms_tell_what_a_call_may_cost_and_which_caps_count_it(service, client, bob, charlie, now):
    from tests.rollouts.make_rollouts import make_route

    make_route(now)
    make_cap(now, scope={"model": "openai/gpt-4.1"}, on_unreachable="open")
    asked = f"{HOLDS}terms/?route={ROUTE}&variant=gpt-4.1"

    terms = service.get(asked).json()

    assert [(cap["on_unreachable"], cap["at_cap"]) for cap in terms["caps"]] == [("open", "finish")]
    assert terms["max_cost_usd"] == "0.02"
    assert terms["rates"] == [
        {
            "above": 0, "input_usd_per_million": "2", "cached_input_usd_per_million": "0.5",
            "cache_write_usd_per_million": "2", "cache_write_1h_usd_per_million": "2", "output_usd_per_million": "8",
            "request_usd": "0",
        }
    ]  # fmt: skip
    assert service.get(f"{asked}&service_tier=priority").json()["rates"][0]["input_usd_per_million"] == "3.5"
    assert service.get(f"{HOLDS}terms/?route={ROUTE}&variant=flash-lite").json()["caps"] == []
    for who, status in ((bob, 403), (charlie, 404)):
        client.force_login(who)
        assert client.get(f"{asked}&environment=production").status_code == status


def test_a_slice_is_room_for_many_calls(service, now):
    make_cap(now)

    held = service(HOLDS, hold="h-1", scope=CALL, usd="0.02", slice=True)
    again = service(HOLDS, hold="h-1", scope=CALL, usd="0.02", slice=True)

    assert (held.status_code, held.json()["usd"]) == (201, "0.400000")
    assert (again.status_code, again.json()["usd"]) == (200, "0.400000")


def test_a_cap_that_is_full_answers_429_with_everything_one_must_know(service, now):
    cap = make_cap(now)

    answer = service(HOLDS, hold="h-1", scope=CALL, usd="10.01")

    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["budget"]) == (429, "budget_exceeded", cap.id)
    assert {"spent_usd", "reserved_usd", "limit_usd", "left_usd", "period_to"} <= problem.keys()
    assert "Retry-After" not in answer


def test_a_database_that_is_gone_is_503_and_not_room(service, now, monkeypatch):
    make_cap(now)
    monkeypatch.setattr("apps.budgets.holding.reserve", broken)

    answer = service(HOLDS, hold="h-1", scope=CALL, usd="1")

    assert (answer.status_code, answer.json()["code"]) == (503, "budget_unverifiable")


def test_a_ledger_that_cannot_be_read_is_503(service, now, monkeypatch):
    make_cap(now)
    monkeypatch.setattr(ledger, "spent", broken)

    assert service(HOLDS, hold="h-1", scope=CALL, usd="1").status_code == 503


def test_spend_that_could_not_be_verified_is_told_afterwards(service, client, bob, now):
    cap = make_cap(now)

    answer = service(f"{HOLDS}u-1/settle/", usd="1", unverified=True, scope=CALL)

    assert (answer.status_code, answer.json()["state"]) == (200, "settled")
    assert service(f"{HOLDS}u-2/settle/", usd=None, unverified=True, scope=CALL).status_code == 400
    assert service(f"{HOLDS}u-3/settle/", usd="1").status_code == 404
    client.force_login(bob)
    assert client.get(f"/api/v1/budgets/{cap.id}/").json()["unverified_usd"] == "1.000000"
    assert "Spent without asking for room" in client.get(f"/budgets/{cap.id}/").content.decode()


def test_alice_may_hold_and_bob_and_charlie_may_not(client, alice, bob, charlie, environment, now):
    make_cap(now)
    body = {"environment": "production", "hold": "h-1", "scope": CALL, "usd": "1"}

    for user, status in ((alice, 201), (bob, 403), (charlie, 404)):
        client.force_login(user)
        assert client.post(HOLDS, body, content_type="application/json").status_code == status


def test_a_key_that_only_reads_flags_may_not(client, environment, now):
    _, secret = access.create_key(environment=environment, name="flags", scopes=["flags:read"], by=ALICE, now=now)

    answer = client.post(
        HOLDS,
        {"hold": "h-1", "scope": CALL, "usd": "1"},
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret}"},
    )

    assert answer.status_code in (403, 404)
