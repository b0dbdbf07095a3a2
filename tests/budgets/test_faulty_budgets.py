"""One budget cannot be read, say because its zone is gone from this machine: the others are judged all the same."""

from datetime import timedelta

import pytest
from django.conf import settings

from apps.budgets import queries, services, spending
from apps.budgets.models import Budget
from apps.journal.models import Entry
from apps.rollouts import services as rollouts
from controlplane import watch
from tests.budgets.make_rows import ALICE, spend
from tests.budgets.test_budgets_judge_money import make_budget
from tests.budgets.test_holds import make_cap, reserve, settle

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)
TICK = timedelta(seconds=settings.TICK_SECONDS)


def broken(budget, **fields):
    Budget.objects.filter(pk=budget.pk).update(**(fields or {"timezone": "US/Pacific-New"}))
    return budget


def told(*names):
    found = Entry.objects.filter(condition__regex=rf":({'|'.join(names)})$").order_by("at", "id")
    return list(found.values_list("condition", "effect"))


@pytest.mark.parametrize(
    "fields",
    [{"timezone": "US/Pacific-New"}, {"scope": ["route"]}, {"scope": {"x": "y"}}, {"scope": {"route": 5}},
     {"thresholds": [7]}, {"period": "year"}],
)  # fmt: skip
def test_the_other_budgets_are_judged_and_forecast(now, fields):
    first, last = make_budget(now), make_budget(now, scope={})
    broken(make_budget(now), **fields)
    spend(now, 60)

    for tick in range(5):
        judged = services.judge_money(now=now + tick * TICK)
        assert {first.id, last.id} <= {verdict.budget for verdict in judged}
    spending.look_ahead(now=now)

    assert [row.budget.id for row in queries.budget_status("production", now) if row.verdict.exceeded][:2] == sorted(
        [first.id, last.id]
    )
    assert {f"budget:{first.id}:at:1", f"budget:{last.id}:at:1"} <= {condition for condition, _ in told("at:1")}


def test_people_are_told_of_it_after_three_ticks_and_when_it_is_over(now):
    make_budget(now)
    bad = broken(make_budget(now))
    silent = broken(make_budget(now), thresholds=[{"at": "all", "do": "block"}])  # it would never act

    for tick in range(3):
        services.judge_money(now=now + tick * TICK)
    assert told("unreadable") == []

    for tick in range(3, 6):
        services.judge_money(now=now + tick * TICK)
    services.update_budget(budget=bad.id, changes={"timezone": "UTC"}, by=ALICE, because="x", now=now + MINUTE)
    services.judge_money(now=now + MINUTE)

    condition, other = (f"budget:{one.id}:unreadable" for one in (bad, silent))
    assert told("unreadable") == [(condition, "opens"), (other, "opens"), (condition, "closes")]
    assert {entry.sentence for entry in Entry.objects.filter(kind="budget.unreadable")} == {
        "The budget of route invoice-extraction cannot be read: it is not judged until that is put right."
    }


def test_other_caps_are_compared(now):
    bad, cap = make_cap(now, 100, scope={"variant": "old"}), make_cap(now, 100)
    reserve(now, 50)
    settle(now, 50)
    broken(bad)

    assert [services.compare(now=now + minute * MINUTE) for minute in (1, 7)] == [[], [cap.id]]


@pytest.mark.parametrize("fields", [{"timezone": "US/Pacific-New"}, {"scope": ["route"]}])
def test_a_cap_that_cannot_be_read_is_not_a_cap_with_room(now, fields):
    cap = broken(make_cap(now, 100), **fields)

    with pytest.raises(services.BudgetUnverifiable):
        reserve(now, 1)

    Budget.objects.filter(pk=cap.pk).update(on_unreachable="open")
    assert reserve(now, 1).hold.state == "open"
    assert settle(now, 1).state == "settled"


def test_the_watchman_tells_when_no_budget_is_judged(environment, now, monkeypatch):
    make_budget(now)
    watched = [now, now + 2 * TICK, now + 3 * TICK]

    def fails(*_, **__):
        raise RuntimeError("out of order")

    with monkeypatch.context() as patched:
        patched.setattr(spending.queries, "reserved_nano", fails)
        for at in watched:
            assert rollouts.tick(now=at).faults == 1

    assert [watch.silence_of_money("production", at) for at in watched] == [
        "", "", "No budget of production has been judged since 03:00:00 UTC: no limit of money acts.",
    ]  # fmt: skip
    rollouts.tick(now=now + 4 * TICK)
    assert watch.silence_of_money("production", now + 4 * TICK) == ""
