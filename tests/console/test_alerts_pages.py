"""Alerts: what stands on top, what a press does, and that nothing acts on GET."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core import mail
from django.urls import reverse

from apps.alerts import services as alerts
from apps.alerts.models import Alert, Channel, Delivery, Silence
from apps.core.actors import person
from apps.journal.models import Entry
from tests.alerts.make_alerts import channel, say
from tests.console.make_money import KEY, alert_of, morning
from tests.console.read_pages import text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def story(environment):
    morning(NOW)
    return alert_of(KEY)


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


@pytest.mark.parametrize("who", ["bob", "charlie"])
def test_who_may_not_press_changes_nothing(who, story, client, request):
    client.force_login(request.getfixturevalue(who))
    stuck, hook = Delivery.objects.failing().get(), Channel.objects.get(kind="email")

    answers = [
        client.post(reverse("alert-silence", args=[story.id]), {"until": (NOW + HOUR).isoformat()}),
        client.post(reverse("alert-assign", args=[story.id]), {"to": "alice"}),
        client.post(reverse("alert-resolve", args=[story.id])),
        client.post(reverse("escalation"), {"after-0": "0", "channels-0": [hook.id]}),
        client.post(reverse("channel-switch", args=[hook.id]), {"is_active": "0"}),
        client.post(reverse("channel-rotate", args=[hook.id])),
        client.post(reverse("channel", args=[hook.id]), {"name": "mine"}),
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
        ("alert-assign", story.id),
        ("alert-resolve", story.id),
        ("channel-switch", mailed.id),
        ("channel-rotate", mailed.id),
        ("delivery-again", stuck.id),
        ("channel-test", mailed.id),
    ):
        client.get(reverse(name, args=[id]))

    assert alert_of(KEY).state == "firing"
    assert alert_of("contract-summary").silenced_until == NOW + timedelta(days=2)
    assert mail.outbox == []


def test_teams_has_accepted_an_alert_and_not_taken_it(environment, client, alice):
    client.force_login(alice)
    teams = Channel.objects.create(
        environment="production", kind="teams", name="ops", config={"url": "https://x"}, created_at=NOW
    )
    say(NOW)
    alerts.read_journal(NOW)
    Delivery.objects.get(channel=teams).finish(answer="202 accepted", at=NOW + timedelta(seconds=2))

    page = text(client.get(reverse("alerts")))

    assert "ops (accepted)" in page
    assert "accepted it after 2 s." in page and "202 accepted" in page
    assert "took it" not in page and "elivered" not in page


def test_the_header_of_every_page_counts_what_fires_what_somebody_has_and_what_is_silenced(story, client, alice):
    client.force_login(alice)
    before = text(client.get(reverse("now")))

    alerts.acknowledge(alert=story, by=person("alice"), now=NOW)
    after = text(client.get(reverse("now")))

    assert "1 firing" in before and "1 acknowledged" in before and "1 silenced" in before
    assert "2 acknowledged" in after and " firing</strong>" not in after


def test_quiet_says_when_the_last_alert_was(environment, client, alice):
    client.force_login(alice)
    say(NOW - 72 * HOUR)
    alerts.read_journal(NOW - 72 * HOUR)
    alerts.resolve(alert=alert_of(KEY), by=person("alice"), now=NOW - 71 * HOUR)

    assert "Nothing is firing. The last alert was 3 d ago." in text(client.get(reverse("alerts")))


# --- whose it is, its end by hand, and what one cause mutes ----------------------------------------------------------


def test_an_alert_is_assigned_and_resolved_without_script(story, client, alice):
    client.force_login(alice)
    opened = text(client.get(reverse("alerts"), {"handle": story.id}))

    client.post(reverse("alert-assign", args=[story.id]), {"to": "alice"})
    owners = [row.owner for row in client.get(reverse("alerts")).context["rows"]]
    wrong = client.post(reverse("alert-assign", args=[story.id]), {"to": "mallory"})
    client.post(reverse("alert-resolve", args=[story.id]), {"because": "GPT-5 is off"})

    assert "Assign to" in opened and "Resolve by hand" in opened
    assert "took it after 2 s." in opened and "answered 503" in opened  # what was sent of this alert
    assert owners[0] == "alice"
    assert wrong.status_code == 409 and "mallory does not operate production." in text(wrong)
    story.refresh_from_db()
    assert (story.state, Entry.objects.get(kind="alert.resolved").because) == ("resolved", "GPT-5 is off")


def test_a_viewer_sees_what_was_sent_and_who_can_act(story, client, alice, bob):
    client.force_login(bob)

    opened = text(client.get(reverse("alerts"), {"handle": story.id}))

    assert "answered 503" in opened
    assert "Resolve by hand" not in opened and "alice can do this." in opened


def test_the_worst_stands_first_and_what_is_muted_says_by_what(environment, client, alice):
    client.force_login(alice)
    for n, severity in enumerate(("warning", "critical", "error")):
        say(NOW - HOUR + timedelta(minutes=n), key=f"plan:{severity}", route=severity, severity=severity)
    say(NOW, key="stale:invoice-extraction", severity="error")
    say(NOW, key="watch:telemetry", route="", severity="error", sentence="No telemetry has come.")
    alerts.read_journal(NOW)

    rows = client.get(reverse("alerts")).context["rows"]

    assert [row.title for row in rows] == ["critical", "production", "error", "warning", KEY]
    assert [row.second for row in rows] == [
        "critical", "error, mutes 1", "error", "warning", "muted by the missing telemetry"
    ]  # fmt: skip


def test_an_old_alert_that_is_open_is_not_hidden_by_newer_ones_that_are_over(environment, client, alice):
    client.force_login(alice)
    say(NOW - 48 * HOUR, route="old")
    alerts.read_journal(NOW - 48 * HOUR)
    Alert.objects.bulk_create(
        Alert(environment="production", condition=f"rollout:{n}", state="resolved", severity="error", route=f"r-{n}",
              sentence="x", opened_at=NOW - HOUR, last_at=NOW - HOUR, resolved_at=NOW - HOUR)
        for n in range(250)
    )  # fmt: skip

    shown = client.get(reverse("alerts")).context

    assert [row.title for row in shown["rows"]] == ["old"]
    assert len(shown["over"]) == 100


def test_of_a_storm_the_page_shows_the_worst_hundred_and_counts_all(environment, client, alice):
    client.force_login(alice)
    for n in range(130):
        say(NOW, route=f"route-{n}", severity="critical" if n == 129 else "error")
    alerts.read_journal(NOW)

    answer = client.get(reverse("alerts"))

    assert answer.context["rows"][0].title == "route-129"
    assert "30 more, less grave or older, are not shown." in text(answer)
    assert "130 firing." in text(answer)


def test_a_broken_channel_and_one_that_its_receiver_has_switched_off_are_banners(environment, client, alice):
    client.force_login(alice)
    bad = channel("email", NOW, "bad", to=["ops@example.com"])
    gone = channel("email", NOW, "gone", to=["ops@example.com"])
    Channel.objects.filter(pk=bad.pk).update(broken_at=NOW - HOUR, failures_in_row=11, last_answer="503")
    gone.switch_off("The receiver answered 410 Gone: it wants no more messages.")

    told = text(client.get(reverse("alerts")))

    assert "is broken since 02:00:00: 11 messages in a row were not taken, the last with 503." in told
    assert "is switched off. The receiver answered 410 Gone: it wants no more messages." in told
