"""Spend that is reported after its period was over is told, and acts on nothing."""

from datetime import timedelta

import pytest

from apps.budgets import lateness, services
from apps.budgets.models import Budget
from apps.journal.models import Entry
from tests.budgets.make_rows import ALICE, ROUTE, spend
from tests.budgets.test_budgets_judge_money import make_budget

pytestmark = pytest.mark.django_db
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def midnight(now):
    return now.replace(hour=0)


def told(budget):
    found = Entry.objects.filter(condition__startswith=f"budget:{budget.id}:late:").order_by("at", "id")
    return [(entry.effect, entry.severity, entry.sentence) for entry in found]


def test_spend_of_yesterday_that_is_reported_today_is_told_once(now, midnight):
    budget = make_budget(midnight - 5 * DAY, thresholds=[{"at": 0.8}, {"at": 1.0, "do": "fall_back"}])
    services.judge_money(now=midnight - MINUTE)
    spend(midnight - 10 * MINUTE, 500)

    verdict = services.judge_money(now=now)[0]
    for minute in range(3):
        lateness.watch(now=now + minute * MINUTE)

    assert (verdict.state, verdict.asks) == ("within", ())
    assert told(budget) == [
        ("opens", "error",
         f"Late spend: route {ROUTE} spent $500.00 of $50.00 (100% of the limit) in the day that ended 2026-11-24 "
         "00:00 UTC."),
    ]  # fmt: skip


def test_what_was_told_in_time_is_not_told_again_and_more_of_it_is(now, midnight):
    budget = make_budget(midnight - 5 * DAY, thresholds=[{"at": 0.8, "do": "alert"}, {"at": 1.0, "do": "alert"}])
    spend(midnight - HOUR, 45)
    services.judge_money(now=midnight - MINUTE)

    lateness.watch(now=now)
    assert told(budget) == []

    spend(midnight - HOUR, 10)
    lateness.watch(now=now + MINUTE)
    assert [(effect, severity) for effect, severity, _ in told(budget)] == [("opens", "error")]


def test_it_is_over_when_no_call_may_come_any_more_or_the_budget_is(now, midnight):
    first, second = make_budget(midnight - 5 * DAY), make_budget(midnight - 5 * DAY)
    spend(midnight - HOUR, 60)
    lateness.watch(now=now)

    services.end_budget(budget=second.id, by=ALICE, because="x", now=now + MINUTE)
    assert [effect for effect, *_ in told(second)] == ["opens", "closes"]

    lateness.watch(now=midnight + 48 * HOUR)
    assert [effect for effect, *_ in told(first)] == ["opens"]
    lateness.watch(now=midnight + 49 * HOUR)
    lateness.watch(now=midnight + 50 * HOUR)
    assert [effect for effect, *_ in told(first)] == ["opens", "closes"]
    assert Budget.objects.get(pk=first.pk).late == {}


def test_a_limit_that_was_set_afterwards_is_not_laid_on_what_is_over(now, midnight):
    old, new = make_budget(midnight - 5 * DAY, limit_nano=100 * 10**9), make_budget(now)
    spend(midnight - HOUR, 60)
    services.update_budget(budget=old.id, changes={"limit_nano": 10**9}, by=ALICE, because="less", now=now)

    lateness.watch(now=now + MINUTE)

    assert (told(old), told(new)) == ([], [])


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])  # whose hours begin at half past
def test_hours_that_are_over_are_told_each_for_itself(now, zone):
    budget = make_budget(now - DAY, period="hour", thresholds=[{"at": 1.0, "do": "alert"}], timezone=zone)
    spend(now - 10 * HOUR, 45)
    spend(now - 10 * HOUR + 29 * MINUTE, 10)
    spend(now - 20 * HOUR, 40)

    lateness.watch(now=now)
    (only,) = told(budget)
    spend(now - 20 * HOUR, 40)
    lateness.watch(now=now)

    assert [effect for effect, *_ in told(budget)] == ["opens", "opens"]
    ends = "2026-11-23 18:00 UTC" if zone == "UTC" else "2026-11-23 23:00 IST"
    assert only[2].endswith(f"$55.00 of $50.00 (100% of the limit) in the hour that ended {ends}.")


def test_rolling_budgets_have_no_period_that_is_over(now):
    budget = make_budget(now - 5 * DAY, period="rolling_day")
    spend(now - 25 * HOUR, 60)

    lateness.watch(now=now)

    assert told(budget) == []
