"""Services that apprise reaches: the rules for outgoing addresses hold whatever its plugins do."""

import os
import socket
import subprocess
import sys

import pytest

from apps.alerts import long_tail, services
from apps.alerts.models import Delivery
from tests.alerts.make_alerts import SENTENCE, channel, say

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")]
PRIVATE = "127.0.0.1 is a private address; ALERT_PRIVATE_ADDRESSES allows it."


def json_url(receiver):
    return receiver.url.replace("http://", "json://")


def test_the_long_tail_goes_through_apprise(receiver, now):
    receiver.answers = [(200, {})]
    channel("apprise", now, urls=[json_url(receiver)])
    say(now)

    services.dispatch(now)

    (told,) = receiver.told()
    assert told["title"] == "Firing: Rolled back invoice-extraction: p95 latency was 4.34 s, limit 2.56 s"
    assert told["message"].startswith(SENTENCE)
    assert Delivery.objects.get().done_at == now


def test_it_does_not_reach_inside_either(receiver, now, settings):
    channel("apprise", now, urls=[json_url(receiver)])
    settings.ALERT_PRIVATE_ADDRESSES = False
    say(now)

    services.dispatch(now)

    assert receiver.got == []
    assert Delivery.objects.get().answer == PRIVATE


def test_nor_by_datagrams(settings):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inside:
        inside.bind(("127.0.0.1", 0))
        inside.setblocking(False)
        settings.ALERT_PRIVATE_ADDRESSES = False

        sent = long_tail.notify([f"rsyslog://127.0.0.1:{inside.getsockname()[1]}"], title="t", body="b", kind="info")

        assert (sent.taken, sent.answer) == (False, PRIVATE)
        with pytest.raises(BlockingIOError):
            inside.recv(1)


def test_it_follows_no_redirect(receiver, other, now):
    receiver.answers = [(307, {"Location": other.url})]
    channel("apprise", now, urls=[json_url(receiver)])
    say(now)

    services.dispatch(now)

    assert len(receiver.got) == 1
    assert other.got == []


def test_a_proxy_of_the_environment_is_not_used(receiver, other, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, other.url)

    assert long_tail.notify([json_url(receiver)], title="t", body="b", kind="info").taken
    assert (len(receiver.got), other.got) == (1, [])


def test_one_that_drips_ends_with_its_time_and_keeps_nothing_from_the_others(receiver, other, now, monkeypatch):
    receiver.answers, receiver.drips = [(200, {})], True  # for as long as anybody listens
    channel("apprise", now, urls=[json_url(receiver), json_url(other)])
    say(now)
    at = now
    for seconds in (2, 8, 30):  # a slow machine needs longer to reach the other
        monkeypatch.setattr(long_tail, "TOTAL_SECONDS", float(seconds))
        services.dispatch(at)
        first = Delivery.objects.get()
        if first.reached:
            break
        at = first.next_try_at
    told = [len(each.got) for each in (receiver, other)]
    receiver.drips = False
    monkeypatch.setattr(long_tail, "TOTAL_SECONDS", 60.0)

    services.dispatch(first.next_try_at)

    assert (first.state, first.answer) == (
        "failing", f"1 of 2 addresses did not take it, 1 within {seconds} s",
    )  # fmt: skip
    assert [len(each.got) for each in (receiver, other)] == [told[0] + 1, told[1]]  # who has it does not get it again
    assert Delivery.objects.get().state == "taken"
    assert receiver.url.partition("://")[2] not in str(first.reached)


def test_no_more_than_64_kb_of_an_answer_are_read(receiver):
    receiver.answers, receiver.body = [(200, {})], b"x" * 50_000_000  # without a length: its end is where we stop

    assert long_tail.notify([json_url(receiver)], title="t", body="b", kind="info").taken
    assert receiver.hung_up.wait(60)


def test_the_process_knows_no_secret_of_ours_but_what_it_is_told(monkeypatch):
    seen = {}

    def run(command, **options):
        seen.update(options, command=command)
        return subprocess.CompletedProcess(command, 0, stdout="")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("SECRET_KEY", "very-secret")

    long_tail.notify(["json://user:pass@example.com"], title="t", body="b", kind="info")

    assert "very-secret" not in str(seen["env"])
    assert "example.com" not in str(seen["command"])
    assert "example.com" in seen["input"]


def test_apprise_is_not_loaded_for_nothing():
    code = "import django; django.setup(); import sys, apps.alerts.tasks; print('apprise' in sys.modules)"
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "controlplane.settings"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "False"
