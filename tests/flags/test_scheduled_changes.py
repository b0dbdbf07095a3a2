"""A change at its moment: once, whole, and refused with a sentence when what it was made upon has moved."""

from datetime import timedelta

import pytest

from apps.access.models import Environment
from apps.core.actors import person
from apps.core.refusals import Invalid
from apps.flags import change_requests, keeping, queries, requests_seen, services, tasks
from apps.flags.models import ChangeRequest
from tests.flags.make_flags import ALICE, NOW, make_flag, make_route
from tests.flags.test_services import last_entry

pytestmark = pytest.mark.django_db
LATER = NOW + timedelta(hours=1)
SAID = {"environment": "production", "by": ALICE, "because": "to see", "now": NOW}
FLAG = SAID | {"key": "new-parser"}
ROUTE = SAID | {"key": "invoice-extraction"}


def schedule(subject: str = "new-parser", due_at=LATER, **fields) -> ChangeRequest:
    return change_requests.schedule_change(**SAID, subject=subject, fields=fields, due_at=due_at)


def test_it_is_made_at_its_moment_and_once():
    make_flag()
    row = schedule(default_variant="on")

    assert change_requests.run_due(now=LATER - timedelta(seconds=1)) == 0
    assert change_requests.run_due(now=LATER) == 1
    assert change_requests.run_due(now=LATER) == 0

    assert queries.flag("production", "new-parser").default_variant == "on"
    assert requests_seen.one(row.id).state == "applied"
    entry = last_entry()
    assert (entry.kind, entry.by, entry.at) == ("flag.changed", "worker:schedule", LATER)
    assert entry.because == "to see (change request of alice)"


def test_two_workers_at_once_make_it_once():
    make_flag()
    row = schedule(default_variant="on")

    assert [change_requests.run_one(row.id, now=LATER) for _ in range(2)] == [True, False]
    assert queries.snapshot("production").version == 2


def test_what_moved_meanwhile_is_a_conflict_and_an_alert_and_nothing_is_half_made():
    make_flag()
    row = schedule(default_variant="on", description="both or none")
    services.update_flag(**FLAG, description="another's")

    assert change_requests.run_due(now=LATER) == 0

    flag = queries.flag("production", "new-parser")
    assert (flag.default_variant, flag.description, flag.since_version) == ("off", "another's", 2)
    seen = requests_seen.one(row.id)
    assert seen.state == "conflicted"
    assert seen.sentence.startswith("new-parser changed since this was drafted: alice changed description.")
    entry = last_entry()
    assert (entry.kind, entry.effect, entry.condition) == (
        "change_request.conflicted",
        "opens",
        f"change-request:{row.id}",
    )
    assert change_requests.run_due(now=LATER) == 0

    change_requests.withdraw(id=row.id, by=ALICE, because="no longer needed", now=LATER)
    from apps.journal.models import Entry

    assert Entry.objects.filter(condition=f"change-request:{row.id}", effect="closes").exists()


def test_a_rollout_that_moved_the_weights_wins():
    make_route()
    row = schedule("invoice-extraction", weights={"flash-lite": 100, "gpt-4.1": 9900})
    services.take_hold(**ROUTE, holder="rollout 7", trial="7")
    services.change_weights(**ROUTE, weights={"flash-lite": 5000, "gpt-4.1": 5000}, holder="rollout 7")

    change_requests.run_due(now=LATER)

    assert queries.route("production", "invoice-extraction").weights["flash-lite"] == 5000
    assert requests_seen.one(row.id).state == "conflicted"


def test_one_that_conflicts_does_not_stop_the_next():
    make_flag()
    make_flag("other")
    schedule(default_variant="on")
    schedule("other", default_variant="on")
    keeping.archive_flag(**FLAG)

    assert change_requests.run_due(now=LATER) == 1

    assert queries.flag("production", "other").default_variant == "on"


def test_a_fault_in_one_stays_due_and_does_not_stop_the_next(monkeypatch):
    make_flag()
    make_flag("other")
    broken = schedule(default_variant="on")
    schedule("other", default_variant="on")
    carry_out = change_requests.carry_out

    def fail(row, **said):
        if row.id == broken.id:
            raise RuntimeError("the disk is full")
        return carry_out(row, **said)

    monkeypatch.setattr(change_requests, "carry_out", fail)
    assert change_requests.run_due(now=LATER) == 1
    monkeypatch.undo()

    assert requests_seen.one(broken.id).state == "scheduled"
    assert change_requests.run_due(now=LATER) == 1


def test_an_environment_that_became_protected_asks_for_an_approval():
    make_flag()
    row = schedule(default_variant="on")
    Environment.objects.update(is_protected=True)

    change_requests.run_due(now=LATER)

    seen = requests_seen.one(row.id)
    assert seen.state == "conflicted"
    assert "in a protected environment is for one that is approved" in seen.sentence
    assert queries.flag("production", "new-parser").default_variant == "off"


def test_an_approved_request_is_scheduled_and_void_if_anything_changes():
    make_flag()
    make_flag("other")
    Environment.objects.update(is_protected=True)
    rows = []
    for subject in ("new-parser", "other"):
        row = change_requests.propose(**SAID, subject=subject, fields={"default_variant": "on"}, submit=True)
        change_requests.approve(id=row.id, by=person("dave"), now=NOW)
        rows.append(change_requests.schedule(id=row.id, due_at=LATER, by=ALICE, now=NOW))
    services.switch_off(**FLAG)

    assert change_requests.run_due(now=LATER) == 1

    assert [requests_seen.one(row.id).state for row in rows] == ["conflicted", "applied"]
    assert "approval by dave is void" in requests_seen.one(rows[0].id).sentence


def test_a_moment_that_has_passed_is_refused():
    make_flag()

    with pytest.raises(Invalid, match="a moment to come"):
        schedule(default_variant="on", due_at=NOW)
    assert not ChangeRequest.objects.exists()


def test_an_overdue_change_is_made_as_it_was_drafted_and_late_is_told():
    make_flag()
    schedule(default_variant="on", due_at=LATER)
    schedule(description="x", due_at=LATER + timedelta(minutes=1))

    assert change_requests.run_due(now=LATER + timedelta(days=2)) == 2


def test_the_beat_runs_it():
    from controlplane import celeryconfig

    make_flag()
    tasks.run_due_changes()

    assert celeryconfig.beat_schedule["run-due-changes"]["task"] == tasks.run_due_changes.name
