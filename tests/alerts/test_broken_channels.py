"""A channel that does not work says so through another, and is found again when it does."""

import pytest

from apps.alerts import delivering, services
from apps.alerts.models import Alert, Channel, Delivery
from tests.alerts.make_alerts import ALICE, LOOK, MINUTE, SECOND, channel, say, webhook

pytestmark = pytest.mark.django_db


def test_ten_failures_in_a_row_break_a_channel_and_one_other_is_told_once(receiver, other, now):
    receiver.answers = [(500, {})]
    webhook(receiver, now, "broken")
    webhook(other, now, "sound")
    third = channel("email", now, "mail", to=["ops@example.com"])
    services.update_channel(channel=third, is_active=False, by=ALICE, now=now)
    at = now
    for n in range(10):
        say(at, route=f"route-{n}")
        services.dispatch(at)
        at += MINUTE
    for _ in range(30):
        services.dispatch(at)
        at += 20 * SECOND

    broken = Channel.objects.get(name="broken")
    told = [body["data"] for body in other.told() if body["data"]["condition"].startswith("channel:")]
    assert broken.state == "broken"
    assert [one["sentence"] for one in told] == [
        "The channel broken is broken: 10 messages in a row were not taken, the last with 500 Internal Server Error."
    ]
    assert not any(b"channel:" in body for _, body in receiver.got)


def test_a_broken_channel_is_tried_once_a_minute_and_mends_itself(receiver, other, now):
    receiver.answers = [(500, {})]
    broken = webhook(receiver, now, "broken")
    webhook(other, now, "sound")
    Channel.objects.filter(pk=broken.pk).update(failures_in_row=9)
    say(now)
    services.dispatch(now)
    for second in range(1, 60):
        say(now + second * SECOND, route=f"route-{second}")
        services.dispatch(now + second * SECOND)
    while_quiet = len(receiver.got)
    receiver.answers = [(200, {})]

    services.dispatch(now + 61 * SECOND)
    services.dispatch(now + 67 * SECOND)

    assert while_quiet == 1
    assert Channel.objects.get(pk=broken.pk).state == "working"
    assert Alert.objects.get(condition=f"channel:{broken.pk}").state == "resolved"
    assert not Delivery.objects.waiting().filter(channel=broken).exists()


def test_410_switches_a_channel_off_and_another_is_told(receiver, other, now):
    receiver.answers = [(410, {}), (200, {})]
    gone = webhook(receiver, now, "gone")
    webhook(other, now, "sound")
    say(now)
    services.dispatch(now)
    say(now + SECOND, route="search")
    services.dispatch(now + SECOND)

    gone.refresh_from_db()
    assert (gone.is_active, gone.state) == (False, "off")
    assert len(receiver.got) == 1
    assert Delivery.objects.get(channel=gone).is_dead
    assert any("is switched off" in body["data"]["sentence"] for body in other.told())

    services.update_channel(channel=gone, is_active=True, by=ALICE, now=now + MINUTE)
    services.dispatch(now + MINUTE)
    services.dispatch(now + MINUTE + LOOK)

    assert Alert.objects.get(condition=f"channel:{gone.pk}").state == "resolved"


def test_a_channel_that_is_deleted_while_it_is_written_to_stops_no_other(receiver, other, now, monkeypatch):
    gone = webhook(receiver, now, "gone")
    Channel.objects.filter(pk=gone.pk).update(failures_in_row=9)
    receiver.answers = [(500, {})]
    webhook(other, now, "sound")
    say(now)
    settle = delivering.settle

    def settle_what_is_gone(turn, outcome):
        if turn.channel.pk == gone.pk:
            services.delete_channel(channel=turn.channel, by=ALICE, now=now)
        settle(turn, outcome)

    monkeypatch.setattr(delivering, "settle", settle_what_is_gone)

    services.dispatch(now)

    assert [one.state for one in Delivery.objects.all()] == ["taken"]
    assert not Alert.objects.filter(condition=f"channel:{gone.pk}").exists()
