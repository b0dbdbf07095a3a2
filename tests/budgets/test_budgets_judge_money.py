from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse

from apps.budgets import queries, services, spending
from apps.core.refusals import Invalid, NotFound, Stale
from apps.journal.models import Entry
from tests.budgets.make_rows import ALICE, ROUTE, spend
from tests.rollouts.make_rollouts import make_route

pytestmark = pytest.mark.django_db
DO = [{"at": 0.8, "do": "alert"}, {"at": 1.0, "do": "fall_back"}]


def make_budget(now, **changes):
    asked = {
        "environment": "production",
        "scope": {"route": ROUTE},
        "period": "day",
        "limit_nano": 50 * 10**9,
        "thresholds": DO,
        "by": ALICE,
        "because": "a cap",
        "now": now,
    }
    return services.create_budget(**(asked | changes))


def test_a_budget_with_room_is_within(now):
    make_budget(now)
    spend(now, 20)

    (verdict,) = services.judge_money(now=now)

    assert verdict.state == "within"
    assert verdict.fraction == pytest.approx(0.4)
    assert verdict.pace == pytest.approx(3 / 24)
    assert verdict.do == ""
    assert verdict.sentence == "Route invoice-extraction spent $20.00 of $50.00 today."


def test_the_most_harmful_act_of_all_crossed_thresholds_is_asked_for(now):
    make_budget(now, thresholds=[{"at": 1.0, "do": "alert"}, {"at": 0.5, "do": "stop_shadow"}])
    spend(now, 60)

    (verdict,) = services.judge_money(now=now)

    assert verdict.exceeded
    assert verdict.do == "stop_shadow"
    assert [threshold.name for threshold in verdict.crossed] == ["at:1", "at:0.5"]


def test_a_crossed_budget_of_a_route_is_told_with_the_routes_runbook(environment, now):
    make_route(now, runbook="Ask the provider.")
    budget = make_budget(now, thresholds=[{"at": 1.0, "do": "alert"}])
    make_budget(now, thresholds=[{"at": 1.0, "do": "alert"}], scope={})
    spend(now, 60)

    services.judge_money(now=now)

    told = Entry.objects.filter(kind="budget.exceeded").order_by("route").values_list("route", "runbook")
    assert list(told) == [("", ""), (ROUTE, "Ask the provider.")]
    assert Entry.objects.get(condition=f"budget:{budget.id}:at:1").link == reverse("budget", args=[budget.id])


def test_confirmed_and_estimated_money_both_count(now):
    make_budget(now)
    spend(now, 30, estimated=25)

    (verdict,) = services.judge_money(now=now)

    assert verdict.exceeded
    assert verdict.do == "fall_back"
    assert verdict.estimated_nano == 25 * 10**9


def test_a_new_day_begins_without_any_reset(now):
    make_budget(now)
    spend(now, 60)
    tomorrow = now + timedelta(days=1)

    assert services.judge_money(now=now)[0].exceeded
    assert services.judge_money(now=tomorrow)[0].spent_nano == 0
    assert services.judge_money(now=now)[0].exceeded


def test_the_day_is_that_of_the_budgets_zone():
    now = datetime(2026, 11, 24, 14, 59, tzinfo=UTC)  # 23:59 in Tokyo
    make_budget(now, timezone="Asia/Tokyo")
    spend(now, 60)

    assert services.judge_money(now=now)[0].exceeded
    assert services.judge_money(now=now + timedelta(minutes=1))[0].spent_nano == 0


@pytest.mark.parametrize(
    ("scope", "sees"),
    [
        ({}, 7),
        ({"route": ROUTE}, 3),
        ({"model": "openai/gpt-5"}, 4),
        ({"model": "GPT-5"}, 4),
        ({"provider": "OpenAI"}, 7),
        ({"environment": "production", "route": "other"}, 4),
        ({"tag": "night"}, 0),
        ({"owner": "payments"}, 7),
        ({"rollout": "t-1"}, 2),
        ({"route": ROUTE, "variant": "new"}, 2),
    ],
)
def test_a_scope_narrows_what_is_counted(now, scope, sees):
    make_budget(now, scope=scope)
    spend(now, 1)
    spend(now, 2, variant="new", trial="t-1")
    spend(now, 4, route="other", model="gpt-5")

    (verdict,) = services.judge_money(now=now)

    assert verdict.spent_nano == sees * 10**9


def test_crossing_is_told_once_and_cleared_with_the_period(now):
    make_budget(now)
    spend(now, 60)

    first = services.judge_money(now=now)[0]
    second = services.judge_money(now=now)[0]
    services.judge_money(now=now + timedelta(days=1))

    assert (first.is_new, second.is_new) == (True, False)
    told = Entry.objects.exclude(kind="budget.created").values_list("at", "kind", "effect")
    assert sorted(told) == [
        (now, "budget.exceeded", "opens"),
        (now, "budget.threshold_crossed", "opens"),
        (now + timedelta(days=1), "budget.recovered", "closes"),
        (now + timedelta(days=1), "budget.recovered", "closes"),
    ]


def test_the_same_crossing_has_one_name_in_a_period_and_another_in_the_next(now):
    make_budget(now)
    spend(now, 60)
    spend(now + timedelta(days=1), 60)

    today, again = services.judge_money(now=now)[0], services.judge_money(now=now)[0]
    tomorrow = services.judge_money(now=now + timedelta(days=1))[0]

    assert today.once == again.once != tomorrow.once


def test_a_forecast_threshold_needs_three_whole_days(now):
    make_budget(now, thresholds=[{"forecast": 1.0, "do": "alert"}])
    for hour in range(1, 24):
        spend(now - timedelta(hours=hour), 3)

    (verdict,) = services.judge_money(now=now)

    assert verdict.state == "within"
    assert verdict.no_forecast.startswith("No forecast yet.")


def test_a_forecast_above_the_limit_warns_before_it_is_reached(now):
    make_budget(now, thresholds=[{"forecast": 1.0, "do": "alert"}])
    for hour in range(1, 24 * 5):
        spend(now - timedelta(hours=hour), 3)

    (verdict,) = services.judge_money(now=now)

    assert verdict.state == "warning"
    assert verdict.forecast.nano == pytest.approx(72 * 10**9)
    assert verdict.sentence.endswith("and may reach $72.00 by its end.")


def test_burning_needs_both_windows(now):
    make_budget(now, thresholds=[{"burn": 6, "do": "alert"}])
    spend(now - timedelta(minutes=50), 20)  # six times the hourly pace, an hour ago

    assert services.judge_money(now=now)[0].state == "within"

    spend(now - timedelta(minutes=2), 2)

    assert services.judge_money(now=now)[0].state == "warning"


def test_a_cap_of_the_share_says_which(now):
    make_budget(now, thresholds=[{"at": 0.5, "do": "cap_share", "share": 25}])
    spend(now, 30)

    assert services.judge_money(now=now)[0].share == 2500


def test_status_shows_what_comes_next(now):
    make_budget(now)
    spend(now, 25)

    (row,) = queries.budget_status("production", now)

    assert row.next_action == "alert at $40.00"


def test_only_the_asked_environment_is_judged(now):
    make_budget(now)
    make_budget(now, environment="staging")

    assert len(services.judge_money(now=now, environment="staging")) == 1
    assert len(services.judge_money(now=now)) == 2


def test_a_change_is_recorded_and_a_stale_one_refused(now):
    budget = make_budget(now)
    services.update_budget(
        budget=budget.id, changes={"limit_nano": 80 * 10**9}, by=ALICE, because="more", now=now, expected_revision=1
    )

    with pytest.raises(Stale) as refused:
        services.update_budget(
            budget=budget.id, changes={"limit_nano": 90 * 10**9}, by=ALICE, because="more", now=now, expected_revision=1
        )

    assert refused.value.changes == {"limit_usd": {"was": "50.000000", "is": "80.000000"}}
    entry = Entry.objects.get(kind="budget.changed")
    assert entry.before["limit_nano"] == 50 * 10**9
    assert entry.after["limit_nano"] == 80 * 10**9


def test_an_ended_budget_judges_nothing_and_closes_its_alerts(now):
    budget = make_budget(now)
    spend(now, 60)
    services.judge_money(now=now)

    services.end_budget(budget=budget.id, by=ALICE, because="over", now=now)

    assert services.judge_money(now=now) == []
    assert Entry.objects.filter(effect="closes").count() == 2
    with pytest.raises(NotFound):
        services.end_budget(budget=budget.id, by=ALICE, because="over", now=now)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"scope": {"planet": "earth"}}, "scope"),
        ({"period": "fortnight"}, "period"),
        ({"limit_nano": 0}, "limit_usd"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": "../etc/passwd"}, "timezone"),
        ({"thresholds": [{"at": 1, "do": "panic"}]}, "thresholds"),
        ({"thresholds": [{"at": -1, "do": "alert"}]}, "thresholds"),
        ({"thresholds": [{"do": "alert"}]}, "thresholds"),
        ({"thresholds": [{"at": 1, "do": "cap_share"}]}, "thresholds"),
        ({"period": "hour", "thresholds": [{"forecast": 1, "do": "alert"}]}, "thresholds"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused_by_field(now, changes, field):
    with pytest.raises(Invalid) as refused:
        make_budget(now, **changes)

    assert field in refused.value.errors


def test_a_month_is_summed_once_a_minute_and_a_page_always_asks_anew(now):
    budget = make_budget(now, period="month")
    spend(now, 20)
    services.judge_money(now=now)
    spend(now, 10)

    assert services.judge_money(now=now + timedelta(seconds=59))[0].spent_nano == 20 * 10**9
    budget.refresh_from_db()
    assert queries.status_of(budget, now + timedelta(seconds=59)).verdict.spent_nano == 30 * 10**9
    assert services.judge_money(now=now + timedelta(seconds=60))[0].spent_nano == 30 * 10**9


def test_a_forecast_is_made_anew_after_five_minutes_and_when_the_budget_changes(now):
    budget = make_budget(now)
    for hour in range(1, 24 * 5):
        spend(now - timedelta(hours=hour), 1)
    services.judge_money(now=now)
    for hour in range(1, 24 * 5):
        spend(now - timedelta(hours=hour), 1)

    soon, later = now + timedelta(minutes=4), now + timedelta(minutes=5)
    assert services.judge_money(now=soon)[0].forecast.nano == pytest.approx(24 * 10**9, rel=0.02)
    assert services.judge_money(now=later)[0].forecast.nano == pytest.approx(48 * 10**9, rel=0.05)  # the last 49 h
    services.update_budget(budget=budget.id, changes={"limit_nano": 10**9}, by=ALICE, because="less", now=later)
    budget.refresh_from_db()
    assert queries.status_of(budget, later).verdict.forecast.exhausted_at == later


def told_of_the_forecast(budget):
    found = Entry.objects.filter(condition=f"budget:{budget.id}:forecast:1").order_by("at", "id")
    return list(found.values_list("effect", "severity"))


def test_a_forecast_that_becomes_urgent_is_told_again_as_such(now):
    """Opened four hours ahead as something for office hours, it stayed so until all was gone."""
    budget = make_budget(now, period="week", limit_nano=160 * 10**9, thresholds=[{"forecast": 1.0, "do": "alert"}])
    for hour in range(24 * 5):
        spend(now - timedelta(hours=hour), 5)
    services.judge_money(now=now)
    assert told_of_the_forecast(budget) == [("opens", "warning")]

    for hour in range(1, 8):
        spend(now + timedelta(hours=hour), 5)
        for minutes in (0, 6, 12):
            services.judge_money(now=now + timedelta(hours=hour, minutes=minutes))

    assert told_of_the_forecast(budget) == [("opens", "warning"), ("opens", "error")]


@pytest.mark.parametrize(("changes", "is_anew"), [({"name": "All of it"}, False), ({"limit_nano": 190 * 10**9}, True)])
def test_a_crossed_forecast_stays_crossed_while_a_changed_budget_is_read_anew(now, changes, is_anew):
    """A new name cleared it, and a minute later it crossed again under another name and acted again."""
    budget = make_budget(
        now, scope={}, period="week", limit_nano=200 * 10**9, thresholds=[{"forecast": 1.0, "do": "fall_back"}]
    )
    for hour in range(24 * 5):
        spend(now - timedelta(hours=hour), 5)
    spending.look_ahead(now=now)
    before = services.judge_money(now=now)[0]

    services.update_budget(budget=budget.id, changes=changes, by=ALICE, because="x", now=now)
    budget.refresh_from_db()
    assert (budget.kept == {}) is is_anew
    at_once = services.judge_money(now=now + timedelta(seconds=5))[0]
    spending.look_ahead(now=now + timedelta(minutes=1))
    later = services.judge_money(now=now + timedelta(minutes=1, seconds=5))[0]

    assert {verdict.once for verdict in (before, at_once, later)} == {before.once}
    assert [verdict.state for verdict in (before, at_once, later)] == ["warning"] * 3
    assert len(told_of_the_forecast(budget)) == 1


def test_a_forecast_of_the_last_period_says_nothing_about_the_next(now):
    budget = make_budget(now, scope={}, limit_nano=100 * 10**9, thresholds=[{"forecast": 1.0, "do": "alert"}])
    for hour in range(24 * 5):
        spend(now - timedelta(hours=hour), 5)
    spending.look_ahead(now=now)
    services.judge_money(now=now)

    services.judge_money(now=now.replace(hour=0) + timedelta(days=1))  # before its own forecast is made

    assert [effect for effect, _ in told_of_the_forecast(budget)] == ["opens", "closes"]
