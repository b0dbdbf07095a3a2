"""What users of other gateways suffered from sums, each as a test here: periods that never ended, calls that were free
or counted twice. Named after the suffering, in its negation."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from apps.budgets import queries, services
from apps.catalog import shipped
from apps.journal.models import Entry
from apps.telemetry import queries as telemetry
from apps.telemetry import rolling
from apps.telemetry import services as telemetry_services
from apps.telemetry.domain import batch
from apps.telemetry.memory import WriterMemory
from tests.budgets.make_rows import ROUTE, spend
from tests.budgets.test_budgets_judge_money import make_budget

pytestmark = pytest.mark.django_db
USD = 10**9
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


@pytest.fixture
def route(environment, now):
    from tests.rollouts.make_rollouts import make_route

    make_route(now - DAY)


def report(now, *calls, batch_id=None, writer=None):
    """Through the reading and counting of the real door."""
    made = [
        {
            "id": f"c-{number}", "at": (now - timedelta(seconds=2)).isoformat(), "route": ROUTE, "variant": "gpt-4.1",
            "provider": "openai", "model": "gpt-4.1", "latency_ms": 400.0, "input_tokens": 1000, "output_tokens": 100,
            **call,
        }
        for number, call in enumerate(calls)
    ]  # fmt: skip
    read = batch.read(
        json.dumps({"batch_id": batch_id or f"b-{now.isoformat()}-{len(made)}", "calls": made}).encode(), now
    )
    assert not read.rejected, read.rejected
    writer = writer or WriterMemory()
    return telemetry_services.count(sent=[telemetry_services.Sent("production", read)], writer=writer, now=now)


def spent(now, scope=None):
    budget = make_budget(now, scope=scope or {"route": ROUTE})
    return queries.status_of(budget, now).verdict


def test_budgets_that_are_never_reset_are_not_full_for_ever(now):
    """End-user budgets were set back by a job that never ran."""
    budget = make_budget(now)
    spend(now, 60)

    assert services.judge_money(now=now)[0].exceeded
    assert services.judge_money(now=now + DAY)[0].spent_nano == 0
    assert queries.status_of(budget, now).verdict.spent_nano == 60 * USD  # and yesterday's is still known


def test_a_new_period_wipes_no_total(now):
    budget = make_budget(now, period="month")
    spend(now - 3 * DAY, 20)
    spend(now, 5)
    services.judge_money(now=now + DAY)

    assert queries.status_of(budget, now + DAY).verdict.spent_nano == 25 * USD


def test_a_day_in_tokyo_ends_at_midnight_in_tokyo():
    """Reset 9 h late, so that $100 a day became about $75."""
    end = datetime(2026, 11, 24, 15, tzinfo=UTC)
    make_budget(end, timezone="Asia/Tokyo")
    spend(end - MINUTE, 60)

    before, after = services.judge_money(now=end - MINUTE)[0], services.judge_money(now=end)[0]

    assert (before.exceeded, after.spent_nano) == (True, 0)
    assert after.period_to - after.period_from == DAY


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_the_day_on_which_clocks_change_is_whole(day, hours):
    now = datetime.fromisoformat(f"{day}T10:00:00Z")
    budget = make_budget(now, timezone="Europe/Berlin")
    first, last = queries.status_of(budget, now).verdict.period_from, queries.status_of(budget, now).verdict.period_to
    for at in (first - MINUTE, first, last - MINUTE, last):
        spend(at, 1)

    assert (last - first).total_seconds() == hours * 3600
    assert queries.status_of(budget, last - MINUTE).verdict.spent_nano == 2 * USD


def test_a_daily_budget_is_not_forecast_to_the_end_of_the_month(now):
    make_budget(now, thresholds=[{"forecast": 1.0, "do": "alert"}])
    for hour in range(1, 24 * 6):
        spend(now - timedelta(hours=hour), 1)

    assert services.judge_money(now=now)[0].forecast.nano == pytest.approx(24 * USD, rel=0.05)


@pytest.mark.parametrize("error", ["cancelled", "timeout"])
def test_a_stream_that_was_cancelled_or_timed_out_is_not_free(now, route, error):
    """Booked at $0 or a fraction; the provider bills all of it."""
    report(now, {"id": "good"})
    report(now, {"id": "cut", "error": error, "input_tokens": None, "output_tokens": None}, batch_id="b-2")

    verdict = spent(now)

    assert verdict.estimated_nano > 0
    assert verdict.spent_nano > verdict.estimated_nano


def test_a_refused_call_is_not_priced_in_full(now, route):
    report(now, {"error": "rate_limited"})

    assert spent(now).spent_nano == 0


def test_every_attempt_counts_and_so_does_what_they_cost(now, route):
    """2,103 calls billed for 369 results."""
    report(now, *[{"id": f"a-{n}", "request_id": "r-1", "attempt": n, "final": n == 3} for n in (1, 2, 3)])

    one = shipped.price_book().find("openai", "gpt-4.1", now).cost_nano(1000, 0, 100)
    assert spent(now).spent_nano == 3 * one


def test_one_call_that_is_logged_twice_counts_once(now, route):
    for batch_id in ("b-1", "b-1", "b-2"):
        report(now, {"id": "once"}, batch_id=batch_id)

    assert spent(now).spent_nano == shipped.price_book().find("openai", "gpt-4.1", now).cost_nano(1000, 0, 100)


def test_an_unknown_model_is_not_free_and_does_not_skip_the_budget(now, route):
    """$0, and the budget never moved. Here each such call counts as much as its variant may cost."""
    report(now, *[{"id": f"u-{n}", "model": "gpt-4.1-internal"} for n in range(10)])

    verdict = spent(now)

    cap = round(Decimal("0.02") * USD)  # max_cost_usd of the variant
    assert (verdict.unpriced, verdict.assumed_nano, verdict.spent_nano) == (10, 10 * cap, 10 * cap)
    assert "$0.2000 of it assumed for 10 calls without a price" in verdict.sentence


def test_an_unknown_model_without_a_cap_counts_as_the_dearest_that_is_known(now, route):
    report(now, {"id": "known", "variant": "gpt-4.1", "cost_usd": "0.05"})
    report(now, {"id": "u-1", "variant": "flash-lite", "provider": "google", "model": "gemini-secret"}, batch_id="b-2")

    assert spent(now).assumed_nano == round(Decimal("0.05") * USD)


def test_cached_tokens_are_not_charged_twice(now, route):
    report(now, {"input_tokens": 1000, "cached_input_tokens": 900, "output_tokens": 0})

    price = shipped.price_book().find("openai", "gpt-4.1", now)
    assert spent(now).spent_nano == price.cost_nano(1000, 900, 0) < price.cost_nano(1000, 0, 0)


def test_two_screens_show_one_sum(now, route, client, alice, time_machine):
    time_machine.move_to(now, tick=False)
    client.force_login(alice)
    budget = make_budget(now, period="month")
    report(now, *[{"id": f"c-{n}"} for n in range(7)])
    rolling.roll_up()
    services.judge_money(now=now)  # what a tick has read stays for a minute: no page may show it
    report(now, {"id": "later"}, batch_id="b-2")

    at = "/api/v1/spend/?environment=production&from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z&by=route"
    shown = client.get(at).json()
    (row,) = shown["results"] if isinstance(shown, dict) else shown
    told = client.get(f"/api/v1/budgets/{budget.id}/").json()

    assert Decimal(row["confirmed_usd"]) + Decimal(row["estimated_usd"]) == Decimal(told["spent_usd"])
    verdict = next(one for one in services.judge_money(now=now + 2 * MINUTE) if one.budget == budget.id)
    assert verdict.spent_nano == round(Decimal(told["spent_usd"]) * USD)


def test_an_alert_is_a_state_and_not_one_for_every_request(now):
    make_budget(now, thresholds=[{"at": 1.0, "do": "alert"}])
    for second in range(20):
        spend(now + timedelta(seconds=second), 10)
        services.judge_money(now=now + timedelta(seconds=second))

    assert Entry.objects.filter(effect="opens").count() == 1


def test_a_soft_cap_says_by_how_much_it_can_be_passed(now):
    budget = make_budget(now)
    spend(now - 30 * MINUTE, 36)

    row = queries.status_of(budget, now)

    assert row.may_overshoot_nano == pytest.approx(0.01 * (5 + 15) * USD)  # a cent a second, for as long as news take


def test_a_budget_does_fill_at_a_steady_rate(now):
    """A budget on a rate limiter refilled as fast as it was used."""
    make_budget(now, period="rolling_day", thresholds=[{"at": 1.0, "do": "alert"}])
    for hour in range(24):
        spend(now - timedelta(hours=hour), 2.2)

    assert services.judge_money(now=now)[0].exceeded


def test_spend_that_comes_late_lands_in_its_own_period(now, route):
    """Spend was kept in a cache and written into the next period."""
    midnight = now.replace(hour=0)
    report(now, {"at": (midnight - 10 * MINUTE).isoformat()})

    assert spent(now).spent_nano == 0
    assert telemetry.spent_nano("production", midnight - DAY, midnight) > 0
