"""What users of other gateways suffered from hard caps and their counters, each as a test here: named after the
suffering, in its negation."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import DatabaseError, connections

from apps.budgets import ledger, queries, services
from apps.budgets.models import Budget, Hold, HoldPart, Settled
from apps.journal.models import Entry
from apps.telemetry import queries as telemetry
from apps.telemetry import rolling
from apps.telemetry.models import LedgerLine
from tests.budgets.make_rows import ROUTE, spend
from tests.budgets.test_holds import USD, left, make_cap, reserve, settle

pytestmark = pytest.mark.django_db
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)


def test_more_processes_do_not_mean_a_higher_cap(now):
    """Each process kept a counter of its own: the cap times the number of pods."""
    cap = make_cap(now, 10)
    for edge in ("edge-1", "edge-2", "edge-3"):
        reserve(now, 3, edge)
        settle(now, 3, edge)

    with pytest.raises(services.BudgetExceeded):
        reserve(now, 1.5)
    assert left(now, cap) == 1


def test_a_lost_counter_is_not_read_as_zero(now):
    """$30 a day, admitted at $99, after the cache had lost its counter."""
    cap = make_cap(now, 30)
    spend(now, 29)
    Budget.objects.update(kept={}, crossed=[], began={})
    Settled.objects.all().delete()

    assert left(now, cap) == 1
    with pytest.raises(services.BudgetExceeded):
        reserve(now, 2)


@pytest.mark.django_db(transaction=True)
def test_parallel_requests_do_not_all_see_room(now):
    """Check, call, add: between check and add everybody else checks too."""
    left(now, make_cap(now, 1))  # what the ledger said is known: nothing but the cap's lock lets them queue

    def ask(number):
        try:
            return bool(reserve(now, 1, f"h-{number}"))
        except services.BudgetExceeded:
            return False
        finally:
            connections.close_all()

    with ThreadPoolExecutor(5) as pool:
        assert sum(pool.map(ask, range(10))) == 1


def test_many_processes_that_start_do_not_multiply_what_is_spent(now):
    """Each pod added the database's sum to the shared counter when it started."""
    cap = make_cap(now, 10)
    spend(now, 3)

    for pod in range(5):
        at = now + pod * 10 * SECOND  # the ledger is asked anew each time
        services.judge_money(now=at)
        rolling.roll_up()
        assert left(at, cap) == 7

    assert queries.status_of(cap, now).verdict.spent_nano == 3 * USD


def test_what_is_settled_and_what_is_reported_do_not_drift_apart_unseen(now):
    """Counter $50, ledger $14, after time-outs: nobody compared them."""
    cap = make_cap(now, 100)
    reserve(now, 50)
    settle(now, 50)
    spend(now, 14)

    assert left(now + MINUTE, cap) == 50  # of the two counts the higher one
    found = [services.compare(now=now + minute * MINUTE) for minute in (1, 3, 6, 7)]

    assert found == [[], [], [cap.id], [cap.id]]
    assert Entry.objects.get(kind="budget.counts_differ").sentence == (
        "Calls under the cap of route invoice-extraction are not reported: $50.000000 were settled, reports tell of "
        "$14.000000."
    )
    assert left(now + 7 * MINUTE, cap) == 50


@pytest.mark.parametrize(("reported", "is_told"), [(49.6, False), (49.4, True)])
def test_a_difference_above_one_percent_is_told(now, reported, is_told):
    make_cap(now, 100)
    reserve(now, 50)
    settle(now, 50)
    spend(now, reported)

    for minute in (1, 6):
        services.compare(now=now + minute * MINUTE)

    assert Entry.objects.filter(kind="budget.counts_differ").exists() == is_told


def test_a_ledger_that_is_behind_is_repaired_and_reports_that_come_late_take_it_back(now):
    """Two numbers for one spend stayed two numbers."""
    wide, cap = make_cap(now, 1000, scope={}), make_cap(now, 100)
    reserve(now, 50)
    settle(now, 50)
    spend(now, 14)
    for minute in (1, 6, 7):
        services.compare(now=now + minute * MINUTE)
    repaired = [queries.status_of(one, now + 7 * MINUTE).verdict.spent_nano / USD for one in (wide, cap)]

    spend(now, 36)
    assert services.compare(now=now + 8 * MINUTE) == []

    assert repaired == [50, 50]
    assert queries.status_of(wide, now + 8 * MINUTE).verdict.spent_nano == 50 * USD
    assert {
        row.keys["variant"]: row.estimated_nano
        for row in telemetry.spend("production", now, now + DAY, by=("variant",))
    } == {"old": 0}
    told = Entry.objects.filter(kind="budget.counts_repaired").order_by("id")
    assert [entry.because for entry in told] == [
        "$36.000000 are booked as estimated for route invoice-extraction: holds were settled at them, and no report "
        "tells of them.",
        "$36.000000 are taken back for route invoice-extraction: reports tell of the calls.",
    ]
    assert Entry.objects.filter(kind="budget.counts_differ").count() == 1  # one cause, one alert
    assert Entry.objects.filter(kind="budget.counts_agree", effect="closes").count() == 1


def test_a_cancelled_request_does_not_hold_its_room_for_ever(now):
    """Holds leaked, and a budget that nobody used was full."""
    cap = make_cap(now, 10)
    reserve(now, 9, seconds=60)

    assert services.expire(now=now + MINUTE) == 1
    assert services.expire(now=now + MINUTE) == 0

    line = LedgerLine.objects.get()
    assert (line.estimated_nano, line.rule, line.route, line.calls) == (9 * USD, "hold_expired", ROUTE, 1)
    assert left(now + MINUTE, cap) == 1  # the call may have been made: its money is estimated, not given back
    assert left(now + DAY, cap) == 10


def test_what_was_held_and_what_it_cost_are_not_both_counted(now):
    """The clean-up failed half-way: hold and actual cost stayed."""
    cap = make_cap(now, 10)
    reserve(now, 9, seconds=60)
    services.expire(now=now + MINUTE)

    settle(now + 2 * MINUTE, 2)  # it came after all

    assert sum(LedgerLine.objects.values_list("estimated_nano", flat=True)) == 0
    assert left(now + 2 * MINUTE, cap) == 8
    spend(now, 2)
    assert left(now + 5 * MINUTE, cap) == 8


def test_a_success_without_a_price_is_not_free(now):
    """The hold was given back and nothing booked."""
    cap = make_cap(now, 10)
    reserve(now, 4)

    row = settle(now, None)

    assert row.is_unpriced
    assert left(now, cap) == 6
    assert left(now + 5 * MINUTE, cap) == 6
    assert telemetry.spend("production", now - DAY, now + DAY)[0].estimated_nano == 4 * USD


@pytest.mark.parametrize("broken", ["ledger.spent", "Hold.objects.create", "HoldPart.objects.bulk_create"])
def test_fail_closed_is_closed_wherever_it_fails(now, monkeypatch, broken):
    """ "Fail closed" held for reading the counter, and not for the reservation itself."""
    cap = make_cap(now, 10)

    def fails(*_, **__):
        raise DatabaseError("gone")

    owner, name = {
        "ledger.spent": (ledger, "spent"),
        "Hold.objects.create": (Hold.objects, "create"),
        "HoldPart.objects.bulk_create": (HoldPart.objects, "bulk_create"),
    }[broken]
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, fails)
        with pytest.raises((services.BudgetUnverifiable, DatabaseError)):
            reserve(now, 1)

    assert not Hold.objects.exists()
    assert left(now, cap) == 10


def test_a_new_period_inherits_nothing_from_a_cache(now):
    """The database was reset and the cache was not: blocked for days. Or a period began with all of a lifetime."""
    midnight = now.replace(hour=0) + DAY
    cap = make_cap(now, 10)
    spend(now, 10)
    services.judge_money(now=midnight - SECOND)
    with pytest.raises(services.BudgetExceeded):
        reserve(midnight - SECOND, 1)

    assert reserve(midnight + SECOND, 1).hold.state == "open"
    assert left(midnight + SECOND, cap) == 9


def test_the_most_that_a_call_may_cost_is_reserved_and_not_what_the_last_one_did(now):
    """Streams were counted at their end, and the next request was refused instead."""
    cap = make_cap(now, 10)
    reserve(now, 6, "h-1")

    with pytest.raises(services.BudgetExceeded):
        reserve(now, 6, "h-2")
    settle(now, 1, "h-1")
    assert reserve(now, 6, "h-2").hold.state == "open"
    assert left(now, cap) == 3


def test_a_hold_that_ends_after_midnight_counts_when_it_is_settled(now):
    cap = make_cap(now, 10)
    late = now.replace(hour=23, minute=59)
    reserve(late, 4)

    settle(late + 2 * MINUTE, 4)

    assert left(late + 2 * MINUTE, cap) == 6
