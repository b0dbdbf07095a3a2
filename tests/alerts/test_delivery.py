"""Every message arrives, once if it can, in order, and no faster than its receiver may be written to."""

import threading
from datetime import timedelta
from email.utils import format_datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.alerts import delivering, outgoing, queries, sending, services
from apps.alerts.domain import retry
from apps.alerts.models import Channel, Delivery
from apps.core.refusals import Refused
from tests.alerts.make_alerts import ALICE, HOUR, MINUTE, ROUTE, SECOND, channel, end, say, the_alert, webhook

pytestmark = pytest.mark.django_db


def test_the_schedule_of_retries_and_its_jitter():
    early = [retry.wait_after(n, draw=0.0) for n in range(1, 9)]
    late = [retry.wait_after(n, draw=1.0) for n in range(1, 9)]

    whole = [5, 30, 120, 300, 900, 3600, 21600]
    assert [one.total_seconds() for one in early[:-1]] == pytest.approx([0.8 * seconds for seconds in whole])
    assert [one.total_seconds() for one in late[:-1]] == pytest.approx([1.2 * seconds for seconds in whole])
    assert early[-1] is late[-1] is None


def test_500_ten_times_ends_as_a_dead_letter_that_can_be_sent_again(receiver, now):
    receiver.answers = [(500, {})] * 10 + [(200, {})]
    webhook(receiver, now)
    say(now)
    services.dispatch(now)
    at, tries_at = now, [now]
    while not Delivery.objects.get().is_dead and len(tries_at) < 20:
        at = Delivery.objects.get().next_try_at
        tries_at += [at] * services.deliver_due(at)
    dead = Delivery.objects.get()

    services.send_again(delivery=dead, by=ALICE, now=at)
    for _ in range(3):
        services.deliver_due(at)
        at += 90 * SECOND

    assert len(tries_at) == 8
    assert (tries_at[-1] - now) == pytest.approx(26555 * SECOND, rel=0.2)
    assert dead.answer == "500 Internal Server Error"
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert Delivery.objects.get().done_at
    assert len(receiver.got) == 11


@pytest.mark.parametrize("date", [False, True])
def test_the_receiver_may_ask_for_more_time(receiver, now, date):
    asked = format_datetime(now + 90 * SECOND, usegmt=True) if date else "90"
    receiver.answers = [(429, {"Retry-After": asked}), (200, {})]
    webhook(receiver, now)
    say(now)
    services.dispatch(now)
    say(now + SECOND, route="search")

    services.dispatch(now + 89 * SECOND)
    early = len(receiver.got)
    services.dispatch(now + 90 * SECOND)

    assert early == 1  # the whole channel keeps still, for the other route too
    assert len(receiver.got) == 3


@pytest.mark.parametrize("asked", ["-5", "soon", "Thu, 01 Jan 1970 00:00:00 GMT", "", "99999999999999999999"])
def test_a_wait_that_makes_no_sense_does_not_stop_anything(receiver, now, asked):
    receiver.answers = [(503, {"Retry-After": asked}), (200, {})]
    webhook(receiver, now)
    say(now)
    services.dispatch(now)

    services.dispatch(now + 6 * HOUR)

    assert len(receiver.got) == 2


def test_resolved_replaces_a_firing_that_was_not_taken(receiver, now):
    receiver.answers = [(500, {}), (200, {})]
    webhook(receiver, now)
    say(now)
    services.dispatch(now)
    end(now + 6 * SECOND)
    services.dispatch(now + HOUR)

    assert receiver.types() == ["alert.firing", "alert.resolved"]
    assert Delivery.objects.get(event="firing").replaced_at
    with pytest.raises(Refused, match="newer state"):
        services.send_again(delivery=Delivery.objects.get(event="firing"), by=ALICE, now=now)


def test_a_state_that_changes_while_the_message_is_under_way_comes_after_it(receiver, now, monkeypatch):
    """Another worker reads "resolved" while this one still waits for the answer to "firing", which is a failure."""
    receiver.answers = [(500, {}), (200, {})]
    webhook(receiver, now)
    say(now)
    settle = delivering.settle
    seen = []

    def late(turn, outcome):
        if not seen:
            end(now + 6 * SECOND)
            seen.extend(receiver.types())
        settle(turn, outcome)

    monkeypatch.setattr(delivering, "settle", late)
    services.dispatch(now)

    services.dispatch(now + 7 * SECOND)
    services.dispatch(now + HOUR)

    assert seen == ["alert.firing"]  # nothing was sent beside the worker that holds the channel
    assert receiver.types() == ["alert.firing", "alert.resolved"]


def test_a_receiver_that_hangs_holds_up_nobody_else(receiver, other, now):
    """It answers once the other has both messages: one after the other, its time would be over before."""
    receiver.hangs = 600
    webhook(receiver, now, "hangs")
    webhook(other, now, "works")
    say(now)
    say(now, route="search")
    threading.Thread(target=lambda: (other.wait_for(2), receiver.released.set()), daemon=True).start()

    services.dispatch(now)

    assert (len(receiver.got), len(other.got)) == (2, 2)
    assert not Delivery.objects.waiting().exists()


def test_what_comes_while_a_receiver_hangs_leaves_for_the_others(receiver, other, now, monkeypatch):
    receiver.hangs = 600
    webhook(receiver, now, "hangs")
    webhook(other, now, "works")
    say(now)
    settle = delivering.settle

    def say_more(turn, outcome):
        settle(turn, outcome)
        if len(other.got) == 1:
            say(now, route="search")
            services.read_journal(now)

    monkeypatch.setattr(delivering, "settle", say_more)
    threading.Thread(target=lambda: (other.wait_for(2), receiver.released.set()), daemon=True).start()

    services.dispatch(now)

    assert [one.answer for one in Delivery.objects.filter(channel__name="works")] == ["204", "204"]
    assert other.routes() == [ROUTE, "search"]


def test_those_that_hang_do_not_take_every_thread_of_a_worker(receiver, now):
    webhook(receiver, now)
    say(now)
    services.read_journal(now)
    with delivering.AT_ONCE, delivering.AT_ONCE:
        third = services.deliver_due(now)

    assert (third, services.deliver_due(now)) == (0, 1)


def test_a_receiver_that_hangs_for_too_long_is_tried_again(receiver, now, monkeypatch):
    monkeypatch.setattr(outgoing, "TOTAL_SECONDS", 1.0)
    receiver.hangs = 600
    webhook(receiver, now)
    say(now)

    services.dispatch(now)

    failing = Delivery.objects.get()
    assert (failing.attempts, failing.answer, failing.state) == (1, "no answer within 1 s", "failing")


def test_a_sender_that_raises_stops_no_other_and_nobody_hears_twice(receiver, other, now, monkeypatch):
    def broken(*_):
        raise RuntimeError("a fault of ours, with a secret in its words")

    monkeypatch.setitem(sending.SENDERS, "slack", broken)
    webhook(receiver, now, "before")
    channel("slack", now, url=receiver.url)
    webhook(other, now, "after")
    say(now)

    for second in range(4):
        services.dispatch(now + second * SECOND)

    failing = Delivery.objects.get(channel__kind="slack")
    assert (len(receiver.got), len(other.got)) == (1, 1)
    assert (failing.attempts, failing.answer) == (1, "it could not be sent: RuntimeError")


def test_what_is_tried_again_keeps_its_id_and_nothing_joins_it(receiver, now):
    receiver.answers = [(500, {}), (200, {})]
    webhook(receiver, now)
    say(now, key="stale:a", severity="error")
    services.dispatch(now)
    say(now + SECOND, key="money:b", severity="error")
    services.dispatch(now + SECOND)

    services.dispatch(now + 10 * SECOND)
    services.dispatch(now + 10 * MINUTE)

    first, again, new = [headers["webhook-id"] for headers, _ in receiver.got]
    assert first == again != new
    assert receiver.told()[0] == receiver.told()[1]
    assert receiver.types() == ["alert.firing"] * 3


def test_a_letter_of_two_is_sent_again_whole(receiver, now):
    receiver.answers = [(404, {}), (200, {})]
    channel("slack", now, url=receiver.url)
    say(now, key="stale:a")
    say(now, key="money:b")
    services.dispatch(now)
    dead = Delivery.objects.filter(is_dead=True)

    services.send_again(delivery=dead[0], by=ALICE, now=now + MINUTE)
    services.deliver_due(now + MINUTE)

    first, again = receiver.told()
    assert first == again
    assert Delivery.objects.filter(done_at=now + MINUTE).count() == 2


def test_a_dead_letter_is_old_news_once_its_alert_is_over(receiver, now):
    receiver.answers = [(404, {}), (200, {})]
    channel("slack", now, url=receiver.url)
    say(now)
    services.dispatch(now)
    dead = Delivery.objects.get()
    end(now + MINUTE)

    with pytest.raises(Refused, match="newer state"):
        services.send_again(delivery=dead, by=ALICE, now=now + HOUR)

    assert dead.is_dead
    assert [told["text"][:2] for told in receiver.told()] == ["🔴 ", "✅ "]
    assert not queries.failing_deliveries("production")


def test_a_dead_letter_is_old_news_even_where_nobody_is_left_to_be_told_of_the_end(receiver, now):
    receiver.answers = [(404, {})]
    slack = channel("slack", now, url=receiver.url)
    say(now)
    services.dispatch(now)
    services.update_channel(channel=slack, is_active=False, by=ALICE, now=now)
    end(now + MINUTE)
    services.update_channel(channel=slack, is_active=True, by=ALICE, now=now + HOUR)

    with pytest.raises(Refused, match="newer state"):
        services.send_again(delivery=Delivery.objects.get(), by=ALICE, now=now + HOUR)


def test_a_storm_of_500_routes_is_a_few_messages_and_a_digest(receiver, now):
    webhook(receiver, now)
    for n in range(500):
        say(now, route=f"route-{n:03}", severity="critical" if n == 499 else "error")

    with CaptureQueriesContext(connection) as asked:
        services.dispatch(now)

    assert len(receiver.got) == 5
    assert receiver.types() == ["alert.firing"] * 4 + ["alerts.firing"]
    assert receiver.told()[0]["data"]["route"] == "route-499"  # the worst first
    digest = receiver.told()[-1]["data"]
    assert digest["sentence"].startswith("496 routes are firing in production: route-")
    assert digest["sentence"].endswith(" and 494 more.")
    assert (digest["count"], len(digest["routes"]), len(digest["alerts"])) == (496, 496, 200)
    assert not Delivery.objects.waiting().exists()
    assert len(asked) < 4 * 500


def test_beyond_a_burst_of_five_a_channel_gets_one_message_a_second(receiver, now):
    webhook(receiver, now)
    at = now
    for second in range(20):
        at = now + second * SECOND
        for n in range(10):
            say(at, route=f"route-{second}-{n}")
        services.dispatch(at)

    assert len(receiver.got) <= 5 + 20
    assert not Delivery.objects.waiting().exists()
    told = [alert["route"] for body in receiver.told() for alert in body["data"].get("alerts", [body["data"]])]
    assert len(told) == len(set(told)) == 200


@pytest.mark.parametrize(("status", "after", "tried"), [(502, 9, 1), (504, 9, 1), (502, 11, 3), (500, 1, 2)])
def test_a_receiver_behind_a_gateway_that_is_overwhelmed_is_left_alone_for_ten_seconds(
    receiver, now, status, after, tried
):
    receiver.answers = [(status, {}), (200, {})]
    webhook(receiver, now)
    say(now)
    say(now, route="search")
    services.dispatch(now)

    services.dispatch(now + after * SECOND)

    assert len(receiver.got) == tried


def test_a_redirect_to_ourselves_is_not_followed(receiver, other, now):
    receiver.answers = [(307, {"Location": other.url})]
    webhook(receiver, now)
    say(now)

    services.dispatch(now)

    delivery = Delivery.objects.get()
    assert (delivery.is_dead, delivery.answer) == (True, "307 Temporary Redirect")
    assert other.got == []


def test_an_address_that_has_become_private_is_refused_at_the_attempt(receiver, now, settings):
    webhook(receiver, now)
    say(now)
    settings.ALERT_PRIVATE_ADDRESSES, settings.ALERT_PLAIN_HTTP = False, True
    settings.ALERT_PORTS = [receiver.server.server_port]

    services.dispatch(now)

    assert Delivery.objects.get().answer == "127.0.0.1 is a private address; ALERT_PRIVATE_ADDRESSES allows it."
    assert receiver.got == []


def test_a_channel_hears_only_of_what_is_grave_enough_for_it(receiver, other, now):
    webhook(receiver, now, "all")
    services.update_channel(channel=webhook(other, now, "grave"), least_severity="critical", by=ALICE, now=now)
    say(now, severity="warning")
    services.dispatch(now)
    say(now + MINUTE, severity="critical")
    services.dispatch(now + MINUTE)

    assert [body["data"]["severity"] for body in receiver.told()] == ["warning", "critical"]
    assert [body["data"]["severity"] for body in other.told()] == ["critical"]
    assert the_alert(f"rollout:{ROUTE}").repeats == 1


def test_a_worker_that_died_while_it_sent_leaves_a_lease_that_runs_out(receiver, now):
    hook = webhook(receiver, now)
    Channel.objects.filter(pk=hook.pk).update(claimed_by="dead", lease_ends_at=now + timedelta(seconds=30))
    say(now)

    services.dispatch(now + SECOND)
    before = len(receiver.got)
    services.dispatch(now + 31 * SECOND)

    assert (before, len(receiver.got)) == (0, 1)
