"""What each kind of channel really sends, read back by a receiver of ours."""

import json
from types import SimpleNamespace

import pytest
from django.core import mail
from django.urls import reverse

from apps.alerts import sending, services
from apps.alerts.models import Channel, Delivery
from apps.core.refusals import Refused
from tests.alerts.make_alerts import ALICE, MINUTE, ROUTE, SECOND, SENTENCE, channel, end, say, the_alert

pytestmark = pytest.mark.django_db


def test_slack_gets_text_for_the_notification_and_blocks(receiver, now, settings):
    settings.PUBLIC_URL = "https://changeover.example"
    receiver.answers, receiver.body = [(200, {})], b"ok"
    channel("slack", now, url=receiver.url)
    say(now, sentence="Rolled back <search> & more because p95 was 4 s.")

    services.dispatch(now)

    (told,) = receiver.told()
    assert told["text"] == "🔴 Rolled back &lt;search&gt; &amp; more because p95 was 4 s."
    assert told["blocks"][0]["text"]["text"].startswith("*🔴 Rolled back")
    assert any(
        "<https://changeover.example/d/1|Look>" in block.get("text", {}).get("text", "") for block in told["blocks"]
    )
    assert Delivery.objects.get().answer == "200"


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_slacks_no_is_final(receiver, now, status):
    receiver.answers = [(status, {})]
    channel("slack", now, url=receiver.url)
    say(now)

    services.dispatch(now)

    assert Delivery.objects.get().is_dead
    assert Channel.objects.get().is_active


def test_a_slack_digest_stays_within_its_limits(receiver, now):
    channel("slack", now, url=receiver.url)
    for n in range(60):
        say(now, route=f"a-route-with-quite-a-long-name-{n:03}", severity="error", sentence="x" * 900)

    services.dispatch(now)

    for _, body in receiver.got:
        told = json.loads(body)
        assert len(body) < 13_000
        assert len(told["blocks"]) <= 50
        assert all(len(block["text"]["text"]) <= 3000 for block in told["blocks"] if "text" in block)


def test_pagerduty_is_triggered_acknowledged_and_resolved_under_one_key(receiver, now):
    receiver.answers = [(202, {})]
    channel("pagerduty", now, routing_key="k" * 32, url=receiver.url)
    say(now)
    services.dispatch(now)
    services.acknowledge(alert=the_alert(), by=ALICE, now=now + SECOND)
    services.dispatch(now + SECOND)
    end(now + MINUTE)

    told = receiver.told()
    assert [event["event_action"] for event in told] == ["trigger", "acknowledge", "resolve"]
    assert len({event["dedup_key"] for event in told}) == 1
    payload = told[0]["payload"]
    assert payload["summary"] == SENTENCE
    assert (payload["severity"], payload["component"], payload["group"]) == ("critical", ROUTE, "payments")
    assert payload["class"] == "rollout"
    assert "payload" not in told[1]


def test_a_test_of_pagerduty_leaves_no_incident_open(receiver, now):
    receiver.answers = [(202, {}), (202, {}), (202, {}), (429, {})]
    duty = channel("pagerduty", now, routing_key="k" * 32, url=receiver.url)

    outcomes = [services.test_channel(channel=duty, by=ALICE, now=now) for _ in range(2)]

    told = receiver.told()
    assert [event["event_action"] for event in told] == ["trigger", "resolve"] * 2
    assert told[0]["dedup_key"] == told[1]["dedup_key"] != told[2]["dedup_key"]
    assert [outcome.answer for outcome in outcomes] == [
        "202",
        "202; the incident of the test is still open: 429 Too Many Requests",
    ]


@pytest.mark.parametrize(("status", "state"), [(400, "dead"), (429, "failing"), (500, "failing")])
def test_pagerdutys_no_is_final_only_where_it_does_not_understand(receiver, now, status, state):
    receiver.answers = [(status, {})]
    channel("pagerduty", now, routing_key="k" * 32, url=receiver.url)
    say(now)

    services.dispatch(now)

    assert Delivery.objects.get().state == state


def test_pagerdutys_digest_is_one_incident_that_ends_with_its_last_alert(receiver, now):
    receiver.answers = [(202, {})]
    channel("pagerduty", now, routing_key="k" * 32, url=receiver.url)
    for n in range(8):
        say(now, route=f"route-{n}", severity="error")
    services.dispatch(now)
    triggered = receiver.told()
    at = now
    for n in range(8):
        at = now + (n + 1) * 10 * SECOND
        end(at, route=f"route-{n}")

    resolved = receiver.told()[5:]
    assert [event["event_action"] for event in triggered] == ["trigger"] * 5
    assert triggered[-1]["payload"]["summary"].startswith("4 routes are firing in production")
    assert [event["event_action"] for event in resolved] == ["resolve"] * 5
    assert {event["dedup_key"] for event in resolved} == {event["dedup_key"] for event in triggered}
    assert Delivery.objects.filter(event="resolved", answer="its incident goes on for others").count() == 3
    assert not Delivery.objects.waiting().exists()


def test_a_repeat_comes_under_the_key_that_pagerduty_knows(receiver, now):
    receiver.answers = [(202, {})]
    channel("pagerduty", now, routing_key="k" * 32, url=receiver.url)
    say(now)
    services.dispatch(now)

    services.dispatch(now + 240 * MINUTE)

    first, again = receiver.told()
    assert again["dedup_key"] == first["dedup_key"]
    assert again["payload"]["summary"].startswith("Still firing since 03:00 UTC: ")


def test_teams_gets_an_adaptive_card_and_says_accepted(receiver, now, settings):
    settings.PUBLIC_URL = "https://changeover.example"
    receiver.answers = [(202, {})]
    channel("teams", now, url=receiver.url)
    say(now)

    services.dispatch(now)

    (told,) = receiver.told()
    (attachment,) = told["attachments"]
    assert (told["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    card = attachment["content"]
    assert SENTENCE in card["body"][0]["text"]
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Look", "url": "https://changeover.example/d/1"}]
    assert Delivery.objects.get().answer == "202 accepted"


def test_a_test_of_teams_is_accepted(receiver, environment, client, alice, now):
    receiver.answers = [(202, {})]
    teams = channel("teams", now, url=receiver.url)
    client.force_login(alice)

    page = client.post(reverse("channel-test", args=[teams.id])).content.decode()

    assert "Accepted" in page and "202 accepted" in page
    assert "Taken" not in page


def test_a_teams_digest_stays_under_28_kb(receiver, now):
    channel("teams", now, url=receiver.url)
    for n in range(60):
        say(now, route=f"route-{n}", severity="error", sentence="é" * 900)

    services.dispatch(now)

    assert max(len(body) for _, body in receiver.got) < 28_000


@pytest.mark.parametrize(
    ("kind", "config", "says"),
    [
        ("slack", {}, "needs an address"),
        ("teams", {"url": "ftp://x"}, "begins with https://"),
        ("pagerduty", {}, "routing key"),
        ("pagerduty", {"routing_key": "k" * 31}, "32 characters"),
        ("email", {"to": "ops@example.com"}, "list of addresses"),
        ("email", {"to": ["ops@example.com; night@example.com"]}, "no mail address"),
        ("apprise", {"urls": ["nonsense"]}, "does not understand address 1"),
        ("apprise", {"urls": []}, "list of addresses"),
        ("webhook", {"url": "https://127.0.0.1/", "secret": "whsec_c2hvcnQ="}, "24 to 64 bytes"),
        ("pigeon", {}, "no channel of kind"),
    ],
)
def test_a_channel_that_could_not_work_is_refused(now, kind, config, says):
    with pytest.raises(Refused, match=says):
        channel(kind, now, **config)


def test_a_mail_server_that_is_away_is_a_passing_fault(now, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    channel("email", now, to=["ops@example.com"])
    say(now)

    services.dispatch(now)

    assert Delivery.objects.get().state == "failing"
    assert "ConnectionRefusedError" in Delivery.objects.get().answer


@pytest.mark.parametrize(
    ("backend", "becomes"), [("filebased", "written to a file"), ("console", "written to the log")]
)
def test_without_a_mail_server_nothing_says_that_mail_has_left(now, settings, tmp_path, capsys, backend, becomes):
    settings.EMAIL_BACKEND = f"django.core.mail.backends.{backend}.EmailBackend"
    settings.EMAIL_FILE_PATH = tmp_path
    made = channel("email", now, to=["ops@example.com"])
    say(now)

    services.dispatch(now)
    tested = services.test_channel(channel=made, by=ALICE, now=now)

    assert Delivery.objects.get().answer == tested.answer == f"{becomes}: EMAIL_URL names no mail server"


def test_each_gets_a_mail_and_one_that_the_server_refuses_for_good_is_named(mail_server, now):
    mail_server.refuses = {"gone@example.com": 550}
    channel("email", now, to=["ops@example.com", "gone@example.com", "night@example.com"])
    say(now)

    services.dispatch(now)

    delivery = Delivery.objects.get()
    assert mail_server.addresses() == ["ops@example.com", "night@example.com"]
    assert "To: night@example.com" in mail_server.got[1][1]
    assert delivery.state == "taken"
    assert delivery.answer == (
        "handed to the mail server for ops@example.com, night@example.com; "
        "the mail server refused gone@example.com: 550"
    )


def test_who_has_the_mail_does_not_get_it_again_when_another_must_wait(mail_server, now):
    mail_server.refuses = {"slow@example.com": 450}
    channel("email", now, to=["slow@example.com", "ops@example.com"])
    say(now)
    services.dispatch(now)
    first = Delivery.objects.get()
    mail_server.refuses = {}

    services.dispatch(first.next_try_at)

    assert (first.state, first.answer) == ("failing", "the mail server refused slow@example.com: 450")
    assert mail_server.addresses() == ["ops@example.com", "slow@example.com"]
    assert Delivery.objects.get().state == "taken"


def test_a_slow_mail_server_gets_the_addresses_in_several_turns(mail_server, now, monkeypatch):
    monkeypatch.setattr(sending, "MAIL_SECONDS", 0.0)
    channel("email", now, to=["ops@example.com", "night@example.com"])
    say(now)
    services.dispatch(now)
    first = Delivery.objects.get()

    services.dispatch(first.next_try_at)

    assert (first.state, first.reached) == ("failing", ["ops@example.com"])
    assert mail_server.addresses() == ["ops@example.com", "night@example.com"]
    assert Delivery.objects.get().state == "taken"


def test_a_mail_that_the_server_refuses_for_everybody_is_a_dead_letter(mail_server, now):
    mail_server.refuses = {"gone@example.com": 550}
    channel("email", now, to=["gone@example.com"])
    say(now)

    services.dispatch(now)

    assert Delivery.objects.get().is_dead


def test_an_address_that_is_none_keeps_no_mail_from_the_others(mail_server, now):
    """One of a channel that was saved before addresses were looked at."""
    mail = channel("email", now, to=["ops@example.com"])
    mail.change(config={"to": ["ops@example.com; night@example.com", "day@example.com"]})
    say(now)

    services.dispatch(now)

    assert mail_server.addresses() == ["day@example.com"]
    assert "ops@example.com; night@example.com: not a mail address" in Delivery.objects.get().answer


def test_a_header_cannot_be_smuggled_into_a_mail(now):
    channel("email", now, to=["ops@example.com"])
    say(now, sentence="Rolled back\r\nBcc: everyone@example.com because of <b>this</b>")

    services.dispatch(now)

    (message,) = mail.outbox
    assert "\n" not in message.subject
    assert "&lt;b&gt;" in message.alternatives[0].content


def test_a_test_of_a_broken_channel_mends_it(receiver, now):
    hook = channel("webhook", now, url=receiver.url)
    Channel.objects.filter(pk=hook.pk).update(broken_at=now, failures_in_row=12)
    hook.refresh_from_db()

    outcome = services.test_channel(channel=hook, by=ALICE, now=now)

    assert outcome.taken
    assert Channel.objects.get().state == "working"
    assert receiver.types() == ["alert.test"]


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")
def test_nothing_that_is_shown_of_a_channel_is_a_secret(receiver, now):
    made = [
        channel("slack", now, url=f"{receiver.url}/T000/B000/secretsecret"),
        channel("pagerduty", now, routing_key="k" * 32, url=receiver.url),
        channel("apprise", now, urls=["json://user:secretsecret@127.0.0.1/"]),
    ]

    shown = [one.target for one in made]

    assert shown == [SimpleNamespace(h=f"127.0.0.1:{receiver.server.server_port}").h] * 2 + ["json"]
