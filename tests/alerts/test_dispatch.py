import json
from datetime import timedelta

import pytest
from django.core import mail
from standardwebhooks import Webhook

from apps.alerts import services
from apps.alerts.models import Alert, Channel, Delivery
from apps.core.actors import WORKER, person
from tests.alerts.make_alerts import SENTENCE, end, say, webhook

pytestmark = pytest.mark.django_db


def test_a_condition_becomes_one_alert_and_one_signed_webhook(receiver, now, settings):
    settings.PUBLIC_URL = "https://changeover.example"
    channel = webhook(receiver, now)
    say(now)

    services.dispatch(now)
    services.dispatch(now)

    assert Alert.objects.get().state == Alert.State.FIRING
    ((headers, body),) = receiver.got
    told = json.loads(body)
    assert set(told) == {"type", "timestamp", "data"}
    assert told["data"]["sentence"] == SENTENCE
    assert told["data"]["link"] == "https://changeover.example/d/1"
    signed = Webhook(channel.config["secret"]).sign(headers["webhook-id"], now, body.decode())
    assert headers["webhook-signature"] == signed
    assert headers["webhook-timestamp"] == str(int(now.timestamp()))


def test_a_mail_says_it_all_before_it_is_opened(now):
    services.create_channel(
        environment="production", kind="email", name="mail", config={"to": ["ops@example.com"]}, by=WORKER, now=now
    )
    say(now)
    services.dispatch(now)
    end(now + timedelta(minutes=1))

    fired, resolved = mail.outbox
    assert fired.subject == "Firing: Rolled back invoice-extraction: p95 latency was 4.34 s, limit 2.56 s"
    assert fired.body[:200].startswith(SENTENCE)
    assert "text/html" in fired.alternatives[0].mimetype
    assert resolved.subject.startswith("Resolved: Rolled back invoice-extraction")
    assert len(resolved.subject) <= 78
    assert fired.extra_headers["Auto-Submitted"] == "auto-generated"
    assert fired.extra_headers["References"] == resolved.extra_headers["References"]


def test_the_same_condition_again_is_no_second_alert(receiver, now):
    webhook(receiver, now)
    say(now)
    services.dispatch(now)
    say(now + timedelta(seconds=5))

    services.dispatch(now + timedelta(seconds=6))

    assert Alert.objects.get().repeats == 1
    assert len(receiver.got) == 1


def test_the_end_of_a_condition_resolves_its_alert_and_says_so(receiver, now):
    webhook(receiver, now)
    say(now)
    services.dispatch(now)
    end(now + timedelta(minutes=1))

    assert Alert.objects.get().state == Alert.State.RESOLVED
    assert [json.loads(body)["type"] for _, body in receiver.got] == ["alert.firing", "alert.resolved"]


def test_a_redirect_is_not_followed(receiver, now):
    receiver.answers = [(302, {"Location": "http://127.0.0.1:1/inside"})]
    webhook(receiver, now)
    say(now)

    services.dispatch(now)

    assert Delivery.objects.get().is_dead
    assert Delivery.objects.get().answer == "302 Found"


def test_a_private_address_is_refused_unless_allowed(settings, now):
    settings.ALERT_PRIVATE_ADDRESSES = False

    with pytest.raises(services.Invalid, match=r"127\.0\.0\.1 is a private address"):
        services.create_channel(
            environment="production",
            kind="webhook",
            name="h",
            config={"url": "https://127.0.0.1/"},
            by=WORKER,
            now=now,
        )

    assert not Channel.objects.exists()


def test_an_old_entry_alerts_nobody_any_more(receiver, now):
    webhook(receiver, now)
    say(now - timedelta(days=2))

    services.dispatch(now)

    assert not Alert.objects.exists()


def test_a_silence_ends_by_itself(receiver, now):
    say(now)
    services.dispatch(now)
    services.silence(alert=Alert.objects.get(), until=now + timedelta(hours=1), by=person("alice"), now=now)

    services.dispatch(now + timedelta(minutes=59))
    before = Alert.objects.get().state
    services.dispatch(now + timedelta(hours=1))

    assert (before, Alert.objects.get().state) == ("silenced", "firing")


def test_an_acknowledgement_keeps_the_first_name(now):
    say(now)
    services.dispatch(now)

    services.acknowledge(alert=Alert.objects.get(), by=person("alice"), now=now)
    services.acknowledge(alert=Alert.objects.get(), by=person("bob"), now=now + timedelta(seconds=5))

    assert Alert.objects.get().acknowledged_by == "alice"
