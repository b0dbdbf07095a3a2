"""A price that was wrong or came late is applied by lines of its own."""

from datetime import timedelta
from decimal import Decimal

import pytest
from rest_framework.test import APIClient

from apps.access.domain.roles import Role
from apps.access.models import Grant
from apps.catalog import services as catalog
from apps.catalog.services import NewPrice
from apps.journal.models import Entry
from apps.telemetry import queries, repricing
from apps.telemetry.models import LedgerLine
from tests.telemetry.make_telemetry import ALICE, NOW, ROUTE, call, count, make_route, sent

pytestmark = pytest.mark.django_db
PERIOD = {"environment": "production", "since": NOW - timedelta(hours=1), "until": NOW}


@pytest.fixture(autouse=True)
def traffic(db):
    make_route(now=NOW - timedelta(days=1))
    unknown = {"provider": "acme", "model": "rocket-1", "variant": "gpt-4.1"}
    count(
        sent(
            *(call() for _ in range(3)), call(**unknown), call(**unknown, input_tokens=None, output_tokens=None),
            call(cost_usd="0.5"), call(provider="anthropic", model="claude-sonnet-4-5"),
        )
    )  # fmt: skip


def add_model(key, input, output):
    price = NewPrice(valid_from=NOW - timedelta(days=9), input=Decimal(input), output=Decimal(output))
    catalog.add_model(key=key, name=key, tier="general", by=ALICE, because="", now=NOW, prices=[price])


def spent(**where):
    return queries.spend("production", PERIOD["since"], NOW, where=where)[0]


def test_nothing_changes_while_prices_are_the_same():
    assert [change.left_out for change in repricing.preview(**PERIOD)] == [
        "its price depends on the size of the prompt"
    ]


def test_a_late_price_is_applied_to_calls_whose_tokens_are_known():
    add_model("acme/rocket-1", "10", "20")
    before = list(LedgerLine.objects.order_by("id").values())

    (change,) = [one for one in repricing.preview(**PERIOD) if one.provider == "acme"]
    assert (change.before_nano, change.after_nano, change.newly_priced) == (0, 1000 * 10_000 + 100 * 20_000, 1)
    assert LedgerLine.objects.count() == len(before)  # a preview writes nothing

    repricing.reprice(**PERIOD, by=ALICE, because="The price came late.", now=NOW)

    assert spent(model="rocket-1").confirmed_nano == 12_000_000
    assert spent(model="rocket-1").unpriced == 1  # of the other one nobody knows the tokens
    assert list(LedgerLine.objects.order_by("id").values())[: len(before)] == before  # no line was edited
    assert Entry.objects.get(kind="telemetry.repriced").after == 12_000_000


def test_another_price_moves_the_sum_and_doing_it_twice_adds_nothing():
    add_model("google/gemini-2.5-flash-lite", "0.2", "0.8")
    expected = 3 * (1000 * 200 + 100 * 800)

    for _ in range(2):
        repricing.reprice(**PERIOD, by=ALICE, because="", now=NOW)

    assert spent(route=ROUTE, model="gemini-2.5-flash-lite").confirmed_nano == expected + 500_000_000
    assert LedgerLine.objects.filter(rule="repriced").count() == 1
    assert spent(rule="sender").confirmed_nano == 500_000_000  # what a sender says its call cost stays


def test_anybody_who_sees_may_preview_and_only_an_admin_applies(alice, bob):
    add_model("acme/rocket-1", "10", "20")
    asked = {
        "environment": "production",
        "from": "2026-11-24T02:00:00Z",
        "to": "2026-11-24T03:00:00Z",
        "because": "Late.",
    }

    def post(person, **more):
        client = APIClient()
        client.force_login(person)
        return client.post("/api/v1/repricing/", asked | more, format="json")

    shown = post(bob)
    assert shown.status_code == 200
    assert [(one["model"], one["difference_usd"]) for one in shown.json()["changes"] if not one["left_out"]] == [
        ("rocket-1", "0.012000")
    ]
    assert post(alice, preview=False).status_code == 403
    Grant.objects.update(role=Role.ADMIN)
    assert post(alice, preview=False).status_code == 200
    assert spent(model="rocket-1").confirmed_nano == 12_000_000
