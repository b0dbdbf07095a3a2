"""Who may propose, who may approve, and what they see."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from rest_framework.test import APIClient

from apps.access import services as access
from apps.access.domain.roles import Role
from apps.access.models import Grant
from apps.catalog import price_lists, queries, shipped
from apps.catalog.domain.pricing import Rates
from apps.core.actors import WORKER

pytestmark = pytest.mark.django_db
FEW = [price for price in shipped.all_prices() if (price.provider, price.model) == ("openai", "gpt-5")]


@pytest.fixture(autouse=True)
def newer_library(monkeypatch, environment, now, time_machine):
    """The first list is in force, and a newer library is installed."""
    shipped.price_book()  # kept for others, before another library takes its place
    monkeypatch.setattr(shipped, "all_prices", lambda: iter(FEW))
    price_lists.keep_up(now=now)
    cheaper = [replace(one, rates=Rates(Decimal(1), Decimal(9))) for one in FEW if not one.service_tier]
    monkeypatch.setattr(shipped, "all_prices", lambda: iter(cheaper))
    time_machine.move_to(now + timedelta(hours=1))


def client_of(person):
    client = APIClient()
    client.force_login(person)
    return client


@pytest.fixture
def approver(alice, django_user_model):
    user = django_user_model.objects.create(username="ada")
    Grant.objects.create(user=user, environment=None, role=Role.APPROVER)
    return client_of(user)


def propose(client):
    return client.post("/api/v1/price-lists/", {"because": "A newer library."}, format="json")


def test_an_operator_proposes_and_everybody_sees_the_difference(alice, bob):
    made = propose(client_of(alice))
    shown = client_of(bob).get(f"/api/v1/price-lists/{made.json()['id']}/").json()

    assert made.status_code == 201
    assert (shown["state"], shown["proposed_by"]) == ("proposed", "alice")
    (one,) = shown["differences"]
    assert (one["kind"], one["model"], one["after"]) == ("changed", "gpt-5", ["1 in, 9 out"])
    assert "1.25 in, 10 out, 0.125 cached" in one["before"]
    assert [row["state"] for row in client_of(bob).get("/api/v1/price-lists/").json()["results"]] == [
        "proposed", "in_force",
    ]  # fmt: skip


def test_another_person_with_the_role_approves(alice, approver, now):
    id = propose(client_of(alice)).json()["id"]

    assert client_of(alice).post(f"/api/v1/price-lists/{id}/approve/").status_code == 403
    approved = approver.post(f"/api/v1/price-lists/{id}/approve/", {"because": "Checked."}, format="json")

    assert (approved.status_code, approved.json()["state"], approved.json()["word"]) == (200, "in_force", "Checked.")
    assert queries.price_book().find("openai", "gpt-5", now).rates.input == 1
    assert approver.post(f"/api/v1/price-lists/{id}/approve/").status_code == 409


def test_nobody_approves_an_own_proposal(approver):
    id = propose(approver).json()["id"]

    answer = approver.post(f"/api/v1/price-lists/{id}/approve/")

    assert (answer.status_code, answer.json()["code"]) == (403, "own_request")


def test_no_key_approves(alice, environment, now):
    id = propose(client_of(alice)).json()["id"]
    _, secret = access.create_key(environment=environment, name="ci", scopes=["manage:admin"], by=WORKER, now=now)

    answer = APIClient(headers={"authorization": f"Bearer {secret}"}).post(f"/api/v1/price-lists/{id}/approve/")

    assert answer.status_code == 403


def test_viewers_and_strangers_propose_nothing(bob, charlie):
    assert propose(client_of(bob)).status_code == 403
    assert propose(client_of(charlie)).status_code == 403


def test_a_rejected_list_changes_nothing(alice, approver, now):
    id = propose(client_of(alice)).json()["id"]

    assert approver.post(f"/api/v1/price-lists/{id}/reject/", {"because": "No."}, format="json").status_code == 200
    assert queries.price_book().find("openai", "gpt-5", now).rates.input == Decimal("1.25")
    assert approver.post(f"/api/v1/price-lists/{id}/burn/").status_code == 404
