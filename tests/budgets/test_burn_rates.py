"""How fast money burns: two windows of each rate, against what the limit allows and what that hour usually costs."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from apps.budgets import queries, services
from apps.budgets.domain import money, season, thresholds
from apps.budgets.domain.money import Rule, Spent
from apps.budgets.domain.periods import period_at
from apps.budgets.domain.season import Season
from apps.journal.models import Entry
from tests.budgets.make_rows import spend
from tests.budgets.test_budgets_judge_money import make_budget

pytestmark = pytest.mark.django_db
HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
UTC_ZONE = ZoneInfo("UTC")
USD = 10**9


def test_page_and_ticket_stand_for_the_rates_of_the_table(now):
    budget = make_budget(now, period="month", thresholds=[{"burn": "page", "do": "hold"}, {"burn": "ticket"}])

    assert budget.thresholds == [
        {"burn": 14.4, "do": "hold"}, {"burn": 6.0, "do": "hold"}, {"burn": 3.0, "do": "alert"},
        {"burn": 1.0, "do": "alert"},
    ]  # fmt: skip


def rule(period="month", limit=3000, *some):
    parsed, fault = thresholds.parse([{"burn": level, "do": "alert"} for level in some], period=period, scope={})
    assert not fault
    return Rule("b", "production", "", {}, period, limit * USD, parsed, "UTC")


def burn(spends, period="month", level=14.4, limit=3000, **more):
    """`spends`: window -> USD; the limit of the month is $100 a day."""
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    asked = rule(period, limit, level)
    verdict = money.judge(
        asked, period=period_at(period, now, UTC_ZONE), spent=Spent(), outlook=None, now=now,
        burn_spend=lambda window: Spent(round(spends.get(window, 0) * USD), calls=more.get("calls", 100)),
        season=more.get("season"),
    )  # fmt: skip
    return verdict.burns[0]


HOURLY = 3000 / 30 / 24  # USD that the limit allows in an hour


@pytest.mark.parametrize(
    ("period", "level", "long", "short"),
    [
        ("month", 14.4, HOUR, 5 * MINUTE),
        ("month", 6, 6 * HOUR, 30 * MINUTE),
        ("month", 3, DAY, 2 * HOUR),
        ("month", 1, 3 * DAY, 6 * HOUR),
        ("rolling_month", 1, 3 * DAY, 6 * HOUR),
        ("week", 14.4, 15 * MINUTE, 5 * MINUTE),
        ("week", 6, 90 * MINUTE, 15 * MINUTE),
        ("week", 3, 6 * HOUR, 30 * MINUTE),
        ("week", 1, 17 * HOUR, 2 * HOUR),
        ("day", 6, HOUR, 5 * MINUTE),
        ("day", 3, 3 * HOUR, 15 * MINUTE),
    ],
)
def test_the_windows_of_the_table(period, level, long, short):
    limit = 3000
    seconds = period_at(period, datetime(2026, 11, 24, 12, tzinfo=UTC), UTC_ZONE).seconds
    pace = {window: limit * window.total_seconds() / seconds for window in (long, short)}

    fast = {window: 1.01 * level * pace[window] for window in pace}
    slow_now, slow_before = fast | {short: 0.9 * level * pace[short]}, fast | {long: 0.9 * level * pace[long]}

    assert [burn(s, period, level).is_crossed for s in (fast, slow_now, slow_before)] == [True, False, False]


def test_it_clears_when_the_short_window_falls():
    fast = {HOUR: 15 * HOURLY, 5 * MINUTE: 15 * HOURLY / 12}

    assert burn(fast).is_crossed
    assert not burn(fast | {5 * MINUTE: 0}).is_crossed


def test_twenty_calls_and_a_hundredth_of_the_limit_are_the_least():
    fast = {HOUR: 100, 5 * MINUTE: 100}

    assert burn(fast).is_crossed
    assert not burn(fast, calls=19).is_crossed
    quiet = Season(tuple(0.0 if hour == 11 else 5.0 for hour in range(24)), days=20)  # 14.4 times is 0.5 % of the limit
    assert burn({HOUR: 31, 5 * MINUTE: 5}, season=quiet).is_crossed
    assert not burn({HOUR: 29, 5 * MINUTE: 5}, season=quiet).is_crossed


def test_an_hour_budget_has_no_rates():
    assert thresholds.windows_of("hour", 6) is None
    assert thresholds.windows_of("rolling_hour", 6) is None


def test_the_morning_rush_is_no_alarm_once_two_weeks_are_known():
    """Nine tenths of a day's money goes between 8 and 12: at noon the last hours always burn at more than 3 times."""
    usual = tuple(90 / 4 if 8 <= hour < 12 else 10 / 20 for hour in range(24))
    spends = {3 * HOUR: 67.5, 15 * MINUTE: 5.6}
    known, young = Season(usual, days=14), Season(usual, days=13)

    assert burn(spends, "day", 3, limit=100, season=young).is_crossed
    assert not burn(spends, "day", 3, limit=100, season=known).is_crossed
    assert burn({w: 4 * usd for w, usd in spends.items()}, "day", 3, limit=100, season=known).is_crossed


def test_an_hour_that_usually_costs_nothing_is_not_on_fire_at_its_first_call():
    usual = tuple(0.0 if hour == 11 else 100 / 23 for hour in range(24))

    rate = burn({HOUR: 5, 5 * MINUTE: 0.4}, "day", 6, limit=100, season=Season(usual, days=20)).long_rate

    assert rate == pytest.approx(5 / (100 / 24 / 4))


def test_a_season_is_learnt_hour_by_hour():
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    hours = {now - HOUR * i: (500 if (now - HOUR * i).hour < 8 else 1000) for i in range(1, 24 * 20)}

    found = season.season(hours, 1000, now, UTC_ZONE)

    assert (found.usual[3], found.usual[13]) == (500, 1000)
    assert found.level == pytest.approx(1)
    assert found.ratios == pytest.approx([1.0] * 19)
    assert Season.from_plain(found.plain()) == found


def test_a_burn_that_comes_back_is_another_crossing_and_told_again(now):
    make_budget(now, thresholds=[{"burn": 6, "do": "hold"}], limit_nano=100 * USD)
    once = []
    for at in (now, now + 3 * HOUR):
        spend(at, 50)
        once.append(services.judge_money(now=at)[0].once)
        services.judge_money(now=at + 30 * MINUTE)

    assert once[0] != once[1]
    told = Entry.objects.exclude(effect="").order_by("at", "id").values_list("effect", flat=True)
    assert list(told) == ["opens", "closes", "opens", "closes"]


def test_a_rate_is_that_of_the_minutes_that_were_summed(now):
    budget = make_budget(now, period="month", limit_nano=43_200 * USD, thresholds=[{"burn": 14.4}])  # $1 a minute
    for minute in range(1, 90):
        spend(now - minute * MINUTE, 12.5)
    spend(now, 12.5 * 55 / 60)

    (burn,) = queries.status_of(budget, now + timedelta(seconds=55)).verdict.burns

    assert (burn.short_rate, burn.long_rate) == (pytest.approx(12.5), pytest.approx(12.5))
