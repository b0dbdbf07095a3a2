from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from apps.alerts import services as alerts
from apps.alerts.models import Alert
from apps.core.actors import person
from apps.flags import queries as flags
from apps.journal.models import Entry
from apps.rollouts import services as rollouts
from apps.rollouts.models import Decision
from tests.rollouts.make_rollouts import make_rollout, make_route, see_traffic, weights

pytestmark = pytest.mark.django_db
KEY = "invoice-extraction"


@pytest.fixture
def running(environment):
    """Undo and cool-down go by the clock of the press: these begin a minute ago."""
    begin = timezone.now() - timedelta(minutes=1)
    make_route(begin)
    rollout = make_rollout(begin)
    return rollouts.start(rollout=rollout, by=person("tom"), because="test", now=begin)


def press(client, act, **data):
    return client.post(reverse("act", args=[KEY, act]), {"idempotency_key": "one-press", **data})


def test_the_first_press_asks_in_place_and_moves_nothing(running, client, alice):
    client.force_login(alice)

    answer = client.get(reverse("act", args=[KEY, "roll-back"]), headers={"HX-Request": "true"})

    text = answer.content.decode()
    assert text.strip().startswith("<form")
    assert "Send 100\u00a0% to GPT-4.1?" in text
    assert "Moves 10\u00a0% back." in text
    assert "Keep 10\u00a0% on GPT-5" in text
    assert weights() == {"gpt-4.1": 9000, "gpt-5": 1000}


def test_without_a_script_the_first_press_is_a_page_with_the_same_confirm(running, client, alice):
    client.force_login(alice)

    text = client.get(reverse("act", args=[KEY, "roll-back"])).content.decode()

    assert text.strip().startswith("<!DOCTYPE html>")
    assert "Send 100\u00a0% to GPT-4.1?" in text


def test_the_second_press_rolls_back_and_says_so(running, client, alice):
    client.force_login(alice)

    answer = client.post(
        reverse("act", args=[KEY, "roll-back"]), {"idempotency_key": "k"}, headers={"HX-Request": "true"}
    )

    text = answer.content.decode()
    assert weights() == {"gpt-4.1": 10_000}
    assert f"Done, snapshot {flags.route('production', KEY).since_version}" in text
    assert "All traffic is on" in text
    assert "Undo, " in text
    assert Decision.objects.get(kind="roll_back").by == "alice"


def test_a_double_tap_is_one_act(running, client, alice):
    client.force_login(alice)

    for _ in range(2):
        press(client, "pause")

    assert Entry.objects.filter(kind="rollout.paused").count() == 1


def test_the_same_key_is_one_press_even_where_the_act_could_be_done_again(running, client, alice):
    client.force_login(alice)
    press(client, "pause")

    rollouts.resume(rollout=running, by=person("tom"), because="go on", now=timezone.now())
    press(client, "pause")

    running.refresh_from_db()
    assert running.state == "running"


@pytest.mark.parametrize(
    "act", ["pause", "roll-back", "fall-back", "restore", "next-stage", "approve", "undo", "resume"]
)
def test_a_viewer_may_look_and_not_press(act, running, client, bob):
    client.force_login(bob)

    answer = press(client, act)

    assert answer.status_code == 403
    assert weights() == {"gpt-4.1": 9000, "gpt-5": 1000}


@pytest.mark.parametrize("act", ["pause", "roll-back", "fall-back"])
def test_a_stranger_may_neither(act, running, client, charlie):
    client.force_login(charlie)

    assert press(client, act).status_code == 403
    assert client.get(reverse("act", args=[KEY, act])).status_code == 403
    assert weights() == {"gpt-4.1": 9000, "gpt-5": 1000}


def test_a_viewer_reads_who_can_do_it(running, client, bob, alice):
    client.force_login(bob)

    text = client.get(reverse("route", args=[KEY])).content.decode()

    assert "alice can do this." in text
    assert "disabled" in text


def test_a_press_needs_the_csrf_token(running, alice):
    from django.test import Client

    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)

    assert strict.post(reverse("act", args=[KEY, "roll-back"])).status_code == 403
    assert weights() == {"gpt-4.1": 9000, "gpt-5": 1000}


def test_pausing_and_resuming(running, client, alice):
    client.force_login(alice)

    press(client, "pause", idempotency_key="a")
    running.refresh_from_db()
    paused = running.state
    press(client, "resume", idempotency_key="b")
    running.refresh_from_db()

    assert (paused, running.state) == ("paused", "running")


def test_falling_back_and_restoring(running, client, alice):
    client.force_login(alice)

    press(client, "fall-back", idempotency_key="a")
    on_fallback = flags.route("production", KEY).on_fallback
    press(client, "restore", idempotency_key="b")

    assert (on_fallback, flags.route("production", KEY).on_fallback) == (True, False)


def test_the_next_stage_needs_the_rollout_as_it_was_seen(running, client, alice):
    client.force_login(alice)

    stale = client.post(
        reverse("act", args=[KEY, "next-stage"]),
        {"idempotency_key": "a", "expected": "0"},
        headers={"HX-Request": "true"},
    )
    press(client, "next-stage", expected=str(running.revision), idempotency_key="b")

    assert "changed this at" in stale.content.decode()
    assert weights() == {"gpt-4.1": 5000, "gpt-5": 5000}


def test_one_s_own_act_can_be_undone(running, client, alice):
    client.force_login(alice)
    press(client, "roll-back", idempotency_key="a")

    press(client, "undo", idempotency_key="b")

    running.refresh_from_db()
    assert (running.state, running.share) == ("paused", 1000)


def test_what_a_colleague_did_meanwhile_is_said_and_not_done_again(running, client, alice):
    client.force_login(alice)
    rollouts.roll_back(rollout=running, by=person("tom"), because="too slow", now=timezone.now())

    press(client, "roll-back")

    assert Decision.objects.filter(kind="roll_back").count() == 1


def test_an_act_that_does_not_exist_is_not_found(running, client, alice):
    client.force_login(alice)

    assert press(client, "explode").status_code == 404


@pytest.fixture
def firing(running):
    begin = timezone.now() - timedelta(seconds=40)
    see_traffic(begin, n=400, variant="gpt-4.1", latency_ms=420)
    see_traffic(begin, n=80, variant="gpt-5", latency_ms=4300)
    rollouts.tick(now=begin)
    alerts.read_journal(timezone.now())
    return Alert.objects.get(route=KEY)


def test_acknowledging_is_one_press_and_moves_no_traffic(firing, client, alice):
    client.force_login(alice)

    answer = client.post(reverse("acknowledge", args=[firing.id]), headers={"HX-Request": "true"})

    firing.refresh_from_db()
    assert (firing.state, firing.acknowledged_by) == ("acknowledged", "alice")
    assert "No traffic was moved." in answer.content.decode()


def test_a_link_never_acknowledges(firing, client, alice):
    client.force_login(alice)

    client.get(reverse("acknowledge", args=[firing.id]))
    client.get(reverse("silence", args=[firing.id, 1]))

    firing.refresh_from_db()
    assert firing.state == "firing"


def test_a_silence_has_an_end(firing, client, alice):
    client.force_login(alice)

    client.post(reverse("silence", args=[firing.id, 8]))

    firing.refresh_from_db()
    assert timedelta(hours=7) < firing.silenced_until - timezone.now() < timedelta(hours=9)


def test_a_viewer_does_not_acknowledge_and_a_stranger_learns_nothing(firing, client, bob, charlie):
    client.force_login(bob)
    viewer = client.post(reverse("acknowledge", args=[firing.id])).status_code
    client.force_login(charlie)
    stranger = client.post(reverse("acknowledge", args=[firing.id])).status_code

    firing.refresh_from_db()
    assert (viewer, stranger, firing.state) == (403, 404, "firing")
