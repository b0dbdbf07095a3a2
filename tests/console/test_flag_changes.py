"""Change requests in the console: drafted, approved by another person, applied, scheduled."""

import re

import pytest
from django.utils import timezone

from apps.core.actors import person
from apps.flags import change_requests, queries, services
from apps.flags.models import ChangeRequest
from tests.console.flag_pages import HERE, KEY, address, ask, body, change_behind

pytestmark = pytest.mark.django_db


def test_in_a_protected_environment_saving_asks_another_person(protected, client, alice, dora):
    answer = ask(client, alice)

    row = ChangeRequest.objects.get()
    assert answer["Location"].startswith(address("change", row.id))
    assert (row.state, len(queries.flag(HERE, KEY).rules)) == ("submitted", 2)
    text = body(client.get(address("change", row.id)))
    assert "You wrote this: it waits for dora." in text
    assert "Germans: country is DE, then on" in text


def test_four_eyes_approve_and_apply(protected, client, alice, dora):
    ask(client, alice)
    row = ChangeRequest.objects.get()
    own = client.post(address("change-act", row.id, "approve"), {"digest": ""})
    client.force_login(dora)

    text = body(client.get(address("change", row.id)))
    digest = re.search(r'name="digest"\s+value="(\w+)"', text)[1]
    client.post(address("change-act", row.id, "approve"), {"digest": digest, "expected": row.revision})
    armed = body(client.get(address("change-act", row.id, "apply")))
    for _ in range(2):  # a double tap
        client.post(address("change-act", row.id, "apply"), {"expected": row.revision + 1})

    row.refresh_from_db()
    assert own.status_code == 403
    assert "Yes, apply it" in armed
    assert (row.state, len(queries.flag(HERE, KEY).rules)) == ("applied", 3)


def test_whoever_approves_sees_who_would_move(protected, client, alice, dora):
    client.force_login(alice)
    client.post(address("flag-edit", KEY, "weights"), {"share-0": "40", "share-1": "60", "do": "keep"})
    client.post(address("flag-review", KEY), {"because": "More", "revision": "2", "do": "submit"})
    client.force_login(dora)

    text = body(client.get(address("change", ChangeRequest.objects.get().id)))

    assert re.search(r"Of 40 subjects seen in the last day \d+ would move: \d+ from off to on\.", text)


def test_a_void_approval_is_said(protected, client, alice, dora):
    ask(client, alice)
    row = ChangeRequest.objects.get()
    change_requests.approve(id=row.id, by=person("dora"), now=timezone.now())
    services.switch_off(environment=HERE, key=KEY, by=person("tom"), because="hot", now=timezone.now())

    text = body(client.get(address("change", row.id)))
    answer = client.post(address("change-act", row.id, "apply"))

    assert "The approval by dora is void" in text
    assert answer.status_code == 409 and "is void" in body(answer)
    row.refresh_from_db()
    assert row.state == "submitted"


def test_a_rejection_needs_a_reason(protected, client, alice, dora):
    ask(client, alice)
    row = ChangeRequest.objects.get()
    client.force_login(dora)

    without = client.post(address("change-act", row.id, "reject"), {"because": ""})
    client.post(address("change-act", row.id, "reject"), {"because": "Not on Friday"})

    row.refresh_from_db()
    assert without.status_code == 409
    assert (row.state, row.sentence) == ("rejected", "Not on Friday")


@pytest.mark.parametrize("act", ["submit", "approve", "reject", "apply", "schedule", "redraft", "withdraw"])
def test_a_viewer_and_a_stranger_decide_nothing(act, protected, client, alice, bob, charlie):
    ask(client, alice)
    row = ChangeRequest.objects.get()
    client.force_login(bob)
    viewer = client.post(address("change-act", row.id, act), {"because": "x"}).status_code
    client.force_login(charlie)
    stranger = client.post(address("change-act", row.id, act), {"because": "x"}).status_code

    row.refresh_from_db()
    assert (viewer, stranger, row.state) == (403, 404, "submitted")


def test_a_conflict_is_drafted_anew(protected, client, alice):
    ask(client, alice)
    row = ChangeRequest.objects.get()
    protected.is_protected = False
    protected.save()
    change_behind(rules=[])

    text = body(client.get(address("change", row.id)))
    client.post(address("change-act", row.id, "redraft"))

    row.refresh_from_db()
    assert "What has moved since" in text
    assert (row.state, row.base_revision) == ("draft", 3)


def test_a_change_is_scheduled_for_a_moment_to_come(story, client, alice):
    row = change_requests.propose(
        environment=HERE, subject=KEY, fields={"owner": "x"}, by=person("alice"), because="b", now=timezone.now()
    )
    client.force_login(alice)

    past = client.post(address("change-act", row.id, "schedule"), {"due_at": "2020-01-01T00:00"})
    client.post(address("change-act", row.id, "schedule"), {"due_at": "2100-01-01T00:00"})

    row.refresh_from_db()
    assert past.status_code == 409
    assert row.state == "scheduled"


def test_what_waits_comes_first(protected, client, alice):
    ask(client, alice)

    text = body(client.get(address("changes")))

    assert "Waits for approval" in text and "Change new-parser" in text


# --- audiences, clients, tester -----------------------------------------------------------------------------------
