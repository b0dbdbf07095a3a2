from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.db import DataError, transaction
from django.db.backends.sqlite3.base import DatabaseWrapper

from apps.telemetry import rows
from apps.telemetry.models import Window

pytestmark = pytest.mark.django_db
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def window(*, variant="a\tb\\N\n", calls=1):
    return ["production", "invoice-summary", variant, "live", AT, calls, 0, 0, 0, 0, 0, 0, 0, 0, 0, bytes(range(256))]


def test_rows_come_back_as_they_went_in():
    rows.insert(Window, [window(), window(variant="")])
    found = list(Window.objects.order_by("id").values_list("variant", "starts_at", "calls", "latency"))
    assert [(*plain, bytes(latency)) for *plain, latency in found] == [
        ("a\tb\\N\n", AT, 1, bytes(range(256))),
        ("", AT, 1, bytes(range(256))),
    ]


def test_a_number_that_the_database_cannot_hold_is_refused_and_nothing_of_the_group_stays():
    with pytest.raises((DataError, OverflowError)), transaction.atomic():
        rows.insert(Window, [window(), window(calls=2**70)])
    assert not Window.objects.exists()


@pytest.mark.parametrize(
    "moment",
    [
        None,
        datetime(2026, 11, 24, 3, 0, tzinfo=UTC),
        datetime(2026, 11, 24, 3, 0, 0, 120, tzinfo=UTC),
        datetime(2026, 11, 24, 3, 0, 0, 120_000, tzinfo=timezone(timedelta(hours=5, minutes=45))),
        datetime(1970, 1, 1, tzinfo=timezone(timedelta(hours=-3))),
    ],
)
def test_sqlite_gets_a_moment_as_django_writes_it(moment):
    django = DatabaseWrapper({"NAME": ":memory:", "TIME_ZONE": None}).ops
    assert rows.sqlite_moment(moment) == django.adapt_datetimefield_value(moment)
