"""Two workers at once, and one that slept through its lease: everything happens once."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection

from apps.core.actors import WORKER
from apps.journal.models import Entry
from apps.rollouts import acting, leases, services
from apps.rollouts.acting import Grounds
from apps.rollouts.domain import machine
from apps.rollouts.models import Decision, PlanStep, Rollout, Shard
from tests.rollouts.make_rollouts import ALICE, make_rollout, make_route, see_traffic, start_rollout

SECOND = timedelta(seconds=1)


def at_once(*works):
    """Runs each in a thread of its own, together; gives back what they returned or raised."""
    ready = threading.Barrier(len(works))
    found = [None] * len(works)

    def run(place, work):
        ready.wait()
        try:
            found[place] = work()
        except Exception as error:  # the test looks at it
            found[place] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(place, work)) for place, work in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.django_db(transaction=True)
def test_two_ticks_at_once_judge_and_act_once(environment, now):
    routes = [f"route-{number}" for number in range(6)]
    for key in routes:
        make_route(now, key=key)
        services.start(rollout=make_rollout(now, route=key), by=ALICE, because="go", now=now)
        see_traffic(now + 5 * SECOND, n=400, variant="gpt-4.1", latency_ms=420, route=key)
        see_traffic(now + 5 * SECOND, n=80, variant="gpt-5", latency_ms=4300, route=key)
    leases.ensure_shards()

    ticked = at_once(*[lambda: services.tick(now=now + 5 * SECOND)] * 3)

    assert [one for one in ticked if isinstance(one, Exception)] == []
    assert sum(one.shards for one in ticked) == 16
    assert sum(one.judged for one in ticked) == 6
    assert sum(len(one.acted) for one in ticked) == 6
    assert Decision.objects.filter(kind="roll_back").count() == 6
    assert Entry.objects.filter(kind="rollout.rolled_back").count() == 6
    assert set(Rollout.objects.values_list("state", flat=True)) == {"rolled_back"}


@pytest.mark.django_db(transaction=True)
def test_a_person_and_the_tick_roll_back_once(environment, now):
    rollout = start_rollout(now)
    see_traffic(now + 5 * SECOND, n=400, variant="gpt-4.1", latency_ms=420)
    see_traffic(now + 5 * SECOND, n=80, variant="gpt-5", latency_ms=4300)
    leases.ensure_shards()

    found = at_once(
        lambda: services.tick(now=now + 5 * SECOND),
        lambda: services.roll_back(rollout=rollout, by=ALICE, because="mine", now=now + 5 * SECOND),
    )

    assert [one for one in found if isinstance(one, Exception)] == []
    assert Decision.objects.filter(kind="roll_back").count() == 1


@pytest.mark.django_db(transaction=True)
def test_each_step_is_claimed_by_one_worker(environment, now):
    rollout = start_rollout(now, stages=[{"shadow": 20, "min_seconds": 0}, {"share": 100}])
    services.roll_back(rollout=rollout, by=ALICE, because="test", now=now)

    ran = at_once(*[lambda: services.run_due_steps(now + SECOND)] * 4)

    assert [one for one in ran if isinstance(one, Exception)] == []
    assert sum(ran) == 3  # tell, confirm, stop the shadow
    assert sorted(PlanStep.objects.values_list("attempts", flat=True)) == [0, 1, 1, 1, 1, 1]


@pytest.mark.django_db
def test_a_worker_that_slept_through_its_lease_does_nothing(environment, now):
    rollout = start_rollout(now)
    leases.ensure_shards()
    (asleep,) = [lease for lease in leases.claim("asleep", now, most=16) if lease.shard == rollout.shard]
    (awake,) = [lease for lease in leases.claim("awake", now + 16 * SECOND, most=16) if lease.shard == rollout.shard]
    rolls_back = machine.roll_back(rollout.progress(), "exceeded")
    act = {"rollout": rollout, "decision": rolls_back, "by": WORKER, "now": now, "grounds": Grounds(), "reason": "x"}

    too_late = acting.act(**act, lease=asleep)
    done = acting.act(**act, lease=awake)

    assert too_late is None
    assert done.kind == "roll_back"
    assert asleep.end(ticked_at=now, due_at=now) is False
    assert Shard.objects.get(number=rollout.shard).claimed_by == "awake"


@pytest.mark.django_db
def test_a_decision_on_an_old_generation_is_dropped(environment, now):
    rollout = start_rollout(now)
    leases.ensure_shards()
    (lease,) = [one for one in leases.claim("w", now, most=16) if one.shard == rollout.shard]
    services.pause(rollout=rollout, by=ALICE, because="lunch", now=now)  # between look and act
    decision = replace(machine.hold(rollout.progress(), "x"), kind="advance", stage=1, share=5000)

    done = acting.act(rollout=rollout, decision=decision, by=WORKER, now=now, grounds=Grounds(), lease=lease)

    assert done is None
    assert Rollout.objects.get().share == 1000


@pytest.mark.django_db
def test_a_shard_is_looked_at_again_when_it_is_due(environment, now):
    start_rollout(now)

    counts = [services.tick(now=now + at * SECOND).judged for at in (0, 2, 5, 6, 10)]

    assert counts == [1, 0, 1, 0, 1]
