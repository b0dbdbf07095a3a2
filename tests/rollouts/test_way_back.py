"""The steps after a rollback: who was told, who follows, whether the baseline holds."""

from datetime import timedelta

import pytest

from apps.alerts import services as alerts
from apps.flags import queries as flags
from apps.flags import services as flag_services
from apps.journal.models import Entry
from apps.rollouts import services
from apps.rollouts.models import PlanStep
from tests.rollouts.make_rollouts import (
    ALICE,
    make_rollout,
    make_route,
    see_client,
    see_traffic,
    start_rollout,
    weights,
)

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)


@pytest.fixture
def decided_at(environment, now):
    start_rollout(now)
    see_client(now + 4 * SECOND, "invoices")
    see_client(now + 4 * SECOND, "claims")
    see_traffic(now + 5 * SECOND, n=400, variant="gpt-4.1", latency_ms=420)
    see_traffic(now + 5 * SECOND, n=80, variant="gpt-5", latency_ms=4300)
    services.tick(now=now + 5 * SECOND)
    return now + 5 * SECOND


def step(kind):
    return PlanStep.objects.get(kind=kind)


def test_the_clients_are_confirmed_when_all_have_the_new_snapshot(decided_at):
    see_client(decided_at + 1 * SECOND, "invoices")
    services.run_due_steps(decided_at + 1 * SECOND)
    half = step("confirm_at_clients")
    see_client(decided_at + 2 * SECOND, "claims")
    services.run_due_steps(decided_at + 3 * SECOND)
    whole = step("confirm_at_clients")

    assert (half.state, half.outcome.split(" on ")[0]) == ("waiting", "1 of 2 clients")
    assert (whole.state, whole.outcome.split(" on ")[0]) == ("done", "2 of 2 clients")
    assert whole.evidence["seconds"] == 3.0


def test_a_client_that_keeps_an_old_snapshot_is_somebodys_business(decided_at):
    see_client(decided_at + 30 * SECOND, "invoices")
    see_client(decided_at + 30 * SECOND, "claims", snapshot=1)

    services.run_due_steps(decided_at + 61 * SECOND)

    stuck = step("confirm_at_clients")
    entry = Entry.objects.get(kind="rollout.step_failed")
    assert (stuck.state, "claims" in stuck.outcome) == ("failed", True)
    assert (entry.effect, entry.severity) == ("opens", "critical")


def test_a_client_that_left_is_not_waited_for(decided_at):
    see_client(decided_at + 30 * SECOND, "invoices")

    services.run_due_steps(decided_at + 61 * SECOND)

    assert (step("confirm_at_clients").state, "silent" in step("confirm_at_clients").outcome) == ("done", True)


def test_where_nobody_tells_nothing_is_claimed(environment, now):
    rollout = start_rollout(now)
    services.roll_back(rollout=rollout, by=ALICE, because="test", now=now)

    services.run_due_steps(now + 61 * SECOND)

    assert step("confirm_at_clients").state == "unseen"


def test_those_on_call_were_told(decided_at):
    alerts.create_channel(
        environment="production", kind="email", name="ops", config={"to": ["ops@example.com"]}, by=ALICE, now=decided_at
    )
    services.run_due_steps(decided_at)
    before = step("tell")
    alerts.dispatch(decided_at + SECOND)
    services.run_due_steps(decided_at + 3 * SECOND)

    assert (before.state, before.outcome) == ("waiting", "the alert is on its way")
    assert (step("tell").state, step("tell").outcome) == ("done", "ops took it")


def test_a_persons_rollback_wakes_nobody(environment, now):
    rollout = start_rollout(now)
    services.roll_back(rollout=rollout, by=ALICE, because="test", now=now)

    services.run_due_steps(now + SECOND)

    assert step("tell").outcome == "nobody was woken: alice did it"
    assert not Entry.objects.filter(kind="rollout.rolled_back").exclude(effect="").exists()


def test_the_baseline_is_looked_at_after_a_while(decided_at):
    services.run_due_steps(decided_at + 15 * SECOND)
    early = step("watch_baseline").attempts
    see_traffic(decided_at + 19 * SECOND, n=50, variant="gpt-4.1", latency_ms=430, assigned_by="default")
    services.run_due_steps(decided_at + 21 * SECOND)

    assert early == 0
    assert step("watch_baseline").state == "done"
    assert "not rising" in step("watch_baseline").outcome


def test_a_baseline_that_breaks_under_its_traffic_wakes_somebody(decided_at):
    see_traffic(decided_at + 19 * SECOND, n=50, variant="gpt-4.1", errors=40, assigned_by="default")

    services.run_due_steps(decided_at + 21 * SECOND)

    assert step("watch_baseline").state == "failed"
    assert Entry.objects.filter(kind="rollout.step_failed", effect="opens").exists()


SHADOWED = [{"shadow": 20, "min_seconds": 0}, {"share": 100}]


def test_a_shadow_is_stopped_by_the_tick_itself(environment, now):
    rollout = start_rollout(now, stages=SHADOWED)
    assert flags.route("production", "invoice-extraction").shadow == {"variant": "gpt-5", "percent": 20}
    see_traffic(now + 5 * SECOND, n=400, variant="gpt-4.1", assigned_by="default")
    see_traffic(now + 5 * SECOND, n=80, variant="gpt-5", latency_ms=4300, arm="shadow")

    services.tick(now=now + 5 * SECOND)

    rollout.refresh_from_db()
    assert rollout.state == "rolled_back"
    assert flags.route("production", "invoice-extraction").shadow is None
    assert step("stop_shadow").state == "done"


def test_the_plan_may_lead_to_the_fallback(environment, now):
    make_route(now)
    services.set_plan(
        environment="production", route="invoice-extraction", target="fallback", by=ALICE, because="cheap", now=now
    )
    rollout = services.start(rollout=make_rollout(now), by=ALICE, because="go", now=now)

    services.roll_back(rollout=rollout, by=ALICE, because="test", now=now)

    assert flags.route("production", "invoice-extraction").switch == "fallback"
    assert weights() == {"gpt-4.1": 10_000}
    assert [one.kind for one in PlanStep.objects.order_by("position")][1] == "switch_to_fallback"


def test_a_step_is_done_once_however_many_workers_come(decided_at):
    first = services.run_due_steps(decided_at + SECOND)
    again = services.run_due_steps(decided_at + SECOND)

    assert (first, again) == (2, 0)


def test_a_leased_step_waits_for_its_lease_to_end(decided_at):
    PlanStep.objects.filter(kind="tell").update(claimed_by="dead", lease_ends_at=decided_at + 10 * SECOND)

    services.run_due_steps(decided_at + SECOND)
    meanwhile = step("tell").attempts
    services.run_due_steps(decided_at + 11 * SECOND)

    assert (meanwhile, step("tell").attempts) == (0, 1)


def test_stopping_the_shadow_leaves_another_rollouts_shadow_alone(environment, now):
    rollout = start_rollout(now, stages=SHADOWED)
    services.roll_back(rollout=rollout, by=ALICE, because="test", now=now)
    flag_services.set_shadow(
        environment="production", key="invoice-extraction", shadow={"variant": "flash-lite", "percent": 5},
        by=ALICE, because="another", now=now,
    )  # fmt: skip

    services.run_due_steps(now + SECOND)

    assert flags.route("production", "invoice-extraction").shadow == {"variant": "flash-lite", "percent": 5}
