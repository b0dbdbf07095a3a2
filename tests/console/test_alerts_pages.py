"""Alerts: what stands on top, what a press does, and that nothing acts on GET."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core import mail
from django.urls import reverse

from apps.alerts import services as alerts
from apps.alerts.models import Alert, Channel, Delivery, Silence
from apps.core.actors import person
from tests.alerts.make_alerts import channel, say
from tests.console.make_money import KEY, alert_of, morning

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr("django.utils.timezone.now", lambda: NOW)


@pytest.fixture
def story(environment):
    morning(NOW)
    return alert_of(KEY)


def text(answer) -> str:
    return answer.content.decode().replace("\u00a0", " ")


PAGES = ["alerts", "silences", "channels"]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("who", ["alice", "bob"])
def test_operator_and_viewer_see_every_page(page, who, story, client, request):
    client.force_login(request.getfixturevalue(who))

    assert client.get(reverse(page)).status_code == 200


@pytest.mark.parametrize("page", PAGES)
def test_a_stranger_sees_nothing(page, story, client, charlie):
    client.force_login(charlie)

    answer = client.get(reverse(page))

    assert answer.status_code == 403
    assert KEY not in text(answer)


def test_what_fails_is_pinned_on_top_and_says_who_was_reached(story, client, alice):
    client.force_login(alice)

    told = text(client.get(reverse("alerts")))

    assert "ops-bridge is failing:" in told
    assert "503, 3 times; next try at 03:00:30. The same alert reached" in told
    assert told.index("ops-bridge is failing") < told.index("Rolled back")


def test_firing_stands_first_and_resolved_last(story, client, alice):
    client.force_login(alice)

    shown = client.get(reverse("alerts")).context

    assert [row.word for row in shown["rows"]] == ["Firing", "Acknowledged", "Silenced"]
    assert [row.title for row in shown["over"]] == ["email-tagging"]


def test_a_silence_opens_in_the_row_and_its_button_states_the_end(story, client, alice):
    client.force_login(alice)

    one = text(client.get(reverse("alerts"), {"silence": story.id}))
    eight = text(client.get(reverse("alerts"), {"silence": story.id, "for": "8", "because": "known"}))

    assert "Silence until 04:00" in one
    assert "Silence until 11:00" in eight and 'value="known"' in eight


def test_a_silence_ends_when_its_button_said(story, client, alice):
    client.force_login(alice)
    until = NOW + 8 * HOUR

    client.post(reverse("alert-silence", args=[story.id]), {"until": until.isoformat(), "because": "known"})

    story.refresh_from_db()
    assert (story.state, story.silenced_until, story.silenced_by) == ("silenced", until, "alice")


def test_no_silence_is_longer_than_a_day_whatever_was_posted(story, client, alice):
    client.force_login(alice)

    client.post(reverse("alert-silence", args=[story.id]), {"until": (NOW + 999 * HOUR).isoformat()})

    story.refresh_from_db()
    assert story.silenced_until == NOW + 24 * HOUR


def test_a_silence_can_be_ended_and_what_still_fires_is_told_again(story, client, alice):
    client.force_login(alice)
    silenced = alert_of("contract-summary")

    client.post(reverse("alert-end-silence", args=[silenced.id]))
    alerts.dispatch(NOW + timedelta(seconds=5))

    silenced.refresh_from_db()
    assert silenced.state == Alert.State.FIRING


def test_send_again_gives_a_delivery_a_new_life(story, client, alice):
    client.force_login(alice)
    stuck = Delivery.objects.failing().get()
    Delivery.objects.filter(pk=stuck.pk).update(is_dead=True)

    client.post(reverse("delivery-again", args=[stuck.id]))

    stuck.refresh_from_db()
    assert (stuck.is_dead, stuck.attempts, stuck.next_try_at) == (False, 0, NOW)


def test_a_test_really_sends(environment, client, alice):
    client.force_login(alice)
    made = channel("email", NOW, "mail", to=["ops@example.com"])

    answer = client.post(reverse("channel-test", args=[made.id]), headers={"HX-Request": "true"})

    assert "Taken" in text(answer)
    assert [one.to for one in mail.outbox] == [["ops@example.com"]]


@pytest.mark.parametrize("who", ["bob", "charlie"])
def test_who_may_not_press_changes_nothing(who, story, client, request):
    client.force_login(request.getfixturevalue(who))
    stuck, hook = Delivery.objects.failing().get(), Channel.objects.get(kind="email")

    answers = [
        client.post(reverse("alert-silence", args=[story.id]), {"until": (NOW + HOUR).isoformat()}),
        client.post(reverse("delivery-again", args=[stuck.id])),
        client.post(reverse("channel-test", args=[hook.id])),
        client.post(reverse("silences"), {"route": KEY, "hours": "1"}),
        client.post(reverse("channels"), {"kind": "email", "name": "x", "to": "a@b"}),
    ]

    assert {answer.status_code for answer in answers} <= {403, 404}
    assert alert_of(KEY).state == "firing"
    assert (mail.outbox, Silence.objects.count(), Channel.objects.count()) == ([], 0, 3)


def test_nothing_acts_on_get(story, client, alice):
    client.force_login(alice)
    stuck, mailed = Delivery.objects.failing().get(), Channel.objects.get(kind="email")

    for name, id in (
        ("alert-silence", story.id),
        ("alert-end-silence", alert_of("contract-summary").id),
        ("delivery-again", stuck.id),
        ("channel-test", mailed.id),
    ):
        client.get(reverse(name, args=[id]))

    assert alert_of(KEY).state == "firing"
    assert alert_of("contract-summary").silenced_until == NOW + timedelta(days=2)
    assert mail.outbox == []


def test_a_matcher_shows_what_it_covers_before_it_silences(story, client, alice):
    client.force_login(alice)

    shown = client.get(reverse("silences"), {"route": KEY, "hours": "4", "preview": "1"})
    client.post(reverse("silences"), {"route": KEY, "hours": "4", "because": "known"})

    assert "1 open now, and 1 of 4 alerts" in text(shown)
    assert "Silence until 07:00" in text(shown)
    made = Silence.objects.get()
    assert (made.route, made.ends_at, made.by) == (KEY, NOW + 4 * HOUR, "alice")
    assert alert_of(KEY).state == "silenced"


def test_maintenance_is_planned_ahead_and_called_off(environment, client, alice):
    client.force_login(alice)
    asked = {"kind": "maintenance", "starts_at": "2026-11-25T22:00", "hours": "4", "owner": "payments"}

    client.post(reverse("silences"), asked)
    made = Silence.objects.get()
    client.post(reverse("silence-end", args=[made.id]))

    assert made.is_maintenance
    assert (made.starts_at, made.ends_at) == (
        datetime(2026, 11, 25, 22, tzinfo=UTC),
        datetime(2026, 11, 26, 2, tzinfo=UTC),
    )
    assert Silence.objects.get().ended_by == "alice"


def test_a_webhook_is_added_and_its_secret_is_shown_once(environment, client, alice, settings):
    client.force_login(alice)

    answer = client.post(reverse("channels"), {"kind": "webhook", "name": "ops", "to": "https://example.com/hook"})

    secret = Channel.objects.get().config["secret"]
    assert secret in text(answer)
    assert secret not in text(client.get(reverse("channels")))


def test_a_channel_that_cannot_be_says_why(environment, client, alice):
    client.force_login(alice)

    answer = client.post(reverse("channels"), {"kind": "email", "name": "ops", "to": "nobody"})

    assert answer.status_code == 422
    assert "An e-mail channel needs a list of addresses." in text(answer)


def test_quiet_says_when_the_last_alert_was(environment, client, alice):
    client.force_login(alice)
    say(NOW - 72 * HOUR)
    alerts.read_journal(NOW - 72 * HOUR)
    alerts.resolve(alert=alert_of(KEY), by=person("alice"), now=NOW - 71 * HOUR)

    assert "Nothing is firing. The last alert was 3 d ago." in text(client.get(reverse("alerts")))
