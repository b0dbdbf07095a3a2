"""The page of clients: who has which snapshot, how fast it came, who hashes otherwise, who is refused."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from apps.console.presenters import flag_curve
from apps.console.presenters.flag_curve import Curve
from apps.flags import queries, refused, seen
from apps.flags.models import Snapshot
from apps.flags.refused import Caller
from tests.console.make_flags import make_story

pytestmark = pytest.mark.django_db
HERE = "production"


@pytest.fixture
def text(environment, client, bob):
    make_story(timezone.now())
    client.force_login(bob)
    return lambda name="clients", *args: (
        client.get(reverse(name, args=args)).content.decode().replace("&nbsp;", " ").replace("\u00a0", " ")
    )


def test_stale_clients_are_told_in_words(text):
    page = text()

    assert "Not heard from for 2 h." in page
    assert "snapshots behind" in page


def test_a_reader_at_a_door_that_hashes_otherwise_is_marked_here_and_on_the_flag(text):
    agent = "openfeature-provider-flagd/0.5.0"
    seen.note_readers(given={(HERE, "flagd", "mobile", agent): 4}, now=timezone.now())

    page, flag = text(), text("flag", "new-parser")

    assert "reads the definition over HTTP" in page
    assert "Its package computes v2; 2 flags that divide are pinned otherwise." in page
    assert "mobile (openfeature-provider-flagd/0.5.0) computes v2" in flag


def test_who_is_refused_is_named_with_why(text):
    assert "Nobody was refused." in text()
    refused.note_refused(callers=[(Caller("sync", "", "", "10.0.0.7", "grpc-python/1.81"), 12)], now=timezone.now())

    page = text()

    assert "grpc-python/1.81" in page and "from 10.0.0.7" in page and "No key" in page


def test_the_curve_counts_who_has_the_newest_by_seconds(text):
    newest = Snapshot.objects.latest("version")
    for name, seconds in (("a", 2), ("b", 6)):
        at = newest.published_at + timedelta(seconds=seconds)
        seen.note_readers(given={(HERE, "flagd", name, "flagd/0.16.1"): newest.version}, now=at)

    curve = flag_curve.of(queries.clients(HERE, doors=True), newest.version, newest.published_at)

    assert curve is not None
    assert [count for _, count in curve.steps] == list(range(1, len(curve.steps) + 1))
    assert {2.0, 6.0} <= {seconds for seconds, _ in curve.steps}
    assert f"How fast snapshot {newest.version} arrived" in text()


def test_the_curve_says_itself_in_words_and_never_leaves_its_frame():
    curve = Curve(7, ((1.0, 1), (3.0, 2), (40.0, 3)), 4)

    assert curve.says.replace("\u00a0", " ") == (
        "3 of 4 clients said that they have snapshot 7: half of these within 3 s, the last after 40 s."
    )
    assert 'class="line' in flag_curve.drawn(curve)
    assert Curve(7, (), 4).says == "0 of 4 clients said that they have snapshot 7."
    assert flag_curve.of([], 7, timezone.now()) is None
