"""Signed webhooks: Standard Webhooks' own library takes what we send.

The demo's receiver takes what that library signs: tests/demo/test_receiver.py.
"""

import base64
import contextlib
import json

import pytest
from django.utils import timezone
from standardwebhooks import Webhook, WebhookVerificationError

from apps.alerts import services
from apps.journal.models import Entry
from tests.alerts.make_alerts import ALICE, HOUR, MINUTE, end, say, webhook

pytestmark = pytest.mark.django_db


def test_while_a_secret_rotates_both_sign(receiver, now):
    hook = webhook(receiver, now)
    old = hook.config["secret"]
    hook = services.rotate_secret(channel=hook, overlap=HOUR, by=ALICE, now=now)
    new = hook.config["secret"]
    say(now)
    services.dispatch(now)
    end(now + HOUR)

    during, after = ((headers, body.decode()) for headers, body in receiver.got)
    signatures = during[0]["webhook-signature"].split()
    assert signatures == [Webhook(key).sign(during[0]["webhook-id"], now, during[1]) for key in (new, old)]
    assert after[0]["webhook-signature"] == Webhook(new).sign(after[0]["webhook-id"], now + HOUR, after[1])
    assert new != old
    assert old not in str(list(Entry.objects.values_list("after", "before")))
    assert new not in str(list(Entry.objects.values_list("after", "before")))


def test_the_standards_own_library_takes_our_signature_and_either_one_while_a_secret_rotates(receiver):
    now = timezone.now()
    secret = f"whsec_{base64.b64encode(b'a secret of 31 bytes, unpadded!').decode().rstrip('=')}"
    hook = webhook(receiver, now, secret=secret)
    services.test_channel(channel=hook, by=ALICE, now=now)
    hook = services.rotate_secret(channel=hook, overlap=MINUTE, by=ALICE, now=now)
    services.test_channel(channel=hook, by=ALICE, now=now)
    services.test_channel(channel=hook, by=ALICE, now=now + 2 * MINUTE)
    before, during, after = receiver.got

    def is_taken(by, message):
        headers, body = message
        with contextlib.suppress(WebhookVerificationError):
            return Webhook(by).verify(body, headers) == json.loads(body)

    assert [is_taken(secret, one) for one in (before, during, after)] == [True, True, None]
    assert [is_taken(hook.config["secret"], one) for one in (before, during, after)] == [None, True, True]
    assert is_taken(secret, (before[0], before[1] + b" ")) is None
