"""Mail scanners fetch every link that they find, often, and before any person does: that changes nothing."""

import re

import pytest
from django.core import mail
from django.test import Client

from apps.alerts import services
from apps.alerts.models import Alert, Channel, Delivery, Silence
from apps.journal.models import Entry
from apps.rollouts import services as rollouts
from apps.rollouts.models import Decision, PlanStep, Rollout
from tests.alerts.make_alerts import LOOK, channel, say, the_alert, webhook
from tests.rollouts.make_rollouts import see_traffic, start_rollout

pytestmark = pytest.mark.django_db
HOME = "http://testserver"
LINK = re.compile(rf"{HOME}([^\s\"'<>|]*)")
TABLES = (Alert, Channel, Delivery, Silence, Entry, Rollout, Decision, PlanStep)


def roll_back(at):
    """A real one, whose page offers everything that can be done about it."""
    start_rollout(at)
    see_traffic(at + LOOK, n=400, variant="gpt-4.1", latency_ms=420)
    see_traffic(at + LOOK, n=80, variant="gpt-5", latency_ms=4300)
    rollouts.tick(now=at + LOOK)
    return Decision.objects.get(kind="roll_back")


def state():
    return [list(table.objects.order_by("pk").values()) for table in TABLES]


@pytest.mark.parametrize(("who", "answers"), [("alice", {200, 302, 405}), (None, {302, 405})])
def test_every_link_of_every_message_is_fetched_five_times_and_nothing_has_changed(
    receiver, environment, now, settings, request, who, answers
):
    settings.PUBLIC_URL = HOME
    channel("email", now, to=["ops@example.com"])
    channel("slack", now, url=receiver.url)
    webhook(receiver, now)
    decision = roll_back(now)
    services.dispatch(now + LOOK)
    for n, page in enumerate(("silence", "handle") * 2):
        say(now + LOOK, route=f"route-{n}", link=f"/alerts/?{page}={the_alert().id}")
    say(now + LOOK, key="budget:1:1.0", route="", link="/b/")
    services.dispatch(now + LOOK)
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

    assert client.get(f"/d/{decision.id}").status_code == (200 if who else 302)
    assert {link.partition("=")[0] for link in links} >= {
        f"/d/{decision.id}",
        "/b/",
        "/alerts/?silence",
        "/alerts/?handle",
    }
    assert seen <= answers
    assert state() == before
