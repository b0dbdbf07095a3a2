from datetime import UTC, datetime

import pytest
from django.db import DataError, transaction

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
