"""A provider's bill beside our own sums."""

from datetime import UTC, date, datetime, timedelta

import pytest
from rest_framework.test import APIClient

from apps.journal.models import Entry
from apps.telemetry import bills, queries
from apps.telemetry.domain import bills as reading
from apps.telemetry.models import BillLine, LedgerLine
from tests.telemetry.make_telemetry import ALICE, NOW, ROUTE, call, count, make_route, sent

pytestmark = pytest.mark.django_db
DAY = date(2026, 11, 24)
OURS = 1000 * 100 + 100 * 400  # nano-USD of an ordinary call on Flash-Lite
HEAD = "date,model,input_tokens,output_tokens,cost\n"


@pytest.fixture(autouse=True)
def traffic(db):
    make_route(now=NOW - timedelta(days=1))
    count(sent(*(call() for _ in range(1000)), call(error="timeout", input_tokens=None, output_tokens=None)))


def take(text, provider="google"):
    return bills.take_bill(environment="production", text=text, provider=provider, by=ALICE, because="", now=NOW)


def compared(now=NOW):
    return bills.compare("production", DAY, DAY + timedelta(days=1), now)


def test_bill_ours_and_difference_stand_side_by_side():
    take(f"{HEAD}2026-11-24,models/gemini-2.5-flash-lite,1001000,100100,0.14014\n")

    (one,) = compared()
    assert (one.provider, one.model, one.billed_nano) == ("google", "gemini-2.5-flash-lite", 140_140_000)
    assert (one.confirmed_nano, one.estimated_nano) == (1000 * OURS, OURS)
    assert (one.difference_nano, one.causes, one.is_large) == (0, [], False)
    assert LedgerLine.objects.filter(rule="bill").count() == 0  # a bill changes no line of ours


@pytest.mark.parametrize(("billed", "told"), [("gpt-4.1-2025-04-14", "gpt-4.1"), ("gpt-4.1", "gpt-4.1-2025-04-14")])
def test_a_model_and_its_dated_version_are_one_and_each_provider_has_its_own_bill(billed, told):
    for provider in ("openai", "azure"):
        count(sent(call(provider=provider, model=told, cost_usd="3")))
        take(f"{HEAD}2026-11-24,{billed},,,3\n", provider)

    assert [(one.provider, one.model, one.difference_nano) for one in compared()] == [
        ("azure", "gpt-4.1", 0),
        ("openai", "gpt-4.1", 0),
    ]


def test_a_difference_is_large_above_one_percent_once_the_day_is_final():
    take(f"{HEAD}2026-11-24,gemini-2.5-flash-lite,,,0.15\n")

    assert [(one.is_final, one.is_large) for one in compared()] == [(False, False)]
    (one,) = compared(NOW + timedelta(days=3))
    assert (one.is_final, one.is_large) == (True, True)
    assert one.causes[:3] == ["another time zone of the bill's days", "estimated calls", "traffic outside our keys"]


def test_a_corrected_bill_takes_the_place_of_the_first():
    for amount in ("0.10", "0.14"):
        take(f"{HEAD}2026-11-24,gemini-2.5-flash-lite,,,{amount}\n")

    assert [one.billed_nano for one in compared()] == [140_000_000]
    assert Entry.objects.filter(kind="telemetry.bill_imported").count() == 2


def test_spend_tells_what_was_reported_where_a_bill_can_say_it():
    take(f"{HEAD}2026-11-24,gemini-2.5-flash-lite,,,0.14\n2026-11-23,gemini-2.5-flash-lite,,,0.5\n")
    begin = datetime(2026, 11, 23, tzinfo=UTC)

    def reported(by, step="all"):
        rows = queries.spend("production", begin, begin + timedelta(days=2), by=by, step=step)
        return [row.reported_nano for row in rows]

    assert reported([]) == [640_000_000]
    assert reported(["provider"]) == [640_000_000]
    assert reported(["model"], "1d") == [140_000_000]
    assert reported(["route"]) == [None]  # no bill knows routes
    assert reported(["model"], "1h") == [None]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("model,cost\nx,1\n", "line 1: no column day"),
        (f"{HEAD}2026-11-24,x,,,1\nyesterday,x,,,1\n", "line 3"),
        (f"{HEAD}2026-11-24,x,,,much\n", "line 2"),
        (f"{HEAD}2026-11-24,x,,,NaN\n", "line 2: the amount is no amount of money"),
        (f"{HEAD}2026-11-24,,,,1\n", "line 2: which model"),
        (f"{HEAD}2026-11-24,x,,,\n", "line 2: the amount is no amount of money"),
        (f"{HEAD}\n2026-11-24,x,,,1,234.50\n", "line 3: more cells than columns"),
        (f'{HEAD}2026-11-24,x,,,"1,25"\n', "line 2: the amount is no amount of money"),  # a comma for a point
        (f"{HEAD}2026-11-24,x,1.5,,1\n", "line 2: tokens are a whole number"),
        (f"{HEAD}2026-11-24,x,-1,,1\n", "line 2: tokens are a whole number"),
        (f"{HEAD}2026-11-24,x,{10**30},,1\n", "line 2: tokens are a whole number"),
        (f"{HEAD}9999-12-31,x,,,1\n", "line 2: no bill is of the year 9999"),
        (f"{HEAD}2026-11-24,{'x' * 140_000},,,1\n", "line 2: field larger than field limit"),
        (HEAD + "2026-11-24,x,,,1000000000\n" * 2, "all lines together"),
        (HEAD, "no line tells of a day"),
    ],
)
def test_a_bill_with_a_fault_is_refused_whole_with_its_place(text, fault):
    with pytest.raises(reading.Unusable, match=fault):
        reading.read(text, "google")


def test_amounts_are_read_as_people_write_them():
    lines = reading.read('\ufeffDay,Provider,Model,Amount\n2026-11-24T00:00:00Z,openai,gpt-4.1,"$1,234.50"\n\n')

    assert [(line.amount_nano, line.provider) for line in lines] == [(1_234_500_000_000, "openai")]


def test_json_says_the_same_as_csv():
    csv = f"{HEAD}2026-11-24,gemini-2.5-flash-lite,1000,200,0.14\n2026-11-25,gemini-2.5-flash-lite,,,0.1\n"
    lines = (
        '[{"date": "2026-11-24", "model": "gemini-2.5-flash-lite", "input_tokens": 1000, "output_tokens": 200,'
        ' "cost": 0.14}, {"date": "2026-11-25", "model": "gemini-2.5-flash-lite", "cost": "0.1"}]'
    )

    assert reading.read(lines, "google") == reading.read(csv, "google")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"day": "2026-11-24"}', "a list of objects"),
        ("[1]", "a list of objects"),
        ("[{", "Expecting"),
        ('[{"day": "2026-11-24", "model": "x", "amount": 1}, {"day": "soon", "model": "x", "amount": 1}]', "line 2"),
        ('[{"day": "2026-11-24", "model": "x"}]', "no column amount"),
    ],
)
def test_a_fault_in_json_is_named_too(text, fault):
    with pytest.raises(reading.Unusable, match=fault):
        reading.read(text, "google")


def test_two_days_apart_alert_once_and_say_so_when_it_is_over():
    later = NOW + timedelta(days=5)
    two_days = f"{HEAD}2026-11-24,gemini-2.5-flash-lite,,,0.15\n2026-11-25,gemini-2.5-flash-lite,,,{{}}\n"

    take(two_days.format("0"))
    assert bills.watch(now=later) == []  # on the second day both say nothing
    take(two_days.format("0.1"))
    assert bills.watch(now=NOW + timedelta(days=2)) == []  # the second day is not final yet
    assert bills.watch(now=later) == ["google/gemini-2.5-flash-lite"]
    assert bills.watch(now=later) == []

    opened = Entry.objects.get(kind="telemetry.bill_differs")
    assert (opened.effect, opened.condition, opened.severity) == (
        "opens", "bill:google/gemini-2.5-flash-lite", "warning",
    )  # fmt: skip
    assert "more than 1 % apart on 2 days in a row. The usual causes: another time zone" in opened.sentence
    take(two_days.format("0"))
    assert bills.watch(now=later) == ["google/gemini-2.5-flash-lite"]
    assert Entry.objects.get(kind="telemetry.bill_agrees").effect == "closes"


def test_the_api_takes_a_bill_from_operators_and_shows_it_to_viewers(alice, bob):
    def client_of(person):
        client = APIClient()
        client.force_login(person)
        return client

    asked = {"environment": "production", "provider": "google", "because": "November",
             "csv": f"{HEAD}2026-11-24,gemini-2.5-flash-lite,,,0.15\n"}  # fmt: skip

    assert client_of(bob).post("/api/v1/bills/", asked, format="json").status_code == 403
    taken = client_of(alice).post("/api/v1/bills/", asked, format="json")
    bad = client_of(alice).post("/api/v1/bills/", asked | {"csv": "nothing"}, format="json")
    shown = client_of(bob).get("/api/v1/bills/?environment=production&from=2026-11-24&to=2026-11-25").json()["results"]

    lines = [{"day": "2026-11-24", "model": "gemini-2.5-flash-lite", "amount_usd": "0.15"}]
    twice = client_of(alice).post("/api/v1/bills/", asked | {"lines": lines}, format="json")
    assert twice.status_code == 400
    del asked["csv"]
    assert client_of(alice).post("/api/v1/bills/", asked | {"lines": lines}, format="json").status_code == 201
    assert (taken.status_code, taken.json()) == (201, {"lines": 1, "amount_usd": "0.150000"})
    assert (bad.status_code, "csv" in bad.json()["errors"]) == (400, True)
    assert [(row["billed_usd"], row["ours_usd"], row["difference_usd"]) for row in shown] == [
        ("0.150000", "0.140140", "-0.009860")
    ]
    assert queries.spend("production", NOW - timedelta(hours=1), NOW, where={"route": ROUTE})[0].calls == 1001


def put(*days, amount=1):
    for day in days:
        BillLine.objects.update_or_create(
            environment="production", provider="openai", model="gpt-4.1", day=day,
            defaults={"amount_nano": amount, "by": "x", "at": NOW},
        )  # fmt: skip


def told():
    entries = Entry.objects.filter(condition="bill:openai/gpt-4.1").order_by("at", "id")
    return [(entry.effect, entry.sentence) for entry in entries]


def test_two_days_of_a_bill_that_are_weeks_apart_are_not_in_a_row():
    put(date(2026, 11, 1), date(2026, 11, 20))

    assert bills.watch(now=NOW) == []


def test_an_alert_outlives_the_month_and_closes_once_its_day_is_corrected():
    put(date(2026, 11, 20), date(2026, 11, 21))
    bills.watch(now=NOW)

    assert bills.watch(now=NOW + timedelta(days=40)) == []  # no bill, no news
    put(date(2026, 11, 21), amount=0)
    bills.watch(now=NOW + timedelta(days=41))

    assert [effect for effect, _ in told()] == ["opens", "closes"]


def test_a_day_without_its_own_bill_does_not_end_it_and_a_week_of_bills_without_the_model_does():
    put(date(2026, 11, 20), date(2026, 11, 21))
    bills.watch(now=NOW)
    put(date(2026, 11, 23))
    assert bills.watch(now=NOW + timedelta(days=3)) == []

    other = {"environment": "production", "provider": "openai", "model": "gpt-5", "amount_nano": 0}
    BillLine.objects.create(**other, day=date(2026, 11, 30), by="x", at=NOW)
    bills.watch(now=NOW + timedelta(days=10))

    assert told()[1:] == [("closes", "Since 2026-11-23 no bill names openai/gpt-4.1, nor do calls of ours.")]
