"""/readyz names each thing that is gone, and stays honest about the rest."""

import asyncio
import json
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from apps.access import serving as access
from apps.core import bell
from apps.flags.serving.shelf import shelf
from apps.rollouts.models import Shard
from controlplane import health
from tests.flags.make_flags import make_flag

pytestmark = pytest.mark.django_db(transaction=True)


def readyz() -> tuple[int, dict[str, dict[str, object]]]:
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(health.readyz({}, None, send))
    body = json.loads(sent[1]["body"])
    assert body["ready"] is (sent[0]["status"] == 200)
    return sent[0]["status"], body["parts"]


def wrong() -> list[str]:
    status, parts = readyz()
    found = [name for name, part in parts.items() if not part["ok"]]
    assert all(parts[name]["reason"] for name in found)
    assert (status == 503) is bool(found)
    return found


@pytest.fixture
def all_is_well(shelf_of_this_test, settings):
    make_flag()
    Shard.objects.create(number=0, last_tick_at=timezone.now())
    settings.TICK_SECONDS = 5
    access.refresh()
    shelf.refresh()
    bell.ringer.cache_clear()
    yield
    bell.ringer.cache_clear()


def test_it_is_ready_when_snapshots_are_compiled_and_an_evaluation_ran(all_is_well):
    assert wrong() == []
    assert all(part["reason"] == "" for name, part in readyz()[1].items() if name != "dead_man")
    assert readyz()[1]["dead_man"]["amber"] is True
    assert readyz()[1]["evaluator"]["lag_seconds"] == 0


def test_mail_that_stays_in_a_folder_is_amber(all_is_well, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"  # what an unset EMAIL_URL means

    reason = "Mail is written to a file: EMAIL_URL names no mail server."
    assert readyz()[1]["mail"] == {"ok": True, "amber": True, "reason": reason}
    assert wrong() == []


def test_before_the_first_look_it_is_not(shelf_of_this_test):
    assert wrong() == ["flags", "beat"]


def test_without_the_broker_it_says_so(all_is_well, settings):
    settings.BELL_URL = "unix:///nowhere.sock"
    bell.ringer.cache_clear()

    assert wrong() == ["broker"]


def test_a_tick_that_is_late_says_how_late(all_is_well):
    Shard.objects.update(last_tick_at=timezone.now() - timedelta(seconds=90))

    assert wrong() == ["beat"]
    assert readyz()[1]["beat"]["age_seconds"] >= 90


def test_an_evaluator_that_lags_says_by_how_much(all_is_well):
    shelf.confirmed["production"] -= 60

    assert wrong() == ["evaluator"]
    assert 60 <= readyz()[1]["evaluator"]["lag_seconds"] < 120


def hang_up() -> None:
    connection.close()
    if connection.vendor == "postgresql":  # whose pool would give a connection that is open
        connection.close_pool()


def test_without_the_database_it_says_so_and_what_hangs_on_it(all_is_well, monkeypatch):
    hang_up()
    monkeypatch.setitem(connection.settings_dict, "NAME", "/nowhere/at-all")
    monkeypatch.setitem(connection.settings_dict, "HOST", "/nowhere")
    if connection.vendor == "postgresql":
        monkeypatch.setitem(connection.settings_dict["OPTIONS"]["pool"], "timeout", 1)

    found = wrong()

    monkeypatch.undo()
    hang_up()
    assert found == ["database", "beat"]
