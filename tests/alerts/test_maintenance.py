"""Maintenance that comes back, by the clocks of a place."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from apps.alerts import services
from apps.alerts.domain import recurrence
from apps.alerts.models import Silence
from apps.core.refusals import Refused
from apps.journal.models import Entry
from tests.alerts.make_alerts import ALICE, HOUR, MINUTE, say, the_alert, webhook

BERLIN, APIA = ZoneInfo("Europe/Berlin"), ZoneInfo("Pacific/Apia")
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("days", "zone", "starts_at", "now", "then"),
    [
        (1, UTC, "2026-11-24T02:00", "2026-11-24T02:30", "2026-11-24T02:00"),  # it is on
        (1, UTC, "2026-11-24T02:00", "2026-11-24T04:00", "2026-11-25T02:00"),
        (7, UTC, "2026-11-24T02:00", "2026-11-24T04:00", "2026-12-01T02:00"),
        (7, UTC, "2026-11-24T02:00", "2027-11-24T12:00", "2027-11-30T02:00"),
        # 02:30 in Berlin: 01:30 UTC in winter, 00:30 in summer, and on the night between, which has no 02:30, 01:30.
        (1, BERLIN, "2027-03-26T01:30", "2027-03-27T12:00", "2027-03-28T01:30"),
        (1, BERLIN, "2027-03-26T01:30", "2027-03-28T12:00", "2027-03-29T00:30"),
        (1, BERLIN, "2026-10-20T00:30", "2026-10-26T12:00", "2026-10-27T01:30"),
        (1, APIA, "2026-11-24T12:00", "2026-11-24T23:00", "2026-11-25T12:00"),
    ],
)
def test_when_it_comes_back(days, zone, starts_at, now, then):
    begin, at = (datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (starts_at, now))

    found = recurrence.next_time(begin, begin + 2 * HOUR, days=days, zone=zone, now=at)

    assert found[0] == datetime.fromisoformat(then).replace(tzinfo=UTC)
    assert found[1] - found[0] == 2 * HOUR


@pytest.mark.django_db
def test_each_night_it_silences_and_each_morning_it_does_not(receiver, now):
    webhook(receiver, now)
    row = services.create_silence(
        environment="production",
        is_maintenance=True,
        starts_at=now + HOUR,
        ends_at=now + 2 * HOUR,
        repeats="daily",
        time_zone="Europe/Berlin",
        by=ALICE,
        now=now,
    )
    say(now)
    states = []
    for day in range(3):
        for hours in (0.5, 1.5, 2.5):
            services.dispatch(now + day * DAY + hours * HOUR)
            states.append(the_alert().state)
    row.refresh_from_db()

    assert states == ["firing", "silenced", "firing"] * 3
    assert (row.starts_at, row.ends_at) == (now + 3 * DAY + HOUR, now + 3 * DAY + 2 * HOUR)
    assert Entry.objects.get(kind="maintenance.created").after["repeats"] == "daily"

    services.end_silence(silence=row, by=ALICE, now=now + 3 * DAY)
    services.dispatch(now + 4 * DAY + 90 * MINUTE)

    assert the_alert().state == "firing"
    assert Silence.objects.get().repeats == ""


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"is_maintenance": False}, "Only maintenance comes back"),
        ({"repeats": "hourly"}, "does not come back hourly"),
        ({"ends_at": 25 * HOUR}, "never stops"),
        ({"time_zone": "Atlantis/Center"}, "no time zone Atlantis"),
        ({"time_zone": "../../etc/passwd"}, "no time zone"),
    ],
)
def test_what_could_not_come_back_is_refused(now, fields, says):
    asked = {"is_maintenance": True, "repeats": "daily", "ends_at": HOUR} | fields
    asked["ends_at"] = now + asked["ends_at"]

    with pytest.raises(Refused, match=says):
        services.create_silence(environment="production", by=ALICE, now=now, **asked)
