"""How long money lasts at the rate at which it goes now: a leak is told before it has taken everything."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from apps.budgets import services
from apps.budgets.domain import lasting
from apps.budgets.domain.season import Season
from apps.journal.models import Entry
from tests.budgets.make_rows import spend
from tests.budgets.test_budgets_judge_money import make_budget

pytestmark = pytest.mark.django_db
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
USD = 10**9


def leak(budget, now, minutes, usd_a_minute=1.0):
    for minute in range(minutes):
        spend(now - (minute + 1) * MINUTE, usd_a_minute)
    return services.judge_money(now=now)[0]


def test_a_leak_that_no_forecast_expects_is_told_two_hours_before_the_money_is_gone(now):
    budget = make_budget(now, limit_nano=150 * USD, thresholds=[{"forecast": 1.0}])
    for hour in range(1, 24 * 6):
        spend(now - hour * HOUR, 5)

    verdict = leak(budget, now + 30 * MINUTE, 30)

    assert verdict.forecast.nano < 150 * USD
    assert verdict.sentence == (
        "Route invoice-extraction spent $45.00 of $150.00 today, and at $60.00 an hour, as in the last 15 minutes, all "
        "is spent by 05:15 UTC."
    )
    told = Entry.objects.get(effect="opens")
    assert (told.condition, told.severity) == (f"budget:{budget.id}:runs_out:2", "error")
    assert told.sentence == verdict.sentence
    assert told.after["lasting"] == {
        "nano_per_hour": 60 * USD, "of": "the last 15 minutes", "runs_out_at": "2026-11-24T05:15:00+00:00",
        "level": "red",
    }  # fmt: skip

    services.judge_money(now=now + 95 * MINUTE)  # it has stopped
    assert Entry.objects.get(condition=told.condition, effect="closes").severity == "info"


def test_it_is_told_before_there_is_any_forecast_and_only_where_one_is_asked_for(now):
    asked = make_budget(now, limit_nano=60 * USD, scope={}, thresholds=[{"forecast": 1.0}])
    make_budget(now, limit_nano=60 * USD, scope={}, thresholds=[{"at": 1.0}])

    leak(asked, now, 20)

    assert list(Entry.objects.filter(effect="opens").values_list("condition", flat=True)) == [
        f"budget:{asked.id}:runs_out:2"
    ]


def lasts(left, quarter=0.0, hour=0.0, usual=0.0, **more):
    season = Season((usual * USD,) * 24, days=more.pop("days", 10))
    spends = {15 * MINUTE: round(quarter / 4 * USD), HOUR: round(hour * USD)}
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    until = now + timedelta(hours=more.pop("hours", 12))
    return lasting.lasting(left * USD, spends.__getitem__, season, until=until, now=now, zone=ZoneInfo("UTC"), **more)


@pytest.mark.parametrize(
    ("asked", "level", "of"),
    [
        ({"left": 10, "quarter": 6, "hour": 1}, "red", "the last 15 minutes"),
        ({"left": 10, "quarter": 1, "hour": 6}, "red", "the last hour"),
        ({"left": 10, "quarter": 1, "hour": 1, "usual": 2}, "amber", "what is usual at this time"),
        ({"left": 10, "quarter": 0.1, "hour": 0.5, "usual": 2, "days": 2}, "", "the last hour"),
        ({"left": 10, "quarter": 6, "hours": 1.5}, "", "the last 15 minutes"),  # the period ends before
        ({"left": 10, "quarter": 4.8}, "amber", "the last 15 minutes"),
        ({"left": 10, "quarter": 4.8, "was_red": True}, "red", "the last 15 minutes"),
        ({"left": 0, "quarter": 6}, "amber", "the last 15 minutes"),  # that it is gone is told by other thresholds
        ({"left": 10}, "", "the last 15 minutes"),
    ],
)
def test_how_long_money_lasts_at_the_highest_of_three_rates(asked, level, of):
    found = lasts(**asked)

    assert (found.level, found.of) == (level, of)
