"""Rolling, per request, by forecast: what each kind of budget looks at, when it is crossed and when that is over."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from apps.budgets import ledger, queries, services
from apps.budgets.domain.periods import period_at
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
