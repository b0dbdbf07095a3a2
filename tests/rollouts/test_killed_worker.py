"""A worker dies by SIGKILL between, before or in the steps of a rollback: the next one finishes the plan, once."""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from apps.flags import queries as flags
from apps.flags.models import Snapshot
from apps.journal.models import Entry
from apps.rollouts import services
from apps.rollouts.models import PlanStep, Rollout
from tests.processes import ROOT, url_of_test_database
from tests.rollouts.make_rollouts import ALICE, start_rollout

SECOND = timedelta(seconds=1)
pytestmark = pytest.mark.django_db(transaction=True)


def run_and_be_killed(where, now):
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "dies_in_a_step.py"), where, now.isoformat()],
        env=os.environ
        | {
            "DATABASE_URL": url_of_test_database(),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'sdk'}",
            "DJANGO_SETTINGS_MODULE": "controlplane.settings",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("where", ["in-the-transaction", "after-the-publish", "claimed"])
def test_the_next_worker_finishes_the_plan_exactly_once(environment, now, where):
    rollout = start_rollout(now, stages=[{"shadow": 20, "min_seconds": 0}, {"share": 100}])
    services.roll_back(rollout=rollout, by=ALICE, because="test", now=now)
    PlanStep.objects.filter(kind__in=["tell", "confirm_at_clients", "watch_baseline"]).delete()
    before = Snapshot.objects.count()

    run_and_be_killed(where, now + SECOND)
    after_the_crash = (Snapshot.objects.count(), PlanStep.objects.get(kind="stop_shadow").state)
    services.run_due_steps(now + 5 * SECOND)
    while_leased = PlanStep.objects.get(kind="stop_shadow").state
    services.run_due_steps(now + 12 * SECOND)
    services.run_due_steps(now + 30 * SECOND)

    assert after_the_crash == (before, "waiting")  # decision and weights stand, nothing is half done
    assert while_leased == "waiting"
    assert PlanStep.objects.get(kind="stop_shadow").state == "done"
    assert Snapshot.objects.count() == before + 1
    assert Entry.objects.filter(kind="flag.shadow_changed", after__shadow=None).count() == 1
    assert flags.route("production", "invoice-extraction").shadow is None
    assert Rollout.objects.get().state == "rolled_back"
