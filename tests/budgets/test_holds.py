"""Room under hard caps is held before a call is made, by all caps that count it or by none, and given back once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, connections
from django.test.utils import CaptureQueriesContext

from apps.budgets import caps, holding, ledger, queries, services
from apps.budgets.models import Hold, Settled
from apps.core.refusals import Invalid, NotFound
from apps.journal.models import Entry
from tests.budgets.make_rows import ALICE, ROUTE, spend
from tests.rollouts.make_rollouts import start_rollout

pytestmark = pytest.mark.django_db
USD = 10**9
SECOND = timedelta(seconds=1)
CALL = {"route": ROUTE, "variant": "old", "provider": "openai", "model": "gpt-4.1"}


def make_cap(now, usd=10, **changes):
    asked = {
        "environment": "production",
        "scope": {"route": ROUTE},
        "period": "day",
        "limit_nano": usd * USD,
        "thresholds": [],
        "is_hard": True,
        "by": ALICE,
        "because": "a cap",
        "now": now,
    }
    return services.create_budget(**(asked | changes))


def reserve(now, usd, hold="h-1", scope=CALL, seconds=300):
    return services.reserve(
        environment="production",
        hold=hold,
        scope=scope,
        nano=round(usd * USD),
        expires_at=now + timedelta(seconds=seconds),
        owner="edge-1",
        now=now,
    )


def settle(now, usd, hold="h-1"):
    nano = None if usd is None else round(usd * USD)
    return services.settle(environment="production", hold=hold, nano=nano, now=now)


def left(now, budget):
    return caps.cap_of(budget, now).left_nano / USD


def test_a_hold_reads_no_weeks_of_hours(now):
    make_cap(now)

    with CaptureQueriesContext(connection) as asked:
        reserve(now, 5)
        settle(now, 4)

    assert "is_hard" in " ".join(query["sql"] for query in asked)
    assert not [query["sql"] for query in asked if '"hours"' in query["sql"]]


def test_what_is_reserved_is_not_there_for_others(now):
    cap = make_cap(now)
    spend(now, 4)

    held = reserve(now, 5)

    assert held.caps[0].left_nano == 6 * USD  # before it
    assert left(now, cap) == 1
    with pytest.raises(services.BudgetExceeded) as refused:
        reserve(now, 2, "h-2")
    assert refused.value.extra == {
        "budget": cap.id,
        "name": "route invoice-extraction",
        "limit_usd": "10.000000",
        "spent_usd": "4.000000",
        "reserved_usd": "5.000000",
        "left_usd": "1.000000",
        "period_to": "2026-11-25T00:00:00+00:00",
        "on_unreachable": "closed",
        "at_cap": "finish",
    }


def test_all_caps_hold_it_or_none(now):
    wide = make_cap(now, 100, scope={})
    make_cap(now, 1)

    with pytest.raises(services.BudgetExceeded):
        reserve(now, 5)

    assert left(now, wide) == 100
    assert not Hold.objects.exists()


def test_only_caps_that_count_the_call_are_asked(now):
    make_cap(now, 1, scope={"route": "another"})
    make_cap(now, 1, scope={"arm": "shadow"})
    make_cap(now, 1, scope={"model": "openai/gpt-5"})
    make_cap(now, 1, is_hard=False)
    mine = make_cap(now, 10, scope={"model": "OpenAI/GPT-4.1"})

    assert [cap.budget for cap in reserve(now, 5).caps] == [mine.id]


def test_an_owner_is_known_by_the_route(now, environment):
    from tests.rollouts.make_rollouts import make_route

    make_route(now)
    cap = make_cap(now, scope={"owner": "payments"})

    assert [held.budget for held in reserve(now, 5, scope={"route": "invoice-extraction"}).caps] == [cap.id]


def test_settling_gives_back_what_was_not_needed(now):
    cap = make_cap(now)
    reserve(now, 5)

    settle(now, 2)

    assert left(now, cap) == 8


def test_a_report_that_comes_later_is_not_counted_on_top(now):
    cap = make_cap(now)
    reserve(now, 5)
    settle(now, 2)
    spend(now, 2)
    later = now + 16 * SECOND

    assert left(now, cap) in (6, 8)  # for some seconds both may be counted, never none
    assert left(later, cap) == 8


def test_a_call_that_is_settled_and_never_reported_stays_spent(now):
    cap = make_cap(now)
    reserve(now, 5)
    settle(now, 2)

    assert left(now + timedelta(hours=1), cap) == 8


def test_the_same_hold_again_is_the_same_hold(now):
    cap = make_cap(now)
    reserve(now, 5)

    assert reserve(now, 5).is_repeat
    assert left(now, cap) == 5
    with pytest.raises(services.HoldIsThere):
        reserve(now, 6)


def test_settled_once(now):
    cap = make_cap(now)
    reserve(now, 5)
    settle(now, 2)

    assert settle(now, 2).settled_nano == 2 * USD
    with pytest.raises(services.HoldHasEnded):
        settle(now, 3)
    assert Settled.objects.get(budget=cap.id).nano == 2 * USD


def test_more_is_held_only_where_there_is_room(now):
    cap = make_cap(now)
    reserve(now, 5)

    services.extend(environment="production", hold="h-1", nano=9 * USD, expires_at=None, now=now)
    with pytest.raises(services.BudgetExceeded):
        services.extend(environment="production", hold="h-1", nano=11 * USD, expires_at=None, now=now)

    assert left(now, cap) == 1


def test_longer_is_longer(now):
    make_cap(now)
    reserve(now, 5, seconds=10)

    services.extend(environment="production", hold="h-1", nano=None, expires_at=now + timedelta(minutes=9), now=now)

    assert services.expire(now=now + timedelta(minutes=8)) == 0
    assert services.expire(now=now + timedelta(minutes=9)) == 1
    with pytest.raises(services.HoldHasEnded):
        services.extend(environment="production", hold="h-1", nano=None, expires_at=now + 9 * SECOND, now=now)


@pytest.mark.parametrize(
    ("usd", "seconds", "scope"), [(1, 0, CALL), (1, 90_000, CALL), (-1, 60, CALL), (1, 60, {"planet": "earth"})]
)
def test_nonsense_holds_nothing(now, usd, seconds, scope):
    make_cap(now)

    with pytest.raises(Invalid):
        reserve(now, usd, scope=scope, seconds=seconds)

    assert not Hold.objects.exists()


def test_an_unknown_hold_is_not_settled(now):
    with pytest.raises(NotFound):
        settle(now, 1, "never")


def test_unverified_spend_counts_and_is_told_once(now):
    cap = make_cap(now)

    for hold in ("u-1", "u-2", "u-1"):
        services.settle_unverified(
            environment="production", hold=hold, scope=CALL, nano=2 * USD, owner="edge-1", now=now
        )

    assert left(now, cap) == 6
    assert queries.status_of(cap, now).unverified_nano == 4 * USD
    assert queries.status_of(cap, now + timedelta(days=1)).unverified_nano == 0
    told = Entry.objects.get(kind="budget.spend_unverified")
    assert told.sentence == "$2.000000 were spent under the cap of route invoice-extraction without asking for room."
    services.compare(now=now + timedelta(minutes=11))
    assert Entry.objects.filter(kind="budget.spend_verified", effect="closes").count() == 1


def test_hard_caps_are_closed_and_soft_ones_open_unless_chosen(now):
    hard, soft = make_cap(now), make_cap(now, is_hard=False)
    open_one = make_cap(now, on_unreachable="open")

    assert (hard.on_unreachable, soft.on_unreachable, open_one.on_unreachable) == ("closed", "open", "open")
    changed = services.update_budget(budget=soft.id, changes={"is_hard": True}, by=ALICE, because="x", now=now)
    assert changed.on_unreachable == "closed"
    with pytest.raises(Invalid):
        make_cap(now, on_unreachable="perhaps")
    with pytest.raises(Invalid):
        make_cap(now, period="request")


def broken(*_, **__):
    raise DatabaseError("gone")


def test_a_ledger_that_cannot_be_read_is_not_an_empty_one(now, monkeypatch):
    make_cap(now)
    monkeypatch.setattr(ledger, "spent", broken)

    with pytest.raises(services.BudgetUnverifiable):
        reserve(now, 1)

    assert not Hold.objects.exists()


def test_an_open_cap_lets_calls_pass_that_cannot_be_verified(now, monkeypatch):
    make_cap(now, on_unreachable="open")
    monkeypatch.setattr(ledger, "spent", broken)

    assert reserve(now, 1).hold.state == "open"


@pytest.mark.django_db(transaction=True)
def test_parallel_requests_never_see_the_same_room(now):
    make_cap(now, 10)

    def ask(number):
        try:
            reserve(now, 1, f"h-{number}")
            return True
        except services.BudgetExceeded:
            return False
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        given = list(pool.map(ask, range(24)))

    assert sum(given) == 10
    assert sum(Hold.objects.open().values_list("nano", flat=True)) == 10 * USD


@pytest.mark.django_db(transaction=True)
def test_settled_by_two_at_once_it_is_counted_once(now):
    cap = make_cap(now)
    reserve(now, 5)

    def end(usd):
        try:
            settle(now, usd)
            return True
        except services.HoldHasEnded:
            return False
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(end, (1, 2, 3, 4)))

    assert sum(ended) == 1
    assert Settled.objects.get(budget=cap.id).holds == 1


def test_ended_holds_are_forgotten_after_a_week_and_their_sums_are_not(now):
    cap = make_cap(now, period="month")
    reserve(now - timedelta(days=8), 5)
    settle(now - timedelta(days=8), 2)
    reserve(now, 1, "h-2")

    holding.forget_ended(now=now)

    assert [hold.key for hold in Hold.objects.all()] == ["h-2"]
    assert left(now, cap) == 7


def test_a_cap_of_other_calls_begins_with_what_those_have_spent(now):
    budget = make_cap(now)
    reserve(now, 5)
    settle(now, 5)
    spend(now, 2, route="other")

    services.update_budget(budget=budget.id, changes={"scope": {"route": "other"}}, by=ALICE, because="x", now=now)

    budget.refresh_from_db()
    assert left(now + timedelta(minutes=1), budget) == 8


def test_what_the_ledger_said_stays_for_seconds_and_holds_are_added(now, monkeypatch):
    cap = make_cap(now)
    reserve(now, 2)
    asked = []
    monkeypatch.setattr(ledger, "spent", lambda *_: asked.append(1))

    settle(now + SECOND, 1)
    reserve(now + 2 * SECOND, 3, "h-2")

    assert (asked, left(now + 3 * SECOND, cap)) == ([], 6)


def test_a_rolling_cap_forgets_what_is_long_ago(now):
    cap = make_cap(now, period="rolling_day")
    reserve(now, 5)
    settle(now, 5)
    spend(now, 5)

    assert (left(now + timedelta(minutes=1), cap), left(now + timedelta(hours=25), cap)) == (5, 10)


def test_a_rolling_cap_knows_what_was_settled_and_never_reported(now):
    cap = make_cap(now, period="rolling_day")
    reserve(now, 5)
    settle(now, 5)

    assert (left(now + timedelta(hours=20), cap), left(now + timedelta(hours=25), cap)) == (5, 10)


def test_a_hold_knows_the_rollout_and_the_model_by_its_route(now, environment):
    rollout = start_rollout(now, stages=[{"shadow": 20, "min_seconds": 86400}, {"share": 100}], guardrails=[])
    cap = make_cap(now, 1, scope={"rollout": rollout.id, "arm": "shadow"})
    model = make_cap(now, 1, scope={"model": "openai/gpt-5"})

    held = reserve(now, 0.5, scope={"route": ROUTE, "variant": "gpt-5", "arm": "shadow"})

    assert {one.budget for one in held.caps} == {cap.id, model.id}
