"""Protection: signs of life, and the band that stands on every page when one is missing."""

from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse

from apps.alerts import services as alerts
from apps.alerts.models import Watch
from apps.alerts.watching import DEAD_MAN, Sign
from apps.rollouts import services as rollouts
from apps.rollouts.models import Shard
from tests.rollouts.make_rollouts import start_rollout

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
EVERY_PAGE = ["now", "routes", "journal", "alerts", "budgets", "sources", "protection"]


@pytest.fixture
def ticking(environment):
    start_rollout(NOW - timedelta(minutes=5))
    rollouts.tick(now=NOW - timedelta(seconds=3))


def text(answer) -> str:
    return answer.content.decode().replace("\u00a0", " ")


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_operator_and_viewer_see_the_protection(who, ticking, client, request):
    client.force_login(request.getfixturevalue(who))

    assert "Every rollout was evaluated 3 s ago." in text(client.get(reverse("protection")))


def test_a_stranger_sees_nothing(ticking, client, charlie):
    client.force_login(charlie)

    assert client.get(reverse("protection")).status_code == 403


def test_every_shard_and_every_live_rollout_is_there(ticking, client, alice):
    client.force_login(alice)

    shown = client.get(reverse("protection")).context

    assert len(shown["shards"]) == Shard.objects.count() > 0
    assert [row.route for row in shown["lags"]] == ["invoice-extraction"]


def test_a_silent_worker_is_told_in_the_band_on_every_page(ticking, client, alice):
    client.force_login(alice)
    Shard.objects.update(last_tick_at=NOW - timedelta(seconds=75))

    for page in EVERY_PAGE:
        told = text(client.get(reverse(page)))

        assert "Nothing has been evaluated for 1 min." in told, page
        assert reverse("protection") in told


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("telemetry", "No telemetry has come from production. You can still roll back by hand."),
        ("deliveries", "Messages do not leave. Rollouts are still judged; nobody is told."),
    ],
)
def test_any_sign_of_life_that_is_missing_is_told_on_every_page(key, words, ticking, client, alice):
    client.force_login(alice)
    sentence = words.split(". ")[0] + "."
    alerts.watch([Sign(key, "production", sentence, "error")], NOW)
    alerts.read_journal(NOW)

    for page in EVERY_PAGE:
        assert words in text(client.get(reverse(page))), page


def test_while_all_is_well_no_band_stands(ticking, client, alice):
    client.force_login(alice)

    for page in EVERY_PAGE:
        assert "Open Protection" not in text(client.get(reverse(page))), page


def signs_of(client):
    return {sign.name: sign for sign in client.get(reverse("protection")).context["signs"]}


def test_the_dead_man_s_call_is_told(ticking, client, alice, settings):
    client.force_login(alice)

    settings.DEAD_MAN_URL = ""
    without = signs_of(client)["Dead-man ping"]
    settings.DEAD_MAN_URL = "https://hc.example.com/x"
    Watch.objects.create(name=DEAD_MAN, called_at=NOW - timedelta(seconds=20), answer="200")
    called = signs_of(client)["Dead-man ping"]
    Watch.objects.update(called_at=NOW - timedelta(minutes=9))
    silent = signs_of(client)["Dead-man ping"]

    assert (without.state, without.word) == ("warning", "Not configured")
    assert (called.state, called.words) == ("within", "Called 20\u00a0s ago, answered 200.")
    assert silent.state == "exceeded"


def test_without_a_channel_nobody_is_told_and_the_page_says_so(ticking, client, alice):
    client.force_login(alice)

    assert signs_of(client)["Channels"].words == "Nobody is told: alerts stand in the console only."
