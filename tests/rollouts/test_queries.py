from datetime import timedelta

import pytest

from apps.rollouts import queries, services
from apps.rollouts.domain.states import State
from tests.rollouts.make_rollouts import ALICE, make_rollout, make_route, see_traffic, send, start_rollout

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)


def test_the_board_is_worst_first(environment, now):
    make_route(now, key="a-steady")
    make_route(now, key="b-ramping")
    services.start(rollout=make_rollout(now, route="b-ramping", guardrails=[]), by=ALICE, because="x", now=now)
    make_route(now, key="c-fallen")
    services.fall_back(environment="production", route="c-fallen", by=ALICE, because="x", now=now)
    services.tick(now=now + SECOND)

    rows = queries.board("production", now + SECOND)

    assert [(row.route.key, row.state) for row in rows] == [
        ("c-fallen", State.ON_FALLBACK),
        ("b-ramping", State.RAMPING),
        ("a-steady", State.STEADY),
    ]
    assert (rows[1].share, rows[1].next_share) == (1000, 5000)


def test_a_route_is_unprotected_when_nobody_looks(environment, now):
    start_rollout(now)
    services.tick(now=now + SECOND)

    assert queries.route_state("production", "invoice-extraction", now + 10 * SECOND).state is not State.UNPROTECTED
    assert queries.route_state("production", "invoice-extraction", now + 90 * SECOND).state is State.UNPROTECTED


def test_progress_tells_done_present_and_to_come(environment, now):
    rollout = start_rollout(now)
    services.advance(rollout=rollout, by=ALICE, because="x", now=now + SECOND)

    view = queries.progress(rollout.id)

    assert [stage.state for stage in view.stages] == ["done", "present", "to come"]
    assert view.next_at == now + 16 * SECOND


def test_the_age_of_the_protection_is_that_of_its_oldest_shard(environment, now):
    assert queries.last_tick_at() is None

    services.tick(now=now)

    assert queries.last_tick_at() == now


def test_before_and_after_are_measured_by_variant(environment, now):
    make_route(now)
    see_traffic(now, n=100, variant="gpt-4.1", latency_ms=420, cost="0.0184", assigned_by="default")
    outcomes = [
        {"id": f"o-{i}", "at": now.isoformat(), "route": "invoice-extraction", "variant": "gpt-4.1",
         "assigned": "gpt-4.1", "name": "handoff", "value": int(i < 7)}
        for i in range(100)
    ]  # fmt: skip
    send({"batch_id": "b-o", "calls": [], "outcomes": outcomes}, now)
    later = now + timedelta(days=1)
    see_traffic(later, n=100, variant="flash-lite", latency_ms=190, cost="0.00698", assigned_by="default")

    day = timedelta(hours=6)
    before, after = queries.before_after(
        "production", "invoice-extraction", before=(now - day, now + day), after=(later - day, later + day)
    )

    assert before["gpt-4.1"].p50_ms == pytest.approx(420, rel=0.03)
    assert before["gpt-4.1"].cost_per_1k_nano == 18_400_000_000
    assert before["gpt-4.1"].handoffs_per_day == pytest.approx(14)
    assert after["flash-lite"].cost_per_1k_nano == 6_980_000_000
    assert after["flash-lite"].handoffs_per_day is None
