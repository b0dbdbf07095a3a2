"""Rolling, per request, by burn rate: what each kind of budget looks at, when it is crossed and when that is over."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from apps.budgets import ledger, queries, services
from apps.budgets.domain import lasting, money, season, thresholds
from apps.budgets.domain.money import Rule, Spent
from apps.budgets.domain.periods import period_at
from apps.budgets.domain.season import Season
from apps.core.refusals import Invalid
from apps.journal.models import Entry
from tests.budgets.make_rows import ROUTE, see, spend
from tests.budgets.test_budgets_judge_money import make_budget

pytestmark = pytest.mark.django_db
HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
UTC_ZONE = ZoneInfo("UTC")
USD = 10**9


# --- rolling ------------------------------------------------------------------------------------------------------


def test_a_rolling_day_knows_no_midnight(now):
    make_budget(now, period="rolling_day")
    spend(now - 23 * HOUR, 60)

    assert services.judge_money(now=now)[0].exceeded
    assert services.judge_money(now=now)[0].sentence == (
        "Route invoice-extraction spent $60.00 of $50.00 in the last 24 hours (120 %)."
    )
    assert services.judge_money(now=now + 2 * HOUR)[0].spent_nano == 0


def test_a_crossing_of_a_rolling_period_keeps_its_name_while_it_lasts(now):
    make_budget(now, period="rolling_hour", thresholds=[{"at": 1.0, "do": "fall_back"}])
    spend(now, 60)

    names = [services.judge_money(now=now + minutes * MINUTE)[0].once for minutes in (0, 10, 50)]
    services.judge_money(now=now + 2 * HOUR)
    spend(now + 3 * HOUR, 60)
    again = services.judge_money(now=now + 3 * HOUR)[0].once

    assert len(set(names)) == 1
    assert again not in names


@pytest.mark.parametrize(("period", "hours"), [("rolling_hour", 1), ("rolling_week", 168), ("rolling_month", 720)])
def test_how_long_a_rolling_period_is(now, period, hours):
    assert period_at(period, now, UTC_ZONE).seconds == hours * 3600


# --- per request --------------------------------------------------------------------------------------------------


def per_request(now, **changes):
    asked = {"period": "request", "limit_nano": 5 * 10**7, "thresholds": [{"at": 1.0, "do": "hold"}]}
    return make_budget(now, **(asked | changes))


def test_a_request_that_cost_too_much_crosses_a_budget_per_request(now):
    budget = per_request(now)
    see(now - MINUTE, "old", 97, usd=0.01)
    see(now - MINUTE, "old", 3, usd=0.12)

    verdict = queries.status_of(budget, now).verdict

    assert (verdict.state, verdict.do) == ("exceeded", "hold")
    assert (verdict.requests.over, verdict.requests.requests) == (3, 100)
    assert 0.95 * 0.12 * USD < verdict.spent_nano <= 0.12 * USD
    assert verdict.sentence.endswith("$0.0500 are allowed, 3 of 100 above it.")


def test_what_may_be_just_within_its_cell_is_not_told_as_a_breach(now):
    budget = per_request(now)
    see(now - MINUTE, "old", 100, usd=0.0501)

    assert queries.status_of(budget, now).verdict.requests.over == 0


def test_it_is_over_an_hour_later(now):
    per_request(now)
    see(now - MINUTE, "old", 3, usd=0.12)

    states = [services.judge_money(now=now + minutes * MINUTE)[0].state for minutes in (0, 30, 65)]

    assert states == ["exceeded", "exceeded", "within"]
    assert list(Entry.objects.exclude(effect="").order_by("at").values_list("effect", flat=True)) == ["opens", "closes"]


def test_a_budget_per_request_is_narrowed_by_what_requests_are_kept_by(now):
    budget = per_request(now, scope={"route": ROUTE, "variant": "new"})
    see(now - MINUTE, "old", 3, usd=0.12)
    see(now - MINUTE, "new", 7, usd=0.01)

    assert queries.status_of(budget, now).verdict.requests.requests == 7
    for wrong in ({"scope": {"owner": "payments"}}, {"thresholds": [{"at": 1, "do": "fall_back"}]}):
        with pytest.raises(Invalid):
            per_request(now, **wrong)


# --- what budgets may ask for -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": {"arm": "shadow"}, "thresholds": [{"at": 1, "do": "fall_back"}]},
        {"scope": {"arm": "canary"}},
        {"scope": {"environment": "staging"}},
        {"period": "rolling_hour", "thresholds": [{"burn": 6, "do": "alert"}]},
        {"period": "hour", "thresholds": [{"burn": "page", "do": "alert"}]},
        {"thresholds": [{"burn": "loud", "do": "alert"}]},
        {"thresholds": [{"at": "page", "do": "alert"}]},
    ],
)
def test_what_would_help_nobody_is_refused(now, changes):
    with pytest.raises(Invalid):
        make_budget(now, **changes)


def test_page_and_ticket_stand_for_the_rates_of_the_table(now):
    budget = make_budget(now, period="month", thresholds=[{"burn": "page", "do": "hold"}, {"burn": "ticket"}])

    assert budget.thresholds == [
        {"burn": 14.4, "do": "hold"}, {"burn": 6.0, "do": "hold"}, {"burn": 3.0, "do": "alert"},
        {"burn": 1.0, "do": "alert"},
    ]  # fmt: skip


# --- burning ------------------------------------------------------------------------------------------------------


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
    assert not burn(fast, limit=20_000, calls=100).is_crossed


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


# --- crossed is a state -------------------------------------------------------------------------------------------


def test_a_forecast_that_hovers_at_its_limit_is_told_once(now):
    make_budget(now, thresholds=[{"forecast": 1.0, "do": "alert"}], limit_nano=72 * USD)
    for hour in range(1, 24 * 5):
        spend(now - HOUR * hour, 3.01)
    services.judge_money(now=now)
    for minutes in range(5, 60, 5):  # an hour that is a little quieter than usual
        spend(now + minutes * MINUTE, 0.2)
        services.judge_money(now=now + minutes * MINUTE)

    assert Entry.objects.exclude(effect="").count() == 1


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


def test_what_pages_and_what_can_wait(now):
    make_budget(now, period="month", limit_nano=100 * USD, thresholds=[{"burn": "page"}, {"burn": "ticket"}, {"at": 1}])
    spend(now, 200)

    services.judge_money(now=now)

    told = Entry.objects.filter(effect="opens").values_list("condition", "severity")
    assert {key.partition(":")[2].partition(":")[2]: severity for key, severity in told} == {
        "burn:14.4": "error", "burn:6": "error", "burn:3": "warning", "burn:1": "warning", "at:1": "critical",
    }  # fmt: skip


@pytest.mark.parametrize(("limit", "severity"), [(141, "error"), (160, "warning")])
def test_money_that_ends_within_two_hours_does_not_wait_for_the_morning(now, limit, severity):
    make_budget(now, period="week", limit_nano=limit * USD, thresholds=[{"forecast": 1.0}])
    for hour in range(24 * 5):
        spend(now - hour * HOUR - 30 * MINUTE, 5)  # 27 of them in this week: $135

    services.judge_money(now=now)

    assert Entry.objects.get(condition__endswith="forecast:1").severity == severity


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
    return lasting.lasting(left * USD, spends.__getitem__, season, until=until, now=now, zone=UTC_ZONE, **more)


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


def test_where_an_act_is_asked_for_the_verdict_knows_who_spends(now):
    make_budget(now, scope={"owner": "payments"})
    spend(now, 40)
    spend(now, 20, route="other")
    spend(now - 2 * HOUR, 5, route="silent")

    (verdict,) = services.judge_money(now=now)

    assert verdict.by_route == {ROUTE: 40 * USD, "other": 20 * USD}
    assert [threshold.name for threshold in verdict.asks] == ["at:1"]


def test_a_burn_up_adds_up_to_what_is_spent(now):
    budget = make_budget(now, period="month")
    for hour in range(1, 24 * 5):
        spend(now - HOUR * hour, 1)

    shown = queries.burn_up(budget, now)

    assert shown.actual[-1][1] == queries.status_of(budget, now).verdict.spent_nano
    assert shown.expected[-1][1] == pytest.approx(queries.status_of(budget, now).verdict.forecast.nano, rel=0.01)
    assert sum(nano for _, _, nano in shown.by_day_and_model) == shown.actual[-1][1]


def test_days_are_those_of_the_budgets_time_zone(now):
    budget = make_budget(now, period="month", timezone="Asia/Tokyo")
    spend(datetime(2026, 11, 22, 20, tzinfo=UTC), 7)

    assert queries.burn_up(budget, now).by_day_and_model == [
        (datetime(2026, 11, 22, 15, tzinfo=UTC), "gpt-4.1", 7 * USD)  # the 23rd in Tokyo
    ]


def test_a_rate_is_that_of_the_minutes_that_were_summed(now):
    budget = make_budget(now, period="month", limit_nano=43_200 * USD, thresholds=[{"burn": 14.4}])  # $1 a minute
    for minute in range(1, 90):
        spend(now - minute * MINUTE, 12.5)
    spend(now, 12.5 * 55 / 60)

    (burn,) = queries.status_of(budget, now + timedelta(seconds=55)).verdict.burns

    assert (burn.short_rate, burn.long_rate) == (pytest.approx(12.5), pytest.approx(12.5))


def test_budgets_that_ask_together_are_told_what_each_would_be_told_alone(now):
    for number in range(8):
        for variant in ("old", "new"):
            spend(now - number * HOUR, 1 + number, route=f"r-{number % 6}", variant=variant, owner=f"o-{number % 2}")
    burns = [{"burn": "page"}, {"burn": "ticket"}]
    scopes = [{"route": f"r-{n}"} for n in range(6)] + [{"route": "r-1", "variant": "new"}, {"owner": "o-1"}, {}]
    made = [make_budget(now, scope=scope, thresholds=burns, period=p) for scope in scopes for p in ("day", "week")]

    together = {verdict.budget: verdict for verdict in services.judge_money(now=now)}

    for budget in made:
        alone = queries.status_of(budget, now).verdict
        mine = together[budget.id]
        assert (mine.spent_nano, mine.burns) == (alone.spent_nano, alone.burns)


def test_hours_that_are_read_together_are_those_of_each(now):
    for number in range(8):
        for variant in ("old", "new"):
            spend(now - number * HOUR, 1 + number, route=f"r-{number % 3}", variant=variant, owner=f"o-{number % 2}")
    scopes = [{}, {"owner": "o-0"}, {"owner": "o-1"}, {"variant": "new"}, {"variant": "old", "owner": "o-1"}]
    scopes += [{"route": "r-1", "variant": "new"}, {"route": "r-1", "variant": "old"}, {"route": "r-2"}]
    rules = [make_budget(now, scope=scope).rule for scope in scopes]
    together = ledger.Asked(rules, now)

    for rule in rules:
        found = together.hours(rule, now - 24 * HOUR, now + HOUR)
        assert found == ledger.Asked().hours(rule, now - 24 * HOUR, now + HOUR)
        assert sum(nano for nano, _ in found.values()) == ledger.spent(rule, now - 24 * HOUR, now + HOUR).nano > 0
