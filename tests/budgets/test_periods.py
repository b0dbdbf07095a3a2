from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from apps.budgets.domain.periods import period_at

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("day", "hours"),
    [
        (datetime(2026, 3, 29, 12, tzinfo=UTC), 23),
        (datetime(2026, 10, 25, 12, tzinfo=UTC), 25),
        (datetime(2026, 11, 24, 12, tzinfo=UTC), 24),
    ],
)
def test_a_day_has_as_many_hours_as_its_clock_shows(day, hours):
    period = period_at("day", day, BERLIN)

    assert period.until - period.since == timedelta(hours=hours)


def test_a_day_begins_at_local_midnight():
    period = period_at("day", datetime(2026, 11, 24, 15, 30, tzinfo=UTC), ZoneInfo("Asia/Tokyo"))

    assert period.since == datetime(2026, 11, 24, 15, tzinfo=UTC)


def test_a_week_begins_on_monday_and_a_month_on_the_first():
    now = datetime(2026, 11, 29, 23, 30, tzinfo=UTC)

    assert period_at("week", now, ZoneInfo("UTC")).since == datetime(2026, 11, 23, tzinfo=UTC)
    assert period_at("week", now, BERLIN).since == datetime(2026, 11, 29, 23, tzinfo=UTC)
    assert period_at("month", now, ZoneInfo("UTC")) == (
        datetime(2026, 11, 1, tzinfo=UTC),
        datetime(2026, 12, 1, tzinfo=UTC),
    )
    assert period_at("month", datetime(2026, 12, 31, 12, tzinfo=UTC), ZoneInfo("UTC")).until.year == 2027


def test_an_hour_is_an_hour_while_clocks_go_back():
    twice = [datetime(2026, 10, 25, hour, 40, tzinfo=UTC) for hour in (0, 1)]  # both 02:40 in Berlin

    first, second = (period_at("hour", at, BERLIN) for at in twice)

    assert first.until == second.since
    assert second.until - second.since == timedelta(hours=1)


def test_hours_begin_with_the_local_clock_even_at_half_past():
    period = period_at("hour", datetime(2026, 11, 24, 3, 0, tzinfo=UTC), ZoneInfo("Asia/Kolkata"))

    assert period.since == datetime(2026, 11, 24, 2, 30, tzinfo=UTC)


def test_a_midnight_that_clocks_skip_is_the_moment_after():
    period = period_at("day", datetime(2018, 11, 4, 15, tzinfo=UTC), ZoneInfo("America/Sao_Paulo"))

    assert period.since == datetime(2018, 11, 4, 3, tzinfo=UTC)
    assert period.until - period.since == timedelta(hours=23)


def test_the_pace_is_the_share_of_the_period_that_is_over():
    now = datetime(2026, 11, 24, 6, tzinfo=UTC)

    assert period_at("day", now, ZoneInfo("UTC")).gone(now) == 0.25
