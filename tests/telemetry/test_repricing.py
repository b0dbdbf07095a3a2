"""A price that was wrong or came late is applied by lines of its own."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from rest_framework.test import APIClient

from apps.access.domain.roles import Role
from apps.access.models import Grant
from apps.catalog import services as catalog
from apps.catalog import shipped
from apps.catalog.domain.pricing import Price, Rates
from apps.catalog.services import NewPrice
from apps.journal.models import Entry
from apps.telemetry import queries, repricing
from apps.telemetry.domain import intake, otlp_json
from apps.telemetry.domain.batch import Batch
from apps.telemetry.models import LedgerLine
from apps.telemetry.services import Sent
from tests.telemetry.make_otlp import metrics, tokens
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


def add_model(key, input, output, **more):
    price = NewPrice(valid_from=NOW - timedelta(days=9), input=Decimal(input), output=Decimal(output), **more)
    catalog.add_model(key=key, name=key, tier="general", by=ALICE, because="", now=NOW, prices=[price])


def spent(**where):
    return queries.spend("production", PERIOD["since"], NOW, where=where)[0]


def reprice():
    return repricing.reprice(**PERIOD, by=ALICE, because="", now=NOW)


def test_nothing_changes_while_prices_are_the_same():
    assert repricing.preview(**PERIOD) == []


def test_windows_and_requests_cost_what_spend_says():
    catalog.ensure_contenders(now=NOW)
    new = NewPrice(valid_from=NOW - timedelta(days=9), input=Decimal(20), output=Decimal(80))
    catalog.add_price(key="google/gemini-2.5-flash-lite", price=new, by=ALICE, because="", now=NOW)
    add_model("acme/rocket-1", "3", "15")

    reprice()

    for step in ("10s", "1m", "1d", "all"):
        rows = queries.windows("production", ROUTE, PERIOD["since"], NOW, step)
        assert sum(row.cost_nano for row in rows) == spent(route=ROUTE).spent_nano
        assert sum(row.unpriced for row in rows) == spent(route=ROUTE).unpriced == 1
    costs = {one.variant: one for one in queries.costs_by_variant("production", [ROUTE], PERIOD["since"], NOW)[ROUTE]}
    assert costs["flash-lite"].cost_nano == spent(variant="flash-lite").spent_nano > 3 * 28_000_000
    assert costs["gpt-4.1"].priced == 0  # of requests that had no price on arrival nobody has the costs one by one


def test_requests_that_got_their_price_later_make_the_others_no_dearer():
    count(sent(call(provider="acme", model="rocket-1")))
    add_model("acme/rocket-1", "3", "15")

    reprice()

    costs = {one.variant: one for one in queries.costs_by_variant("production", [ROUTE], PERIOD["since"], NOW)[ROUTE]}
    found = spent(variant="flash-lite")
    assert (found.calls, found.unpriced, costs["flash-lite"].priced) == (6, 0, 5)
    assert costs["flash-lite"].cost_nano / 5 == pytest.approx(found.spent_nano / 6)


def test_calls_of_each_band_of_prompt_size_are_priced_again_by_theirs():
    sonnet = {"provider": "anthropic", "model": "claude-sonnet-4-5", "tag": "long", "output_tokens": 0}
    count(sent(*(call(**sonnet, input_tokens=n) for n in (150_000, 190_000, 200_001, 300_000, 400_000))))
    assert spent(tag="long").confirmed_nano == 340_000 * 3_000 + 900_001 * 6_000
    add_model("anthropic/claude-sonnet-4-5", "2", "15", above={200_000: Rates(Decimal(5), Decimal(20))})

    for _ in range(2):
        reprice()

    assert spent(tag="long").confirmed_nano == 340_000 * 2_000 + 900_001 * 5_000


def test_where_bands_are_new_only_what_surely_is_in_one_is_priced_again():
    """Of three calls, two of them in one sum, nobody knows how large each was."""
    add_model("google/gemini-2.5-flash-lite", "1", "4", above={500: Rates(Decimal(2), Decimal(8))})

    (change,) = repricing.preview(**PERIOD)

    assert (change.left_out_calls, change.difference_nano) == (3, 0)
    assert change.left_out.startswith("sums of calls do not tell")
    catalog.add_price(
        key="google/gemini-2.5-flash-lite", by=ALICE, because="", now=NOW,
        price=NewPrice(valid_from=NOW - timedelta(days=8), input=Decimal(1), output=Decimal(4),
                       above={5_000: Rates(Decimal(2), Decimal(8))}),
    )  # fmt: skip
    assert repricing.preview(**PERIOD)[0].after_nano == 3 * (1000 * 1000 + 100 * 4000)  # all below the first edge


def test_estimates_are_priced_again_by_the_tokens_that_were_assumed():
    count(sent(*(call(tag="slow", error="timeout", output_tokens=None, cached_input_tokens=900) for _ in range(2))))
    assert spent(tag="slow").estimated_nano == 2 * (1000 * 100 + 100 * 400)
    add_model("google/gemini-2.5-flash-lite", "0.2", "0.8")

    for _ in range(2):
        reprice()

    assert (spent(tag="slow").estimated_nano, spent(tag="slow").confirmed_nano) == (2 * (1000 * 200 + 100 * 800), 0)
    assert spent(rule="repriced_estimate").estimated_nano == 2 * (1000 * 100 + 100 * 400)


def test_a_fee_a_request_and_what_was_written_to_a_cache_are_priced_again():
    acme = {"provider": "acme", "model": "cacher", "tag": "cache"}
    count(sent(*(call(**acme, cache_write_tokens=300, cache_write_1h_tokens=100) for _ in range(3))))
    add_model("acme/cacher", "1", "0", cache_write=Decimal(2), cache_write_1h=Decimal(4), per_request=Decimal("0.01"))

    reprice()

    assert spent(tag="cache").confirmed_nano == 3 * (700 * 1000 + 200 * 2000 + 100 * 4000 + 10_000_000)


def test_service_tiers_are_priced_again_by_theirs():
    gpt = {"provider": "openai", "model": "gpt-5", "tag": "tiers", "output_tokens": 0}
    count(sent(call(**gpt, service_tier="flex"), call(**gpt, service_tier="default")))
    assert spent(tag="tiers").confirmed_nano == 1000 * 625 + 1000 * 1250

    add_model("openai/gpt-5", "3", "15")  # a standard price of our own: flex stays as it is
    reprice()

    assert spent(tag="tiers").confirmed_nano == 1000 * 625 + 1000 * 3000


def test_the_effect_of_a_list_is_told_before_anybody_approves_it():
    halved = [
        replace(price, rates=Rates(Decimal("0.05"), Decimal("0.2")))
        if price.model == "gemini-2.5-flash-lite"
        else price
        for price in shipped.all_prices()
        if price.model != "claude-sonnet-4-5"
    ]
    rocket = Price("acme", "rocket-1", NOW - timedelta(days=60), Rates(Decimal(10), Decimal(20)))

    changes = {change.model: change for change in repricing.effect([*halved, rocket], NOW)}

    flash, new = changes["gemini-2.5-flash-lite"], changes["rocket-1"]
    assert (flash.before_nano, flash.after_nano, flash.calls) == (3 * 140_000, 3 * 70_000, 3)
    assert (new.before_nano, new.after_nano, new.newly_priced) == (0, 12_000_000, 1)
    assert spent(model="gemini-2.5-flash-lite", rule="price_book").confirmed_nano == 3 * 140_000  # nothing is written


def test_a_late_price_is_applied_to_calls_whose_tokens_are_known():
    add_model("acme/rocket-1", "10", "20")
    before = list(LedgerLine.objects.order_by("id").values())

    (change,) = [one for one in repricing.preview(**PERIOD) if one.provider == "acme"]
    assert (change.before_nano, change.after_nano, change.newly_priced) == (0, 1000 * 10_000 + 100 * 20_000, 1)
    assert LedgerLine.objects.count() == len(before)  # a preview writes nothing

    repricing.reprice(**PERIOD, by=ALICE, because="The price came late.", now=NOW)

    assert spent(model="rocket-1").confirmed_nano == 12_000_000
    assert spent(model="rocket-1").unpriced == 1  # of the other one nobody knows the tokens
    (left,) = queries.unpriced("production", PERIOD["since"], PERIOD["until"])
    assert (left.calls, left.input_tokens, left.output_tokens) == (1, 0, 0)
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


def test_money_that_only_metrics_tell_of_is_priced_again():
    points = [
        tokens("input", 1000, seconds_ago=30, temporality=1),
        tokens("output", 100, seconds_ago=30, temporality=1),
    ]
    body = otlp_json.read_metrics(metrics(*points))
    told = intake.of_body(body, environment="production", now=int(NOW.timestamp() * 10**9))
    count(Sent("production", Batch("metrics-1", [], [], None, []), told))
    assert spent(rule="metric").confirmed_nano == 1000 * 2000 + 100 * 8000
    add_model("openai/gpt-4.1", "1", "4")

    for _ in range(2):
        reprice()

    assert spent(model="gpt-4.1").confirmed_nano == 1000 * 1000 + 100 * 4000
