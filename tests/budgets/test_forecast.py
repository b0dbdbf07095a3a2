from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from apps.budgets.domain.forecast import Forecast, NotYet, forecast

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 25, tzinfo=UTC)
HOUR = timedelta(hours=1)


def ask(hours, **changes):
    today = sum(nano for hour, nano in hours.items() if hour >= NOW.replace(hour=0))
    asked = {
        "hours": hours,
        "calls": 10_000,
        "spent_nano": today,
        "limit_nano": 10**12,
        "until": MIDNIGHT,
        "now": NOW,
        "zone": ZoneInfo("UTC"),
    }
    return forecast(**(asked | changes))


def flat(days: float, nano: int = 1000):
    return {NOW - HOUR * i: nano for i in range(1, int(days * 24) + 1)}


def test_even_spend_goes_on_evenly():
    found = ask(flat(5))

    assert found.nano == pytest.approx(24_000)
    assert found.low_nano == found.high_nano == found.nano
    assert found.exhausted_at is None


def test_expensive_evenings_are_expected_again():
    hours = {hour: 5000 if hour.hour >= 18 else 1000 for hour in flat(6)}

    assert ask(hours).nano == pytest.approx(18 * 1000 + 6 * 5000)


def test_a_louder_day_raises_what_is_still_to_come():
    hours = {hour: 2000 if hour >= NOW - 24 * HOUR else 1000 for hour in flat(6)}

    assert ask(hours).nano == pytest.approx(12 * 2000 + 12 * 2000)


def test_days_that_differ_widen_the_range():
    hours = {hour: 500 + 500 * ((NOW - hour).days % 3) for hour in flat(9)}

    found = ask(hours)

    assert found.low_nano < found.nano < found.high_nano


def test_it_says_when_the_limit_will_be_reached():
    found = ask(flat(5), limit_nano=18_500)

    assert found.exhausted_at == NOW + timedelta(hours=6, minutes=30)


def test_under_three_whole_days_there_is_no_forecast():
    found = ask(flat(14 / 24))

    assert isinstance(found, NotYet)
    assert found.sentence == "No forecast yet. It needs 3 days of spend; there are 14 h."


def test_few_calls_give_no_forecast():
    assert ask(flat(5), calls=150).sentence == "No forecast yet. It needs 200 priced calls; there are 150."


def test_no_spend_at_all_gives_no_forecast():
    assert isinstance(ask({}), NotYet)


def test_a_long_silence_is_forecast_as_silence():
    hours = {NOW - HOUR * i: 1000 for i in range(100, 200)}

    found = ask(hours)

    assert isinstance(found, Forecast)
    assert found.nano <= 12_000
