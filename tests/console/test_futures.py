"""Both ways on from here: what the plan would still spend, and what a rollback now would."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from apps.budgets.domain.forecast import Forecast
from apps.budgets.queries import BurnUp
from apps.console import spending
from apps.rollouts.domain.plan import Cost
from apps.rollouts.models import Rollout

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def status(spent: int, end: int, low: int, high: int) -> Any:
    return SimpleNamespace(verdict=SimpleNamespace(spent_nano=spent, forecast=Forecast(end, low, high, None)))


def hourly(expected: int, hours: int, spent: int) -> BurnUp:
    return BurnUp([], [(NOW + n * HOUR, spent + n * expected) for n in range(1, hours + 1)], [])


def rollout(state: Rollout.State = Rollout.State.RUNNING) -> Rollout:
    stages = [{"share": 25, "min_seconds": 7200}, {"share": 100}]
    return Rollout(share=2500, stage=0, stage_began_at=NOW, state=state, stages=stages)


def costs(now: int, baseline: int, candidate: int) -> list[Cost]:
    named = {"now": now, "baseline": baseline, "candidate": candidate}
    return [Cost(target, target, 100.0, nano) for target, nano in named.items()]


def test_without_a_rollout_there_is_one_forecast_with_its_own_range():
    (one,) = spending.futures(status(100, 140, 130, 160), hourly(10, 4, 100), NOW, None, [])

    assert (one.end_nano, one.low_nano, one.high_nano) == (140, 130, 160)


def test_a_rollback_costs_what_the_baseline_does_and_the_plan_moves_to_the_candidate():
    # 25 % of a candidate for 20 an hour, a baseline for 100: now 80 an hour.
    found = spending.futures(status(0, 320, 320, 320), hourly(80, 4, 0), NOW, rollout(), costs(80, 100, 20))

    goes_on, back = found
    assert back.end_nano == 400
    assert goes_on.end_nano == 2 * 80 + 2 * 20  # two hours of this stage, then all of it


def test_a_paused_plan_stays_where_it_is():
    found = spending.futures(
        status(0, 320, 320, 320), hourly(80, 4, 0), NOW, rollout(Rollout.State.PAUSED), costs(80, 100, 20)
    )

    assert found[0].end_nano == 320


@pytest.mark.parametrize("unknown", ["now", "baseline", "candidate"])
def test_a_target_without_a_price_leaves_one_forecast(unknown):
    known = [one for one in costs(80, 100, 20) if one.target != unknown]

    found = spending.futures(status(0, 320, 320, 320), hourly(80, 4, 0), NOW, rollout(), known)

    assert [one.name for one in found] == ["Forecast"]
