"""A hard cap that refuses calls: people are told, once, and when calls pass again. What is reserved counts as spent."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.budgets import queries, services
from apps.core import metrics
from apps.journal.models import Entry
from tests.budgets.make_rows import ALICE, spend
from tests.budgets.test_holds import SECOND, USD, make_cap, reserve, settle

pytestmark = pytest.mark.django_db
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def told(budget):
    found = Entry.objects.filter(condition=f"budget:{budget.id}:refuses").order_by("at", "id")
    return list(found.values_list("effect", "severity"))


def refused(now, usd, hold="h-1"):
    with pytest.raises(services.BudgetExceeded):
        reserve(now, usd, hold)


def counted(budget):
    return metrics.calls_refused.labels(budget.environment, budget.id)._value.get()


def test_the_first_call_that_is_refused_is_told_and_all_are_counted(now):
    cap = make_cap(now, 10, thresholds=[{"at": 1.0, "do": "alert"}])
    spend(now, 9.99)

    for number in range(50):
        refused(now + number * SECOND, 0.02, f"h-{number}")
        services.judge_money(now=now + number * SECOND)

    assert told(cap) == [("opens", "critical")]
    assert Entry.objects.get(kind="budget.refuses").sentence == (
        "Calls under the cap of route invoice-extraction are refused: $0.010000 are left of $10.000000."
    )
    assert counted(cap) == 50


def test_a_cap_that_goes_on_refusing_asks_the_ledger_and_writes_now_and_then(now):
    make_cap(now, 1)
    make_cap(now, 100, scope={})
    refused(now, 2)

    with CaptureQueriesContext(connection) as asked:
        for number in range(50):
            refused(now + number * SECOND / 11, 2)

    asked = [query["sql"] for query in asked]
    assert not [sql for sql in asked if sql.startswith(("INSERT", "UPDATE")) or "telemetry_ledger" in sql]
    refused(now + 5 * SECOND, 2)


def test_it_is_over_when_calls_have_passed_again_for_a_minute(now):
    cap = make_cap(now, 10)
    reserve(now, 9, "large")
    refused(now, 2)
    reserve(now + 30 * SECOND, 1, "small")  # it refuses large ones still
    assert len(told(cap)) == 1

    settle(now + 60 * SECOND, 1, "large")
    reserve(now + 61 * SECOND, 2)

    assert told(cap) == [("opens", "critical"), ("closes", "info")]
    refused(now + 90 * SECOND, 20, "larger")
    assert len(told(cap)) == 3


def test_it_ends_with_its_period_and_with_its_cap(now):
    day, week = make_cap(now, 1), make_cap(now, 1, period="week", scope={"variant": "old"})
    refused(now, 2)
    services.update_budget(budget=day.id, changes={"limit_nano": 3 * USD}, by=ALICE, because="x", now=now)
    refused(now, 2, "h-2")
    assert (len(told(day)), len(told(week))) == (1, 1)

    services.judge_money(now=now + DAY)
    assert (len(told(day)), len(told(week))) == (2, 1)

    services.update_budget(budget=week.id, changes={"is_hard": False}, by=ALICE, because="x", now=now + DAY)
    assert [effect for effect, _ in told(week)] == ["opens", "closes"]


def test_more_room_that_is_refused_is_told_too(now):
    cap = make_cap(now, 10)
    reserve(now, 5)

    with pytest.raises(services.BudgetExceeded):
        services.extend(environment="production", hold="h-1", nano=11 * USD, expires_at=None, now=now)

    assert len(told(cap)) == 1


def test_what_is_reserved_under_a_hard_cap_is_judged_as_spent(now):
    cap = make_cap(now, 10, thresholds=[{"at": 0.8, "do": "alert"}])
    soft = make_cap(now, 10, thresholds=[{"at": 0.8, "do": "alert"}], is_hard=False)
    reserve(now, 9.5)

    hard_one, soft_one = services.judge_money(now=now)

    assert (hard_one.budget, hard_one.state, soft_one.budget, soft_one.state) == (cap.id, "warning", soft.id, "within")
    assert hard_one.sentence == (
        "Route invoice-extraction spent $0.00 of $10.00 today, holds $9.50 for calls under way (95 %)."
    )
    cap.refresh_from_db()
    assert queries.status_of(cap, now).verdict.fraction == 0.95


def test_holds_that_come_and_go_do_not_open_and_close_an_alert_each_time(now):
    cap = make_cap(now, 100, thresholds=[{"at": 0.8, "do": "alert"}])
    spend(now, 79.5)
    for number in range(4):
        at, hold = now + number * MINUTE, f"h-{number}"
        reserve(at, 1, hold)
        services.judge_money(now=at)
        settle(at + SECOND, 0, hold)
        services.judge_money(now=at + 2 * SECOND)

    entries = Entry.objects.filter(condition=f"budget:{cap.id}:at:0.8")
    assert list(entries.values_list("effect", flat=True)) == ["opens"]
