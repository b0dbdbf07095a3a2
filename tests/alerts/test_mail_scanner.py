"""Mail scanners fetch every link that they find, often, and before any person does: that changes nothing."""

import re

import pytest
from django.core import mail
from django.test import Client

from apps.alerts import services
from apps.alerts.models import Alert, Channel, Delivery, Silence
from apps.journal.models import Entry
from tests.alerts.make_alerts import channel, say, the_alert, webhook

pytestmark = pytest.mark.django_db
HOME = "http://testserver"
LINK = re.compile(rf"{HOME}([^\s\"'<>|]*)")


def state():
    return [list(table.objects.order_by("pk").values()) for table in (Alert, Channel, Delivery, Silence, Entry)]


@pytest.mark.parametrize(("who", "answers"), [("alice", {200, 302, 404, 405}), (None, {302, 405})])
def test_every_link_of_every_message_is_fetched_five_times_and_nothing_has_changed(
    receiver, environment, now, settings, request, who, answers
):
    settings.PUBLIC_URL = HOME
    channel("email", now, to=["ops@example.com"])
    channel("slack", now, url=receiver.url)
    webhook(receiver, now)
    say(now, link="/d/1")
    services.dispatch(now)
    for n, page in enumerate(("silence", "handle") * 4):
        say(now, route=f"route-{n}", link=f"/alerts/?{page}={the_alert().id}")
    say(now, key="budget:1:1.0", route="", link="/b/")
    services.dispatch(now)
    sent = [part for one in mail.outbox for part in (one.body, one.alternatives[0].content)]
    sent += [body.decode() for _, body in receiver.got]
    links = {link for text in sent for link in LINK.findall(text)}
    client = Client()
    if who:
        client.force_login(request.getfixturevalue(who))
    before = state()

    seen = {
        getattr(client, method)(link).status_code
        for link in links
        for method in ("head", "get", "options", "get", "get", "get", "get")
    }

    assert {link.partition("=")[0] for link in links} >= {"/d/1", "/b/", "/alerts/?silence", "/alerts/?handle"}
    assert seen <= answers
    assert state() == before
