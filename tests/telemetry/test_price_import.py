"""An import shows what it would change, in prices and in money, and waits."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
import time_machine
from django.core.management import call_command
from rest_framework.test import APIClient

from apps.catalog import price_lists, shipped
from apps.catalog.domain.pricing import Rates
from apps.catalog.models import PriceList
from apps.core.actors import WORKER
from tests.telemetry.make_telemetry import NOW, call, count, make_route, sent

pytestmark = pytest.mark.django_db
FLASH = next(
    price for price in shipped.all_prices() if price.model == "gemini-2.5-flash-lite" and not price.service_tier
)


@pytest.fixture(autouse=True)
def newer_library(db, monkeypatch):
    """A list is in force, and the installed library now says that Flash-Lite costs half."""
    with time_machine.travel(NOW, tick=False):
        make_route(now=NOW - timedelta(days=1))
        shipped.price_book()  # kept for others, before another library takes its place
        monkeypatch.setattr(shipped, "all_prices", lambda: iter([FLASH]))
        price_lists.keep_up(now=NOW)
        count(sent(*(call() for _ in range(4))))
        halved = replace(FLASH, rates=Rates(Decimal("0.05"), Decimal("0.2")))
        monkeypatch.setattr(shipped, "all_prices", lambda: iter([halved]))
        yield


def import_prices(*options):
    out = StringIO()
    call_command("import_prices", *options, stdout=out)
    return out.getvalue()


def test_a_dry_run_tells_the_difference_and_its_effect_and_changes_nothing():
    told = import_prices("--dry-run")

    assert "~ google/gemini-2.5-flash-lite  [4 calls in 30 days, -0.000280 USD]" in told
    assert "    was 0.1 in, 0.4 out, 0.01 cached\n    is  0.05 in, 0.2 out" in told
    assert PriceList.objects.count() == 1


def test_the_import_waits_until_somebody_approves_it():
    told = import_prices()

    row = PriceList.objects.waiting().get()
    assert f"{row.id} waits for approval" in told
    assert "0 models differ" not in told
    with pytest.raises(Exception, match="still waits"):
        import_prices()


def test_the_first_list_waits_for_nobody():
    PriceList.objects.all().delete()

    assert "is in force: the first list comes with the product." in import_prices()
    assert PriceList.objects.in_force() is not None


def test_nothing_new_is_no_fault(monkeypatch):
    monkeypatch.setattr(shipped, "all_prices", lambda: iter([FLASH]))

    assert "0 models differ from the list in force; 0.000000 USD" in import_prices()
    assert not PriceList.objects.waiting().exists()


def test_the_api_tells_the_effect_of_a_list_that_waits(bob):
    row = price_lists.propose(by=WORKER, because="", now=NOW)
    client = APIClient()
    client.force_login(bob)

    shown = client.get(f"/api/v1/price-lists/{row.id}/effect/").json()

    assert shown["difference_usd"] == "-0.000280"
    (change,) = shown["changes"]
    assert (change["model"], change["before_usd"], change["after_usd"]) == (
        "gemini-2.5-flash-lite", "0.000560", "0.000280",
    )  # fmt: skip


def test_calls_without_a_price_are_listed_by_model(bob):
    acme = {"provider": "acme", "model": "rocket-1"}
    count(sent(call(**acme), call(**acme), call(**acme, input_tokens=None, output_tokens=None)))
    client = APIClient()
    client.force_login(bob)

    (row,) = client.get("/api/v1/unpriced/?environment=production").json()["results"]

    assert row == {"provider": "acme", "model": "rocket-1", "calls": 3, "input_tokens": 2000, "output_tokens": 200}
