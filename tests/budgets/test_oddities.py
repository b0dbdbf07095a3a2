"""What is odd about a route's money is told when it begins and when it is over, whatever its budgets say."""

from datetime import timedelta

import pytest

from apps.budgets import queries, watching
from apps.budgets.domain import anomaly
from apps.journal.models import Entry
from apps.telemetry import rolling
from tests.budgets.make_rows import ROUTE, see, spend
from tests.rollouts.make_rollouts import make_route

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)
USUAL = [(100 + day % 3, 100) for day in range(28)]


def kinds(now):
    return [one.kind for one in watching.watch(now=now)]


@pytest.fixture
def four_weeks(environment, now):
    """Of a source that tells of no requests."""
    for day in range(1, 29):
        spend(now - timedelta(days=day) - 30 * MINUTE, 1 + day % 3 / 100, calls=100)
    rolling.roll_up()


def test_a_request_of_three_attempts_where_one_was_usual_is_odd_though_each_call_costs_the_same(four_weeks, now):
    for day in range(1, 29):
        see(now - timedelta(days=day) - 30 * MINUTE, "old", 100, usd=0.01, trial="")
    spend(now - MINUTE, 7.5, calls=750)
    see(now - MINUTE, "old", 250, usd=0.03, trial="")

    (odd,) = watching.watch(now=now)

    assert (odd.kind, odd.n) == ("cost_per_request", 250)
    assert odd.sentence == (
        "A request of invoice-extraction cost $0.03 in the last hour, more than usual: $0.01 at this time of the day "
        "in the last four weeks (250 requests)."
    )


def test_a_call_that_costs_half_as_much_again_as_at_this_hour_of_four_weeks_is_odd(four_weeks, now):
    spend(now - MINUTE, 4, calls=250)

    (odd,) = watching.watch(now=now)

    assert (odd.kind, odd.route, odd.n) == ("cost_per_request", ROUTE, 250)
    assert odd.sentence == (
        "A call of invoice-extraction cost $0.016 in the last hour, more than usual: $0.0101 at this time of the day "
        "in the last four weeks (250 calls)."
    )


def test_four_weeks_are_looked_at_though_nothing_was_spent_lately(environment, now):
    for day in range(15, 29):
        spend(now - timedelta(days=day) - 30 * MINUTE, 1, calls=100)
    rolling.roll_up()
    spend(now - MINUTE, 4, calls=250)

    assert kinds(now) == ["cost_per_request"]


def test_a_usual_hour_is_not(four_weeks, now):
    spend(now - MINUTE, 2.6, calls=250)

    assert watching.watch(now=now) == []


def test_it_is_told_once_and_when_it_is_over(four_weeks, now):
    spend(now - MINUTE, 4, calls=250)

    for minutes in (0, 1, 2, 70):
        watching.watch(now=now + minutes * MINUTE)

    told = Entry.objects.filter(condition=f"money-cost_per_request:{ROUTE}").order_by("at", "id")
    assert list(told.values_list("kind", "effect", "severity")) == [
        ("money.odd", "opens", "warning"), ("money.usual_again", "closes", "info"),
    ]  # fmt: skip
    assert queries.oddities("production") == []


def test_it_is_told_to_the_routes_owner_with_its_runbook(four_weeks, now):
    make_route(now, runbook="Ask the provider.")
    spend(now - MINUTE, 4, calls=250)

    watching.watch(now=now)

    told = Entry.objects.get(condition=f"money-cost_per_request:{ROUTE}")
    assert (told.owner, told.runbook) == ("payments", "Ask the provider.")


def test_retries_that_cost_a_fifth_more_are_odd(environment, now):
    from apps.telemetry.models import Freshness

    Freshness.objects.create(environment="production", route=ROUTE, first_at=now, newest_at=now)
    row = see(now - MINUTE, "old", 100, trial="")
    type(row).objects.filter(pk=row.pk).update(attempts=130)

    assert kinds(now + 10 * MINUTE) == []  # that is over
    assert kinds(now) == ["amplification"]
    assert queries.oddities("production")[0].sentence == (
        "A request of invoice-extraction took 1.30 attempts in the last 5 minutes (100 requests): each is paid."
    )


def test_what_gets_much_worse_is_told_again_and_no_worse_is_not(environment, now):
    from apps.telemetry.models import Freshness

    Freshness.objects.create(environment="production", route=ROUTE, first_at=now, newest_at=now)
    row = see(now - MINUTE, "old", 100, trial="")
    for minute, attempts in enumerate((130, 140, 250, 900, 900)):
        type(row).objects.filter(pk=row.pk).update(attempts=attempts)
        watching.watch(now=now + minute * MINUTE / 2)

    told = Entry.objects.filter(condition=f"money-amplification:{ROUTE}").order_by("at", "id")
    assert [(entry.severity, entry.effect, entry.after["observed"]) for entry in told] == [
        ("warning", "opens", 1.3), ("error", "opens", 2.5), ("error", "opens", 9.0),
    ]  # fmt: skip
    assert "took 9.00 attempts" in told[2].sentence


def test_where_attempts_are_not_told_amplification_is_not_seen(environment, now):
    from apps.telemetry.models import Freshness

    Freshness.objects.create(environment="production", route=ROUTE, first_at=now, newest_at=now)
    row = see(now - MINUTE, "old", 100, trial="")
    type(row).objects.filter(pk=row.pk).update(unfinal=100)

    assert kinds(now) == []


def test_money_that_is_mostly_a_guess_is_odd(environment, now):
    spend(now - MINUTE, 1, estimated=0.06)

    assert kinds(now) == ["estimated_share"]


@pytest.mark.parametrize(
    ("per_call", "calls", "before", "is_odd"),
    [
        (1.52, 200, USUAL, True),
        (1.51, 200, USUAL, False),
        (1.6, 199, USUAL, False),
        (1.6, 200, USUAL, True),
        (1.4, 200, USUAL, False),
        (0.6, 200, USUAL, True),
        (0.8, 200, USUAL, False),
        (2.0, 200, USUAL[:6], False),
        (2.0, 200, [(100, 19)] * 28, False),
        (2.9, 200, [(100, 100), (200, 100)] * 14, False),  # it wavers that much anyway: 1.5 and three times 0.5
        (3.1, 200, [(100, 100), (200, 100)] * 14, True),
    ],
)
def test_what_a_request_may_cost(per_call, calls, before, is_odd):
    assert (anomaly.cost("r", round(per_call * calls), calls, calls, before) is not None) is is_odd


@pytest.mark.parametrize(
    ("each", "before", "may_be"),
    [(1.6, USUAL, True), (1.4, USUAL, False), (0.6, USUAL, True), (1.6, USUAL[:6], False)],
)
def test_what_requests_cost_before_is_asked_only_where_it_may_matter(each, before, may_be):
    assert anomaly.may_be_odd(round(each * 200), 200, before) is may_be


def test_what_was_odd_stays_so_until_it_is_clearly_better():
    assert anomaly.amplification("r", 119, 100) is None
    assert anomaly.amplification("r", 119, 100, was_odd=True) is not None
    assert anomaly.amplification("r", 117, 100, was_odd=True) is None
    assert anomaly.estimated("r", 48, 1000, 50) is None
    assert anomaly.estimated("r", 48, 1000, 50, was_odd=True) is not None


def test_who_sees_what_is_odd(client, environment, now, bob, charlie):
    spend(now - MINUTE, 1, estimated=0.06)
    watching.watch(now=now)

    client.force_login(bob)
    (row,) = client.get("/api/v1/budgets/oddities/?environment=production").json()["results"]
    client.force_login(charlie)
    stranger = client.get("/api/v1/budgets/oddities/?environment=production")

    assert (row["route"], row["kind"]) == (ROUTE, "estimated_share")
    assert stranger.status_code == 404
