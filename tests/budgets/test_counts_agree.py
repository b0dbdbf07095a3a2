"""What holds were settled at and what reports tell of: compared each minute, and one sum in the end."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.budgets import queries, services
from apps.budgets.models import Budget, HoldPart
from apps.journal.models import Entry
from apps.telemetry import queries as telemetry
from apps.telemetry.models import LedgerLine
from tests.budgets.make_rows import ALICE, ROUTE, spend
from tests.budgets.test_budgets_judge_money import make_budget
from tests.budgets.test_holds import SECOND, USD, left, make_cap, reserve, settle

pytestmark = pytest.mark.django_db
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def compare(now, *minutes):
    return [services.compare(now=now + minute * MINUTE) for minute in minutes]


def spent(budget, now):
    return queries.status_of(Budget.objects.get(pk=budget.pk), now).verdict.spent_nano / USD


def in_all(now):
    return telemetry.spent_nano("production", now - 3 * DAY, now + 3 * DAY) / USD


def told(*conditions):
    found = Entry.objects.exclude(effect="").filter(condition__regex=rf":({'|'.join(conditions)})$")
    return list(found.order_by("at", "id").values_list("effect", flat=True))


def change(budget, now, **changes):
    return services.update_budget(budget=budget.id, changes=changes, by=ALICE, because="x", now=now)


@pytest.mark.parametrize("period", ["day", "week", "month", "rolling_hour", "rolling_day"])
def test_a_call_that_ends_before_midnight_and_is_settled_after_it_is_booked_once(period):
    late = datetime(2026, 11, 30, 23, 59, 50, tzinfo=UTC)  # a Monday, the last day of its month
    cap = make_cap(late, 100, period=period)
    reserve(late, 4)
    spend(late, 4)

    settle(late + 20 * SECOND, 4)

    assert compare(late, 1, 4, 7, 30, 59, 61, 120, 600, 1440) == [[]] * 9
    assert in_all(late) == 4
    assert told("counts") == []
    assert left(late + MINUTE, cap) in (96, 92)  # for enforcement it counts when it arrives


def test_a_cap_by_the_hour_agrees_with_slices_that_are_settled_late(now):
    make_cap(now, 1000, period="hour")
    for minute in range(50, 75):
        at, hold = now + minute * MINUTE + 50 * SECOND, f"h-{minute}"
        reserve(at, 1, hold)
        spend(at, 1)
        settle(at + 65 * SECOND, 1, hold)
        services.compare(now=at + 66 * SECOND)

    compare(now, 80, 90, 130)

    assert in_all(now) == 25
    assert told("counts") == []


def test_holds_that_are_never_reported_are_found_missing_beside_one_that_began_yesterday():
    late = datetime(2026, 11, 24, 23, 59, 50, tzinfo=UTC)
    cap = make_cap(late, 100)
    reserve(late, 4, "over-midnight")
    spend(late, 4)
    settle(late + 20 * SECOND, 4, "over-midnight")
    reserve(late + MINUTE, 50, "lost")
    settle(late + 2 * MINUTE, 50, "lost")

    assert compare(late, 3, 9) == [[], [cap.id]]
    assert in_all(late) == 54


def test_what_was_told_late_without_asking_is_not_missed_in_the_next_period():
    made = datetime(2026, 11, 24, 23, 55, tzinfo=UTC)
    make_cap(made, 100)
    spend(made, 4)

    services.settle_unverified(
        environment="production", hold="u-1", scope={"route": ROUTE}, nano=4 * USD, owner="edge-1",
        now=made + 10 * MINUTE,
    )  # fmt: skip

    assert compare(made, 11, 17, 30) == [[]] * 3
    assert in_all(made) == 4


@pytest.mark.parametrize("period", ["hour", "rolling_hour"])
def test_reports_that_come_after_the_period_take_back_what_was_booked_in_it(now, period):
    late = now + 50 * MINUTE
    cap, day = make_cap(now, 100, period=period), make_budget(now, limit_nano=1000 * USD)
    reserve(late, 50)
    settle(late, 50)
    assert compare(late, 1, 7) == [[], [cap.id]]
    assert spent(day, late + 8 * MINUTE) == 50

    spend(late, 50)
    compare(late, 65)

    assert spent(day, late + 66 * MINUTE) == 50
    assert told("counts") == ["opens", "closes"]


def test_what_is_missing_at_the_end_of_a_period_is_booked_after_it(now):
    late = now + 58 * MINUTE
    make_cap(now, 100, period="hour")
    reserve(late, 50)
    settle(late, 50)

    compare(late, 1, 4, 7, 30)

    assert telemetry.spent_nano("production", now, now + HOUR) == 50 * USD


def test_what_was_never_reported_stays_booked(now):
    late = now + 50 * MINUTE
    make_cap(now, 100, period="hour")
    reserve(late, 50)
    settle(late, 50)

    compare(late, 1, 7, 20, 600, 1440, 3000, 4000)

    assert in_all(now) == 50
    assert Entry.objects.filter(kind="budget.counts_repaired").count() == 1


@pytest.mark.parametrize(
    "changes",
    [{"timezone": "Europe/Berlin"}, {"period": "week"}, {"scope": {"variant": "old"}}],
    ids=["timezone", "period", "scope"],
)
def test_a_budget_that_changes_takes_its_bookings_along(now, changes):
    cap = make_cap(now, 100)
    reserve(now, 50)
    settle(now, 50)
    compare(now, 1, 7)
    assert in_all(now) == 50

    change(cap, now + 8 * MINUTE, **changes)
    spend(now, 50)
    compare(now, 9, 15, 25)

    assert spent(cap, now + 26 * MINUTE) == 50
    assert in_all(now) == 50


@pytest.mark.parametrize("over", ["ended", "soft"])
def test_a_cap_that_is_none_any_more_closes_its_alerts_and_still_learns_of_late_reports(now, over):
    cap = make_cap(now, 100)
    reserve(now, 50)
    settle(now, 50)
    services.settle_unverified(
        environment="production", hold="u-1", scope={"route": ROUTE}, nano=USD, owner="edge-1", now=now
    )
    compare(now, 1, 7)
    assert told("counts", "unverified") == ["opens", "opens"]

    if over == "ended":
        services.end_budget(budget=cap.id, by=ALICE, because="x", now=now + 8 * MINUTE)
    else:
        change(cap, now + 8 * MINUTE, is_hard=False)
    assert told("counts", "unverified") == ["opens", "opens", "closes", "closes"]

    spend(now, 51)
    compare(now, 9, 20)

    assert in_all(now) == 51
    assert len(told("counts", "unverified")) == 4


def test_calls_of_a_hold_that_expired_count_once_when_they_were_reported(now):
    """A process was killed after its calls had been reported, and before it could settle them."""
    wide, cap = make_cap(now, 100, scope={}), make_cap(now, 10)
    reserve(now, 2, seconds=60)
    spend(now, 1.5)
    services.expire(now=now + MINUTE)
    assert spent(cap, now + MINUTE) == 3.5

    compare(now, 2, 3, 12)

    assert [spent(one, now + 12 * MINUTE) for one in (cap, wide)] == [2, 2]  # of the rest nobody knows
    assert left(now + 12 * MINUTE, cap) == 8
    assert Entry.objects.get(kind="budget.counts_repaired").because == (
        "$1.500000 are taken back for route invoice-extraction: reports tell of calls whose holds had expired."
    )
    assert sum(LedgerLine.objects.filter(rule="hold_expired").values_list("calls", flat=True)) == 1

    settle(now + 13 * MINUTE, 1.5)  # it was alive after all

    assert spent(cap, now + 14 * MINUTE) == 1.5
    assert sum(LedgerLine.objects.filter(rule="hold_expired").values_list("calls", flat=True)) == 0


def test_what_others_may_have_reported_takes_nothing_back_from_a_hold_that_expired(now):
    cap = make_cap(now, 100)
    reserve(now, 2, "dead", seconds=60)
    reserve(now, 20, "alive")
    spend(now, 15)
    services.expire(now=now + MINUTE)

    compare(now, 2)
    assert spent(cap, now + 2 * MINUTE) == 17  # all of it may be of the hold that is open

    settle(now + 3 * MINUTE, 13, "alive")
    compare(now, 4, 5)

    assert spent(cap, now + 5 * MINUTE) == 15
    assert set(HoldPart.objects.values_list("state", "nano")) == {("settled", 13 * USD), ("expired", 0)}


def test_a_hold_that_expires_after_midnight_counts_its_reported_calls_once():
    late = datetime(2026, 11, 24, 23, 58, tzinfo=UTC)
    make_cap(late, 10)
    reserve(late, 2, seconds=300)
    spend(late, 2)
    services.expire(now=late + 5 * MINUTE)

    compare(late, 6, 7)

    assert in_all(late) == 2
