"""The library's prices come in as a difference that waits until another person approves it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from apps.catalog import price_lists, queries, services, shipped
from apps.catalog.domain import differences
from apps.catalog.domain.pricing import Rates
from apps.catalog.models import Price, PriceList
from apps.catalog.services import NewPrice
from apps.core.actors import WORKER, key, person
from apps.core.refusals import Forbidden
from apps.journal.models import Entry

pytestmark = pytest.mark.django_db
ALICE, ADA = person("alice"), person("ada")
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


LIBRARY = [*shipped.all_prices()]
FEW = [price for price in LIBRARY if price.provider == "openai" and price.model.startswith(("gpt-4.1", "gpt-5"))]


@pytest.fixture(autouse=True)
def small_library(monkeypatch):
    shipped.price_book()  # kept for others, before another library takes its place
    monkeypatch.setattr(shipped, "all_prices", lambda: iter(FEW))


def newer(*, without=(), version="genai-prices 9.9.9"):
    """What a newer library could say: GPT-5 at half its price, one model more, some gone."""
    prices = [replace(price, source=version) for price in FEW if price.model not in without]
    halved = Rates(Decimal("0.625"), Decimal(5))
    prices = [replace(one, rates=halved) if (one.model, one.service_tier) == ("gpt-5", "") and one.provider == "openai"
              else one for one in prices]  # fmt: skip
    return [*prices, replace(prices[0], provider="openai", model="gpt-6", rates=Rates(Decimal(1), Decimal(2)))]


def propose(now, **fields):
    return price_lists.propose(by=ALICE, because="New models.", now=now, prices=newer(**fields))


def gpt_5(now):
    return queries.price_book().find("openai", "gpt-5", now).rates.input


def test_the_first_list_is_taken_in_whole_and_says_what_the_library_says(now, monkeypatch):
    monkeypatch.setattr(shipped, "all_prices", lambda: iter(LIBRARY))

    price_lists.keep_up(now=now)

    assert {view.model.key for view in queries.models()} >= {"openai/gpt-4.1", "openai/gpt-5"}
    book, library = queries.price_book(), shipped.price_book()
    assert PriceList.objects.in_force().source == shipped.source()
    assert {key: set(found) for key, found in book.by_model.items()} == {
        key: set(found) for key, found in library.by_model.items()
    }
    assert price_lists.keep_up(now=now) is None  # nothing is newer


def test_a_proposal_shows_its_difference_and_changes_nothing_yet(now):
    row = propose(now, without=["gpt-4.1-nano"])

    found = {(one.kind, one.provider, one.model): one for one in queries.difference(row, now)}
    assert found["changed", "openai", "gpt-5"].before == ("1.25 in, 10 out, 0.125 cached",)
    assert found["changed", "openai", "gpt-5"].after == ("0.625 in, 5 out",)
    assert found["new", "openai", "gpt-6"].after == ("1 in, 2 out",)
    assert ("gone", "openai", "gpt-4.1-nano") in found
    assert gpt_5(now) == Decimal("1.25")


def test_another_person_approves_and_calls_have_the_new_price_from_then_on(now):
    before = queries.price_version()
    row = propose(now, without=["gpt-4.1-nano"])

    price_lists.approve(id=row.id, by=ADA, now=now + timedelta(hours=1))

    assert gpt_5(now) == Decimal("0.625")
    assert queries.price_version() != before
    nano = queries.price_book()
    assert nano.find("openai", "gpt-4.1-nano", now - timedelta(days=1)) is not None  # its past has a price
    assert nano.find("openai", "gpt-4.1-nano", now + timedelta(hours=2)) is None
    assert [entry.kind for entry in Entry.objects.order_by("at", "id")] == [
        "prices.taken_in", "prices.proposed", "prices.approved",
    ]  # fmt: skip


def test_what_is_gone_stays_gone_without_being_told_again(now):
    price_lists.approve(id=propose(now, without=["gpt-4.1-nano"]).id, by=ADA, now=now)

    with pytest.raises(price_lists.NothingNew):
        propose(now + timedelta(days=1), without=["gpt-4.1-nano"])


@pytest.mark.parametrize(("who", "refusal"), [(ALICE, price_lists.OwnProposal), (key("ci"), Forbidden)])
def test_neither_who_proposed_it_nor_a_key_approves(who, refusal, now):
    row = propose(now)

    with pytest.raises(refusal):
        price_lists.approve(id=row.id, by=who, now=now)

    assert gpt_5(now) == Decimal("1.25")


def test_one_list_waits_at_a_time_and_is_decided_once(now):
    row = propose(now)
    with pytest.raises(price_lists.AnotherWaits):
        propose(now)

    price_lists.reject(id=row.id, by=ADA, because="Not yet.", now=now)

    with pytest.raises(price_lists.IsDecided):
        price_lists.approve(id=row.id, by=ADA, now=now)
    assert not Price.objects.filter(price_list=row).exists()
    assert propose(now).state == PriceList.State.PROPOSED


def test_the_worker_proposes_what_a_newer_library_says_once(now, monkeypatch):
    price_lists.keep_up(now=now)
    monkeypatch.setattr(shipped, "all_prices", lambda: iter(newer()))

    row = price_lists.keep_up(now=now)
    assert (row.proposed_by, row.state) == (str(WORKER), PriceList.State.PROPOSED)
    price_lists.reject(id=row.id, by=ADA, because="Not yet.", now=now)

    assert price_lists.keep_up(now=now) is None


def test_an_own_price_wins_over_every_list(now):
    services.ensure_contenders(now=now)
    own = NewPrice(valid_from=now, input=Decimal(1), output=Decimal(4))
    services.add_price(key="openai/gpt-5", price=own, by=ALICE, because="Our contract.", now=now)

    price_lists.approve(id=propose(now).id, by=ADA, now=now)

    assert gpt_5(now) == 1
    assert gpt_5(now - timedelta(days=1)) == Decimal("0.625")


def test_a_difference_has_words_for_every_kind_of_rate():
    sonnet = shipped.price_book().find("anthropic", "claude-sonnet-4-5", NOW)
    told = differences.line(sonnet)

    assert "3 in, 15 out, 0.3 cached, 3.75 cache write, 6 for 1 h" in told
    assert "above 200,000 tokens 6 in" in told


def test_a_price_that_took_anothers_place_in_the_table_is_seen(now):
    services.ensure_contenders(now=now)

    for amount in (1, 2):
        Price.objects.own().delete()
        own = NewPrice(valid_from=now, input=Decimal(amount), output=Decimal(4))
        services.add_price(key="openai/gpt-5", price=own, by=ALICE, because="", now=now)
        Price.objects.own().update(id=7)

        assert gpt_5(now) == amount
