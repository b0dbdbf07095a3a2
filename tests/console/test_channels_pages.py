"""Channels and the steps of escalation on their page: made, changed, tested, and no secret shown twice."""

from datetime import UTC, datetime

import pytest
from django.core import mail
from django.urls import reverse

from apps.alerts import queries as alerts_queries
from apps.alerts.models import Channel
from apps.journal.models import Entry
from tests.alerts.make_alerts import channel
from tests.console.make_money import morning
from tests.console.read_pages import text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


@pytest.fixture
def story(environment):
    morning(NOW)


def test_a_mail_channel_without_a_mail_server_is_shown_as_not_sent(environment, client, alice, settings):
    client.force_login(alice)
    channel("email", NOW, "mail", to=["ops@example.com"])
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"

    shown = text(client.get(reverse("channels")))

    assert "Not sent" in shown
    assert "written to a file: EMAIL_URL names no mail server." in shown


def test_a_test_really_sends(environment, client, alice):
    client.force_login(alice)
    made = channel("email", NOW, "mail", to=["ops@example.com"])

    answer = client.post(reverse("channel-test", args=[made.id]), headers={"HX-Request": "true"})

    assert "Taken" in text(answer)
    assert [one.to for one in mail.outbox] == [["ops@example.com"]]


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
    assert "nobody is no mail address." in text(answer)


def test_mail_addresses_and_pagerdutys_region_are_read_as_people_write_them(environment, client, alice):
    client.force_login(alice)
    eu = "https://events.eu.pagerduty.com/v2/enqueue"

    client.post(
        reverse("channels"), {"kind": "email", "name": "ops", "to": "ops@example.com; night@example.com, x@y.org"}
    )
    client.post(reverse("channels"), {"kind": "pagerduty", "name": "us", "to": "k" * 32})
    client.post(reverse("channels"), {"kind": "pagerduty", "name": "eu", "to": f"{'k' * 32} {eu}"})

    configs = {channel.name: channel.config for channel in Channel.objects.all()}
    assert configs["ops"] == {"to": ["ops@example.com", "night@example.com", "x@y.org"]}
    assert configs["us"]["url"] == "https://events.pagerduty.com/v2/enqueue"
    assert configs["eu"] == {"routing_key": "k" * 32, "url": eu}


def test_a_channel_is_changed_without_showing_what_is_secret(environment, client, alice, bob):
    client.force_login(alice)
    made = channel("slack", NOW, "chat", url="https://hooks.slack.com/services/T/B/canary")
    address = reverse("channel", args=[made.id])

    form = text(client.get(address))
    client.post(address, {"name": "chat room", "to": "", "least_severity": "error"})
    made.refresh_from_db()
    kept = made.config["url"]
    refused = client.post(address, {"name": "chat room", "to": "ftp://x", "least_severity": "error"})
    client.post(address, {"name": "chat room", "to": "https://hooks.slack.com/2", "least_severity": "error"})
    made.refresh_from_db()
    client.force_login(bob)

    assert "canary" not in form and "hooks.slack.com" in form
    assert (made.name, made.least_severity, kept[-6:]) == ("chat room", "error", "canary")
    assert refused.status_code == 422
    assert made.config["url"] == "https://hooks.slack.com/2"
    assert client.post(address, {"name": "mine"}).status_code == 403
    assert "canary" not in str(list(Entry.objects.values()))


def test_a_channel_is_switched_off_and_its_secret_rotated(environment, client, alice):
    client.force_login(alice)
    made = channel("webhook", NOW, "ops", url="https://example.com/hook")
    old = made.config["secret"]

    shown = text(client.post(reverse("channel-rotate", args=[made.id])))
    made.refresh_from_db()
    client.post(reverse("channel-switch", args=[made.id]), {"is_active": "0"})

    assert made.config["secret"] in shown and old not in shown
    assert (made.config["old_secret"], Channel.objects.get().is_active) == (old, False)


def test_the_steps_of_escalation_are_set_in_the_console(story, client, alice):
    client.force_login(alice)
    first, second = Channel.objects.order_by("created_at", "id")[:2]
    asked = {"after-0": "15", "channels-0": [second.id], "after-1": "0", "channels-1": [first.id, second.id]}

    client.post(reverse("escalation"), asked | {"after-2": "30"})
    kept = alerts_queries.escalation("production").steps
    shown = client.get(reverse("channels")).context["steps"]
    wrong = client.post(reverse("escalation"), asked | {"after-0": "soon"})
    client.post(reverse("escalation"), {})

    assert [step["after_minutes"] for step in kept] == [0, 15]
    assert [step["channels"] for step in kept] == [[first.id, second.id], [second.id]]
    assert [(step.after, step.words) for step in shown] == [
        ("0", f"{first.name}, {second.name}"), ("15", second.name), ("", "")
    ]  # fmt: skip
    assert wrong.status_code == 422 and 'value="soon"' in text(wrong)
    assert alerts_queries.escalation("production").steps == []


def test_a_name_that_is_too_long_is_refused(environment, client, alice):
    client.force_login(alice)
    made = channel("email", NOW, "mail", to=["ops@example.com"])

    added = client.post(reverse("channels"), {"kind": "email", "name": "n" * 129, "to": "ops@example.com"})
    renamed = client.post(reverse("channel", args=[made.id]), {"name": "n" * 129, "least_severity": "info"})

    assert (added.status_code, renamed.status_code) == (422, 422)
    assert "This name is too long." in text(added)
