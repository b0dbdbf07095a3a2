from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from apps.budgets.domain import money, season, thresholds
from apps.budgets.domain.forecast import Forecast, NotYet, forecast
from apps.budgets.domain.periods import Period

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 25, tzinfo=UTC)
HOUR = timedelta(hours=1)


def ask(hours, *, calls=10_000, now=NOW, zone="UTC", **changes):
    zone = ZoneInfo(zone)
    today = sum(nano for hour, nano in hours.items() if hour >= now.replace(hour=0))
    asked = {"spent_nano": today, "limit_nano": 10**12, "until": MIDNIGHT, "now": now, "zone": zone}
    return forecast(season.season(hours, calls, now, zone), **(asked | changes))


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


def test_the_hours_of_a_day_are_those_of_the_budgets_zone():
    hours = {hour: 5000 if 9 <= hour.hour < 15 else 1000 for hour in flat(6)}  # evenings in Tokyo, where it is 21:00

    found = ask(hours, zone="Asia/Tokyo", spent_nano=0, until=NOW + 5 * HOUR)

    assert found.nano == pytest.approx(3 * 5000 + 2 * 1000)


@pytest.mark.parametrize(("usd", "is_crossed"), [(99, False), (100, True)])
def test_the_middle_line_decides_whether_a_threshold_is_crossed(usd, is_crossed):
    asked, _ = thresholds.parse([{"forecast": 1.0, "do": "hold"}], period="day", scope={})
    rule = money.Rule("b", "production", "", {}, "day", 100, asked, "UTC")
    outlook = Forecast(nano=usd, low_nano=50, high_nano=150, exhausted_at=None)

    verdict = money.judge(
        rule, period=Period(MIDNIGHT - 24 * HOUR, MIDNIGHT), spent=money.Spent(), outlook=outlook, burn_spend=None,
        now=NOW,
    )  # fmt: skip

    assert [threshold.name for threshold in verdict.crossed] == (["forecast:1"] if is_crossed else [])


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


def wavering(days=9):
    """Days at half, full and one and a half of the usual."""
    return {NOW - HOUR * i: (500, 1000, 1500)[(i - 1) // 24 % 3] for i in range(1, days * 24 + 1)}


def test_the_range_comes_from_how_far_whole_days_were_off():
    found = ask(wavering(), spent_nano=0, until=NOW + timedelta(days=10))

    # The level is that of the last day, a half one: ten such days are 120,000; draws of 0.5, 1 and 1.5 lie around it.
    assert found.nano == pytest.approx(120_000)
    assert 0.7 * found.nano < found.low_nano < 0.95 * found.nano
    assert 1.05 * found.nano < found.high_nano < 1.3 * found.nano


def test_the_same_history_always_gives_the_same_range():
    assert ask(wavering()) == ask(wavering())


def test_it_says_when_the_limit_is_reached_at_the_earliest_and_at_the_latest():
    found = ask(wavering(), spent_nano=0, limit_nano=60_000, until=NOW + timedelta(days=20))

    assert found.exhausted_earliest < found.exhausted_at < found.exhausted_latest
    assert found.exhausted_at == NOW + timedelta(days=5)


def test_what_may_be_reached_on_bad_days_only_has_no_likely_moment():
    found = ask(wavering(), spent_nano=0, limit_nano=130_000, until=NOW + timedelta(days=10))

    assert found.exhausted_at is None
    assert found.exhausted_latest is None
    assert found.exhausted_earliest is not None


def test_a_forecast_of_a_day_ends_with_that_day_and_not_with_the_month():
    late = NOW.replace(hour=22)
    hours = {late - HOUR * i: 1000 for i in range(1, 120)}

    assert ask(hours, now=late).nano == pytest.approx(24_000)


def test_a_rolling_period_forgets_at_its_other_end():
    """Yesterday's outlier falls out: what is reached is less than all that comes added to all that was."""
    hours = flat(5) | {NOW - HOUR * 20: 11_000}
    spent = sum(nano for hour, nano in hours.items() if hour >= NOW - HOUR * 24)

    found = ask(hours, spent_nano=spent, until=NOW + timedelta(days=1), leaving=hours, limit_nano=10**6)

    level = spent / 24_000
    assert spent < found.nano == pytest.approx(spent + 4 * 1000 * (level - 1), rel=0.01)


def test_a_day_of_25_hours_costs_25_hours():
    zone = ZoneInfo("Europe/Berlin")
    begins = datetime(2026, 10, 24, 22, tzinfo=UTC)
    hours = {begins - HOUR * i: 1000 for i in range(1, 24 * 5)}
    asked = season.season(hours, 10_000, begins, zone)

    found = forecast(asked, spent_nano=0, limit_nano=10**9, until=begins + timedelta(hours=25), now=begins, zone=zone)

    assert found.nano == 25_000


def test_a_forecast_comes_back_from_what_is_kept_as_it_was():
    from apps.budgets.domain.forecast import from_plain, to_plain

    for outlook in (ask(wavering(), limit_nano=10_000), NotYet(1.5, 20), NotYet(0.0, 0, why="A budget of an hour.")):
        assert from_plain(to_plain(outlook)) == outlook
