"""Budgets: the pages, and what they say when there is too little."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse

from apps.budgets import services as budgets
from apps.budgets.models import Budget
from apps.telemetry import queries as telemetry
from apps.telemetry.models import LedgerLine
from tests.budgets.make_rows import line, spend
from tests.console.make_money import KEY, make_budget, money
from tests.rollouts.make_rollouts import make_route

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def budget(environment):
    return money(NOW)


def text(answer) -> str:
    return answer.content.decode().replace("\u00a0", " ")


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_operator_and_viewer_see_budgets(who, budget, client, request):
    client.force_login(request.getfixturevalue(who))

    for path in (reverse("budgets"), reverse("budget", args=[budget.id])):
        answer = client.get(path)

        assert answer.status_code == 200
        assert KEY in text(answer)


def test_a_stranger_sees_no_budget(budget, client, charlie):
    client.force_login(charlie)

    for path in (reverse("budgets"), reverse("budget", args=[budget.id]), reverse("budget-edit", args=[budget.id])):
        answer = client.get(path)

        assert answer.status_code in (403, 404)
        assert KEY not in text(answer)


def test_a_budget_of_another_environment_is_not_found(budget, client, alice):
    client.force_login(alice)
    Budget.objects.filter(pk=budget.id).update(environment="elsewhere")

    assert client.get(reverse("budget", args=[budget.id])).status_code == 404


def test_the_worst_budget_stands_first_and_is_drawn(budget, client, alice):
    client.force_login(alice)

    shown = client.get(reverse("budgets")).context

    assert next(row.name for row in shown["rows"]) == "support-triage"
    assert shown["rows"][0].state == "exceeded"
    assert shown["budget"].name == "support-triage"


def test_where_a_rollout_runs_two_ways_on_are_drawn_and_every_target_has_its_price(budget, client, alice):
    client.force_login(alice)

    shown = client.get(reverse("budget", args=[budget.id])).context["budget"]

    assert [one.name for one in shown.chart.series if one.kind == "forecast"] == ["Plan goes on", "Rolled back now"]
    assert "100 % GPT-4.1" in [hour.name.replace("\u00a0", " ") for hour in shown.hours]


def test_confirmed_and_estimated_stand_in_columns_of_their_own(budget, client, alice):
    client.force_login(alice)

    shown = client.get(reverse("budget", args=[budget.id])).context["budget"]

    assert shown.total.estimated == "$2.50"
    assert "estimated" not in shown.total.confirmed
    assert shown.billed == []


def test_calls_without_a_price_are_counted_and_listed(budget, client, alice):
    client.force_login(alice)

    shown = client.get(reverse("budget", args=[budget.id])).context["budget"]

    assert [(row.model, row.unpriced) for row in shown.unpriced] == [("openai/o9-preview", "40")]
    assert "never for free" in shown.unpriced_note


def test_too_little_spend_says_why_there_is_no_forecast(environment, client, alice):
    client.force_login(alice)
    spend(NOW - timedelta(hours=14), 3.0)
    budget = make_budget(NOW - DAY, 100)
    budgets.judge_money(now=NOW)

    answer = client.get(reverse("budget", args=[budget.id]))

    assert "No forecast yet. It needs 3 days of spend" in text(answer)


def test_a_viewer_may_not_edit_and_is_told_who_may(budget, client, alice, bob):
    client.force_login(bob)

    page = client.get(reverse("budget", args=[budget.id]))
    refused = client.post(reverse("budget-edit", args=[budget.id]), {"limit": "1", "revision": "1", "press": "save"})

    assert "alice can do this." in text(page)
    assert refused.status_code == 403
    assert Budget.objects.get(pk=budget.id).limit_nano == 22_000 * 10**9


def test_the_page_says_when_money_is_gone_at_the_present_rate(environment, client, bob):
    row = make_budget(NOW - 20 * DAY, 60, {}, period="day", thresholds=[{"forecast": 1.0, "do": "alert"}])
    for minute in range(1, 31):
        spend(NOW - timedelta(minutes=minute), 1.0)
    budgets.judge_money(now=NOW)

    client.force_login(bob)
    shown = text(client.get(reverse("budget", args=[row.id])))

    assert re.search(r"Gone at the rate of the last 15 minutes</dt><dd class=\"danger\">24 Nov 03:30", shown)
    assert "lasts 2 h" in shown
    assert "Soon gone" in text(client.get(reverse("budgets")))


def test_without_any_budget_the_page_says_what_one_is_for(environment, client, alice):
    client.force_login(alice)

    assert "No budget is set." in text(client.get(reverse("budgets")))


def test_a_month_that_is_over_is_shown_as_it_ended(budget, client, alice):
    client.force_login(alice)
    october = f"{reverse('budget', args=[budget.id])}?month=2026-10"

    now, past = text(client.get(reverse("budgets"))), text(client.get(october))

    assert "November 2026" in now
    assert 'href="?month=2026-10"' in now
    assert "Spent in October 2026" in past
    assert "the limit as it is now" in past
    assert "Forecast for" not in past
    assert "What one hour costs" not in past
    (spent,) = telemetry.spend(
        "production", datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC), where={"route": KEY}
    )
    assert f"spent ${spent.spent_nano / 1e9:,.2f} of $22,000.00 in October 2026" in past
    assert "this month" not in past


def test_a_month_that_nobody_has_is_the_present_one(budget, client, alice):
    client.force_login(alice)

    for asked in ("1999-01", "yesterday", "2026-12"):
        assert "Forecast for 30 November" in text(client.get(reverse("budgets"), {"month": asked}))


def test_a_page_tells_what_staying_on_the_old_model_would_have_cost(environment, client, alice):
    make_route(NOW - DAY, key=KEY)
    spend(NOW - 5 * HOUR, 20.0, calls=1000, variant="gpt-4.1")
    spend(NOW - 4 * HOUR, 2.0, calls=2000, variant="flash-lite", model="gemini-2.5-flash-lite", provider="google")
    spend(NOW - 3 * HOUR, 3.0, calls=100, variant="gpt-5", model="gpt-5", arm="shadow")
    budget = make_budget(NOW - DAY, 100)
    client.force_login(alice)

    page = text(client.get(reverse("budget", args=[budget.id])))

    assert "Staying on GPT-4.1 would have cost $35.00 more: 58 %." in page
    assert "at what its own calls cost" in page
    rows = page.split('class="table is-tight falls"')[1].split("</table>")[0].split("<tr>")[2:]
    assert [re.sub(r"(<[^>]*>)+", "|", row).strip("| \n") for row in rows] == [
        "All on |GPT-4.1|3,000|$60.00",
        "Gemini 2.5 Flash-Lite|2,000|\u2212$38.00",
        "GPT-5|, shadow|100|+$3.00",
        "Spent|$25.00",
    ]


def test_where_nothing_moved_there_is_nothing_to_compare(environment, client, alice):
    make_route(NOW - DAY, key=KEY)
    spend(NOW - 5 * HOUR, 20.0, variant="gpt-4.1")
    budget = make_budget(NOW - DAY, 100)
    client.force_login(alice)

    assert "From the old model" not in text(client.get(reverse("budget", args=[budget.id])))


def test_days_of_a_budget_by_the_clock_of_tokyo_are_named_as_there(environment, client, bob):
    row = make_budget(NOW - 20 * DAY, 100, timezone="Asia/Tokyo")
    spend(datetime(2026, 11, 22, 20, tzinfo=UTC), 7, route=KEY)  # five in the morning of the 23rd

    client.force_login(bob)
    shown = text(client.get(reverse("budget", args=[row.id])))

    assert re.findall(r"<td>(\d+ Nov)</td>\s*<td[^>]*>\$7.00", shown) == ["23 Nov"]
    assert "its days are those of Asia/Tokyo, moments are in UTC" in shown
    assert "calendar month in Asia/Tokyo" in shown


def test_each_sum_is_the_same_in_the_list_on_the_route_in_the_month_and_in_the_api(environment, client, alice):
    make_route(NOW - DAY, key=KEY)
    spend(NOW - 5 * HOUR, 1234.567891, calls=1000, variant="gpt-4.1")
    budget = make_budget(NOW - DAY, 2_000)
    client.force_login(alice)

    api = client.get("/api/v1/spend/", {"environment": "production", "from": "2026-11-01T00:00:00Z",
                                        "to": "2026-12-01T00:00:00Z", "by": "route", "step": "all"})  # fmt: skip
    judged = client.get(f"/api/v1/budgets/{budget.id}/").json()
    listed = text(client.get(reverse("budgets")))
    route = text(client.get(reverse("route", args=[KEY])))

    (row,) = api.json()["results"]
    exact = f'<data value="{row["cost_usd"]}" title="${row["cost_usd"]}">$1,235</data>'
    assert row["cost_usd"] == judged["spent_usd"] == "1234.567891"
    assert listed.split('id="budgets"')[1].split('id="spend"')[0].count(exact) == 1
    assert listed.split('id="spend"')[1].count(exact) == 1
    assert exact in route.split('id="budget"')[1]


def test_without_a_budget_the_page_still_says_where_the_money_went(environment, client, bob):
    spend(NOW - HOUR, 3.0, calls=10, route="support-triage", variant="gpt-4.1")
    spend(NOW - HOUR, 1.0, calls=20, route="", estimated=0.5)
    client.force_login(bob)

    by_route = client.get(reverse("budgets")).context["spend"]
    by_arm = client.get(reverse("budgets"), {"by": "arm"}).context["spend"]

    assert [(row.name, row.calls, row.share) for row in by_route.lines] == [
        ("support-triage", "10", "67\u00a0%"),
        ("no route", "20", "33\u00a0%"),
        ("All", "30", "100\u00a0%"),
    ]
    assert [(row.name, row.estimated) for row in by_arm.lines] == [("live", "$0.50")]
    assert client.get(reverse("budgets"), {"by": "password"}).context["spend"].by == "route"


def test_hundreds_of_routes_are_five_and_twenty_and_the_rest(environment, client, bob):
    LedgerLine.objects.bulk_create(line(NOW - HOUR, 1 + n / 100, route=f"route-{n:03}") for n in range(40))
    client.force_login(bob)

    lines = client.get(reverse("budgets")).context["spend"].lines

    assert len(lines) == 27
    assert lines[0].name == "route-039"
    assert lines[25].name == "15 more"


def test_what_calls_without_a_price_are_taken_for_is_told_wherever_it_is_part_of_a_sum(budget, client, alice):
    client.force_login(alice)
    shown = client.get(reverse("budget", args=[budget.id])).context
    verdict = next(row for row in shown["rows"] if row.is_current)
    (assumed,) = [pair.value for pair in shown["budget"].pairs if pair.name.startswith("Of it assumed")]
    route = client.get(reverse("route", args=[KEY])).context["route"]

    assert verdict.unpriced == f"40 without a price, taken for {assumed}"
    assert f"{assumed} of it is assumed for 40 calls without a price." in route.budget.note
    spent = shown["budget"].chart.series[0]
    assert f">{spent.told}<" in verdict.spent or not spent.told
    assert f"{spent.points[-1][1]:.6f}" in verdict.spent


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({"scope": 7}, "A scope names values"),
        ({"period": "fortnight"}, "fortnight is no period"),
        ({"timezone": "Mars/Base"}, "no time zone that is known here"),
        ({"thresholds": [{"at": "x"}]}, "at is a number above 0"),
    ],
)
def test_a_budget_that_cannot_be_read_says_why_and_can_be_ended(client, alice, budget, broken, why):
    Budget.objects.filter(pk=budget.pk).update(**broken)
    client.force_login(alice)
    here = reverse("budget", args=[budget.pk])

    page, listed = client.get(here), client.get(reverse("budgets"))
    edit, end = client.get(f"{here}edit/"), client.get(f"{here}end/")
    ended = client.post(f"{here}end/")

    assert (page.status_code, why in page.content.decode()) == (200, True)
    assert (listed.status_code, here in listed.content.decode()) == (200, True)
    assert (edit.url, why in end.content.decode(), ended.status_code) == (here, True, 302)
    assert not Budget.objects.in_force().filter(pk=budget.pk).exists()
