"""Silences and maintenance on their page: what they would cover, when they end."""

from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse

from apps.alerts.models import Silence
from tests.console.make_money import KEY, alert_of, morning
from tests.console.read_pages import text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def story(environment):
    morning(NOW)


def test_a_matcher_shows_what_it_covers_before_it_silences(story, client, alice):
    client.force_login(alice)

    shown = client.get(reverse("silences"), {"route": KEY, "hours": "4", "preview": "1"})
    client.post(reverse("silences"), {"route": KEY, "hours": "4", "because": "known"})

    assert "1 open now, and 1 of 4 alerts" in text(shown)
    assert "Silence until 07:00" in text(shown)
    made = Silence.objects.get()
    assert (made.route, made.ends_at, made.by) == (KEY, NOW + 4 * HOUR, "alice")
    assert alert_of(KEY).state == "silenced"


def test_maintenance_is_planned_ahead_and_called_off(environment, client, alice):
    client.force_login(alice)
    asked = {"kind": "maintenance", "starts_at": "2026-11-25T22:00", "hours": "4", "owner": "payments"}

    client.post(reverse("silences"), asked)
    made = Silence.objects.get()
    client.post(reverse("silence-end", args=[made.id]))

    assert made.is_maintenance
    assert (made.starts_at, made.ends_at) == (
        datetime(2026, 11, 25, 22, tzinfo=UTC),
        datetime(2026, 11, 26, 2, tzinfo=UTC),
    )
    assert Silence.objects.get().ended_by == "alice"


def test_maintenance_each_night_is_planned_by_the_clocks_of_a_place(environment, client, alice):
    client.force_login(alice)
    asked = {"kind": "maintenance", "starts_at": "2026-11-25T02:00", "hours": "4", "repeats": "daily"}

    client.post(reverse("silences"), asked | {"time_zone": "Europe/Berlin"})
    listed = text(client.get(reverse("silences")))
    wrong = client.post(reverse("silences"), asked | {"time_zone": "Atlantis"})

    made = Silence.objects.get()
    assert (made.starts_at, made.repeats) == (datetime(2026, 11, 25, 1, tzinfo=UTC), "daily")
    assert "every day, Europe/Berlin" in listed and "Call off" in listed
    assert wrong.status_code == 422 and "There is no time zone Atlantis." in text(wrong)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"route": "r" * 129}, "This route is too long."),
        ({"kind": "maintenance", "starts_at": "9999-12-31T23:00"}, ""),
        ({"kind": "maintenance", "starts_at": "0001-01-01T00:00", "time_zone": "Asia/Tokyo"}, ""),
    ],
)
def test_what_makes_no_sense_is_no_fault(environment, client, alice, asked, says):
    client.force_login(alice)

    looked = client.get(reverse("silences"), asked | {"preview": "1"})
    pressed = client.post(reverse("silences"), asked | {"hours": "72"})

    assert looked.status_code == 200
    assert pressed.status_code == (422 if says else 302)
    assert says in text(pressed)
