import pytest

from apps.access.models import Environment

pytestmark = pytest.mark.django_db


def test_an_object_loaded_earlier_does_not_write_an_old_snapshot_number_back(environment):
    stale = Environment.objects.get(pk=environment.pk)
    environment.next_version()
    stale.name = "Renamed"

    stale.save()

    fresh = Environment.objects.get(pk=environment.pk)
    assert (fresh.name, fresh.snapshot_version) == ("Renamed", 1)
