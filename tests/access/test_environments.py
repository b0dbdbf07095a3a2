import pytest
from django.core.management import CommandError, call_command

from apps.access.models import Environment

pytestmark = pytest.mark.django_db


def test_an_object_loaded_earlier_does_not_write_an_old_snapshot_number_back(environment):
    stale = Environment.objects.get(pk=environment.pk)
    environment.next_version()
    stale.name = "Renamed"

    stale.save()

    fresh = Environment.objects.get(pk=environment.pk)
    assert (fresh.name, fresh.snapshot_version) == ("Renamed", 1)


def test_the_command_line_makes_environments_and_their_keys(capsys):
    with pytest.raises(CommandError, match=r"manage\.py create_environment staging"):
        call_command("create_key", environment="staging", name="ci", scope=["flags:read"])
    call_command("create_environment", "staging", name="Staging", protected=True)
    call_command("create_key", environment="staging", name="ci", scope=["flags:read"])

    made = Environment.objects.get()
    assert (made.key, made.name, made.is_production, made.is_protected) == ("staging", "Staging", False, True)
    assert capsys.readouterr().out.splitlines()[-1].startswith("co_")


@pytest.mark.parametrize(("key", "why"), [("production", "already"), ("No Such", "Lower-case letters")])
def test_an_environment_that_cannot_be_made_is_refused_with_the_reason(environment, key, why):
    with pytest.raises(CommandError, match=why):
        call_command("create_environment", key)
