"""The watchman outside hears every minute that all is well, and raises the alarm when he does not."""

from datetime import timedelta

import pytest

from apps.alerts import services, watching
from apps.alerts.watching import Sign
from apps.rollouts.models import Shard
from apps.telemetry.models import Freshness, GroupSums
from controlplane import health, watch
from tests.alerts.make_alerts import MINUTE, ROUTE, SECOND, say, webhook

pytestmark = pytest.mark.django_db


def call(wrong, at):
    return watching.call_outside([Sign("beat", "production", wrong)] if wrong else [], at)


def test_he_is_called_each_minute_while_all_is_well(receiver, now, settings):
    settings.DEAD_MAN_URL, settings.ALERT_PRIVATE_ADDRESSES = receiver.url, False

    called = [call("", now + n * 5 * SECOND) for n in range(25)]

    assert called.count("ok") == 3
    assert receiver.paths == ["/hook"] * 3


def test_he_is_told_once_that_something_is_wrong_and_then_hears_nothing(receiver, now, settings):
    settings.DEAD_MAN_URL = receiver.url + "?rid=1"
    call("", now)

    called = [call("The worker is down.", now + n * MINUTE) for n in range(1, 10)]
    back = call("", now + 10 * MINUTE)

    assert called == ["fail"] + [""] * 8
    assert back == "ok"
    assert receiver.paths == ["/hook?rid=1", "/hook/fail?rid=1", "/hook?rid=1"]
    assert receiver.got[1][1] == b"The worker is down."


def test_without_an_address_nobody_is_called_and_readyz_says_so(now, settings):
    settings.DEAD_MAN_URL = ""

    assert call("", now) == ""
    assert health.look_at_dead_man()["amber"] is True


def silent_beat(now):
    Shard.objects.update(last_tick_at=now - MINUTE)


def stale_telemetry(now):
    Freshness.objects.create(environment="production", route=ROUTE, first_at=now - MINUTE, newest_at=now - MINUTE * 5)


def no_window_closed(now):
    GroupSums.objects.create(writer="w", seq=1, at=now - MINUTE, body=b"")


def old_queue(now):
    say(now - 6 * MINUTE)
    services.read_journal(now - 6 * MINUTE)


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        (lambda now: None, ""),
        (silent_beat, "Nothing has looked at the rollouts"),
        (stale_telemetry, "No telemetry has come from production"),
        (no_window_closed, "Telemetry is not written into its windows"),
        (old_queue, "Messages to the people on call have not left"),
    ],
)
def test_he_hears_that_all_is_well_only_if_it_is(
    receiver, other, environment, now, settings, monkeypatch, trouble, says
):
    settings.DEAD_MAN_URL = other.url
    webhook(receiver, now - timedelta(days=1))
    Shard.objects.create(number=0, last_tick_at=now)
    live = {"production": now - timedelta(days=1)} if trouble is stale_telemetry else {}
    monkeypatch.setattr(watch, "live_environments", lambda: live)
    trouble(now)

    watch.look(now + SECOND)

    ((_, body),) = other.got
    assert other.paths == (["/hook/fail"] if says else ["/hook"])
    assert body.decode().startswith(says)
