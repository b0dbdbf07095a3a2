"""Prices: what models cost, what has no price, and a list that waits until another person approves it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from apps.access.domain.roles import Role
from apps.access.models import Grant
from apps.catalog import price_lists, queries, services, shipped
from apps.catalog.domain.pricing import Rates
from apps.catalog.models import PriceList
from apps.core.actors import WORKER
from apps.telemetry import bills
from tests.telemetry.make_telemetry import call, count, make_route, sent

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
KNOWN = [
    price
    for price in shipped.all_prices()
    if price.model in ("gpt-5", "gpt-4.1") or (price.model == "gemini-2.5-flash-lite" and not price.service_tier)
]


@pytest.fixture(autouse=True)
def newer_library(environment, monkeypatch):
    """A list is in force; the library that is installed now halves Flash-Lite and knows GPT-5 no more."""
    monkeypatch.setattr("django.utils.timezone.now", lambda: NOW)
    shipped.price_book()  # kept for others, before another library takes its place
    monkeypatch.setattr(shipped, "all_prices", lambda: iter(KNOWN))
    services.ensure_contenders(now=NOW)
    price_lists.keep_up(now=NOW)
    make_route(now=NOW - timedelta(days=1))
    count(sent(call(), call(), call(provider="acme", model="rocket-1")))
    halved = Rates(Decimal("0.05"), Decimal("0.2"))
    newer = [replace(one, rates=halved) if one.model == "gemini-2.5-flash-lite" else one for one in KNOWN]
    monkeypatch.setattr(shipped, "all_prices", lambda: iter([one for one in newer if one.model != "gpt-5"]))


@pytest.fixture
def ada(django_user_model):
    user = django_user_model.objects.create(username="ada")
    Grant.objects.create(user=user, environment=None, role=Role.APPROVER)
    return user


def proposed(client, alice):
    client.force_login(alice)
    answer = client.post(reverse("price-import"))
    return PriceList.objects.waiting().get(), answer


def test_everybody_sees_what_models_cost_and_what_has_no_price(client, bob):
    client.force_login(bob)

    shown = client.get(reverse("prices"))

    rows = {row.key: row for row in shown.context["models"]}
    assert rows["openai/gpt-5"].prices == ("1.25 in, 10 out, 0.125 cached",)
    assert rows["openai/gpt-5"].others > 0
    assert [(row.model, row.calls, row.tokens) for row in shown.context["unpriced"]] == [
        ("acme/rocket-1", "1", "1,100")
    ]
    assert "In the last 30 days 1 call had no price." in shown.context["summary"].replace("\u00a0", " ")
    assert reverse("price-import") not in shown.content.decode()


def test_a_bill_stands_beside_our_own_sum(client, bob):
    text = "day,model,amount\n2026-11-20,gpt-4.1,2\n2026-11-24,gemini-2.5-flash-lite,0.00028\n"
    bills.take_bill(environment="production", text=text, provider="openai", by=WORKER, because="", now=NOW)
    client.force_login(bob)

    newest, oldest = client.get(reverse("prices")).context["bills"]

    assert (oldest.model, oldest.billed, oldest.is_final, oldest.tone) == ("openai/gpt-4.1", "$2.00", True, "warn")
    assert oldest.causes.startswith("another time zone of the bill's days, traffic outside our keys")
    assert (newest.is_final, newest.tone) == (False, "")


def test_a_stranger_sees_nothing(client, charlie):
    client.force_login(charlie)

    assert client.get(reverse("prices")).status_code == 403


def test_an_operator_proposes_and_sees_the_effect_in_usd(client, alice):
    row, answer = proposed(client, alice)

    page = client.get(answer.url)
    shown = {one.model: one for one in page.context["rows"]}

    assert answer.url == reverse("price-list", args=[row.id])
    flash = shown["google/gemini-2.5-flash-lite"]
    assert (flash.kind, flash.before, flash.after) == (
        "Changed",
        ("0.1 in, 0.4 out, 0.01 cached",),
        ("0.05 in, 0.2 out",),
    )
    assert (flash.calls, flash.effect) == ("2", "\u2212$0.00014")
    assert shown["openai/gpt-5"].kind == "Gone"
    assert "2 calls would have cost $0.00014 less." in page.context["effect"].replace("\u00a0", " ")
    assert page.context["acts"] == {"approve": False, "reject": False, "withdraw": True}
    assert "another person approves it" in page.context["why_not"]


def test_another_person_approves(client, alice, ada):
    row, _ = proposed(client, alice)
    url = reverse("price-list-act", args=[row.id, "approve"])
    assert client.post(url).status_code == 403

    client.force_login(ada)
    assert client.get(reverse("price-list", args=[row.id])).context["acts"]["approve"]
    answer = client.post(url, {"because": "Checked."})

    assert answer.status_code == 302
    assert queries.price_book().find("google", "gemini-2.5-flash-lite", NOW).rates.input == Decimal("0.05")
    assert client.post(url).status_code == 409


def test_a_rejection_says_why(client, alice, ada):
    row, _ = proposed(client, alice)
    client.force_login(ada)
    url = reverse("price-list-act", args=[row.id, "reject"])

    assert client.post(url).status_code == 400
    assert client.post(url, {"because": "Flash-Lite is wrong."}).status_code == 302
    assert client.get(reverse("price-list", args=[row.id])).context["row"].word == "Rejected"


def test_a_get_acts_on_nothing(client, alice, ada):
    row, _ = proposed(client, alice)
    client.force_login(ada)

    client.get(reverse("price-list-act", args=[row.id, "approve"]))
    client.get(reverse("price-import"))

    assert PriceList.objects.waiting().count() == 1


def bill_file(text: str | bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile("bill.csv", text.encode() if isinstance(text, str) else text)


def test_an_operator_imports_a_bill_and_a_viewer_is_told_who_may(client, alice, bob):
    asked = {"provider": "openai", "because": "November"}
    client.force_login(bob)
    viewed = client.get(reverse("prices")).content.decode()
    assert reverse("bill-take") not in viewed
    assert "alice can do this." in viewed.split('id="bills"')[1]
    refused = client.post(reverse("bill-take"), asked | {"file": bill_file("day,model,amount\n2026-11-20,gpt-4.1,2\n")})
    assert refused.status_code == 403
    client.force_login(alice)

    for _ in range(2):  # a double press replaces itself
        answer = client.post(
            reverse("bill-take"), asked | {"file": bill_file("day,model,amount\n2026-11-20,gpt-4.1,2\n")}
        )
        assert answer["Location"] == f"{reverse('prices')}#bills"

    (row,) = client.get(reverse("prices")).context["bills"]
    assert (row.model, row.billed) == ("openai/gpt-4.1", "$2.00")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "Choose the file of the bill."),
        ("day,model\n2026-11-20,gpt-4.1\n", "line 1: no column amount"),
        ("day,model,amount\n2026-11-20,gpt-4.1,much\n", "line 2: "),
        (b"\xff\xfe\x00", "This is no text in UTF-8."),
        ("day,model,amount\n2026-11-20,gpt\0,1\n", "This is no text."),
    ],
)
def test_a_bill_that_cannot_be_read_says_why_beside_the_file_and_keeps_the_rest(content, words, client, alice):
    client.force_login(alice)
    asked = {"provider": "openai", "because": "November"} | ({"file": bill_file(content)} if content else {})

    answer = client.post(reverse("bill-take"), asked)

    shown = answer.content.decode()
    assert answer.status_code == 422
    assert words in shown.split('id="file-error"')[1].split("</p>")[0]
    assert 'value="openai"' in shown and 'value="November"' in shown
    assert answer.context["bills"] == []
