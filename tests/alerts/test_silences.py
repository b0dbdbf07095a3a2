"""What is told to nobody for a while, and what happens when that is over."""

import pytest

from apps.alerts import queries, services
from apps.alerts.domain.matching import Matcher
from apps.alerts.models import Delivery
from apps.core.refusals import Refused
from apps.journal.models import Entry
from tests.alerts.make_alerts import ALICE, HOUR, MINUTE, ROUTE, SECOND, end, play, say, the_alert, webhook

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("matcher", "fits"),
    [
        ({}, True),
        ({"route": ROUTE}, True),
        ({"route": "search"}, False),
        ({"owner": "payments"}, True),
        ({"severity": "critical"}, True),
        ({"severity": "warning"}, False),
        ({"condition": "rollout:"}, True),
        ({"condition": "budget:"}, False),
        ({"route": ROUTE, "owner": "search"}, False),
    ],
)
def test_a_silence_covers_what_fits_every_field(receiver, now, matcher, fits):
    webhook(receiver, now)
    services.create_silence(environment="production", ends_at=now + HOUR, by=ALICE, now=now, **matcher)
    say(now)

    services.dispatch(now)

    assert (len(receiver.got) == 0) is fits
    assert (the_alert().state == "silenced") is fits


def test_a_silence_of_warnings_does_not_cover_one_that_becomes_critical(receiver, now):
    webhook(receiver, now)
    services.create_silence(environment="production", severity="warning", ends_at=now + HOUR, by=ALICE, now=now)
    say(now, severity="warning")
    services.dispatch(now)
    quiet = len(receiver.got)

    say(now + MINUTE, severity="critical")
    services.dispatch(now + MINUTE)

    assert quiet == 0
    assert receiver.types() == ["alert.firing"]
    assert the_alert().state == "firing"


def test_what_fires_through_a_silence_is_told_when_it_ends(receiver, now):
    webhook(receiver, now)
    services.create_silence(environment="production", route=ROUTE, ends_at=now + HOUR, by=ALICE, now=now)
    say(now + MINUTE)
    play(now + MINUTE, now + HOUR - SECOND, step=5 * MINUTE)
    quiet = len(receiver.got)

    services.dispatch(now + HOUR)

    assert quiet == 0
    assert receiver.types() == ["alert.firing"]
    assert the_alert().state == "firing"


def test_what_ends_within_a_silence_is_never_told(receiver, now):
    webhook(receiver, now)
    services.create_silence(environment="production", ends_at=now + HOUR, by=ALICE, now=now)
    say(now)
    services.dispatch(now)
    say(now + MINUTE, effect="closes")

    play(now + MINUTE, now + 2 * HOUR, step=10 * MINUTE)

    assert receiver.got == []


def test_a_silence_stops_the_repeats_of_what_fires_already(receiver, now):
    webhook(receiver, now)
    say(now)
    services.dispatch(now)
    services.create_silence(environment="production", ends_at=now + 24 * HOUR, by=ALICE, now=now + MINUTE)
    alert = the_alert()

    play(now + MINUTE, now + 10 * HOUR, step=HOUR)

    assert (alert.state, alert.silenced_by, alert.silenced_until) == ("silenced", "alice", now + 24 * HOUR)
    assert len(receiver.got) == 1


def test_a_silence_that_is_ended_early_wakes_what_it_covered(receiver, now):
    webhook(receiver, now)
    silence = services.create_silence(environment="production", ends_at=now + HOUR, by=ALICE, now=now)
    say(now)
    services.dispatch(now)

    services.end_silence(silence=silence, by=ALICE, now=now + MINUTE)
    services.dispatch(now + MINUTE)

    assert receiver.types() == ["alert.firing"]
    with pytest.raises(Refused, match="ended already"):
        services.end_silence(silence=silence, by=ALICE, now=now + 2 * MINUTE)


def test_of_two_silences_the_longer_one_holds(receiver, now):
    webhook(receiver, now)
    services.create_silence(environment="production", ends_at=now + 2 * HOUR, by=ALICE, now=now)
    short = services.create_silence(environment="production", route=ROUTE, ends_at=now + HOUR, by=ALICE, now=now)
    say(now)
    services.dispatch(now)

    services.end_silence(silence=short, by=ALICE, now=now + MINUTE)
    play(now + MINUTE, now + 2 * HOUR - SECOND, step=10 * MINUTE)
    quiet = len(receiver.got)
    services.dispatch(now + 2 * HOUR)

    assert (quiet, len(receiver.got)) == (0, 1)


def test_a_maintenance_window_begins_and_ends_by_itself(receiver, now):
    webhook(receiver, now)
    services.create_silence(
        environment="production",
        is_maintenance=True,
        starts_at=now + HOUR,
        ends_at=now + 2 * HOUR,
        because="The provider moves.",
        by=ALICE,
        now=now,
    )
    say(now)
    services.dispatch(now)
    before = the_alert().state
    services.dispatch(now + HOUR)
    within = the_alert()
    services.dispatch(now + 2 * HOUR)

    assert (before, within.state, within.silenced_by) == ("firing", "silenced", "alice (maintenance)")
    assert the_alert().state == "firing"
    assert Entry.objects.filter(kind="maintenance.created").exists()


def test_an_end_is_mandatory_and_lies_ahead(now):
    for ends_at in (now, now - HOUR):
        with pytest.raises(Refused, match="ends in the future"):
            services.create_silence(environment="production", ends_at=ends_at, by=ALICE, now=now)


def test_a_preview_says_what_a_matcher_would_have_covered(now):
    for n, route in enumerate(("a", "b", "c")):
        say(now + n * SECOND, route=route, severity="critical" if route == "a" else "warning")
    end(now + 10 * SECOND, route="b")

    found = queries.preview("production", Matcher(severity="warning"), now + MINUTE)

    assert [one.route for one in found.open] == ["c"]
    assert (found.lately, found.of, found.words) == (2, 3, "severity warning")
    assert not Delivery.objects.exists()
