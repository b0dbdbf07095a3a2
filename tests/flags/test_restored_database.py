"""A database restored to an older version: nobody steps back, it is said, and one command goes on from there."""

import dataclasses
import json

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from apps.access.models import Environment
from apps.flags import queries, services
from apps.flags.models import Flag, FlagVersion, Snapshot, Split
from apps.flags.serving.shelf import Shelf
from apps.journal.models import Entry
from controlplane import health
from tests.flags.doors import ask, look, make_key
from tests.flags.make_flags import ALICE, NOW, make_flag, make_route

pytestmark = pytest.mark.django_db(transaction=True)
SAID = {"environment": "production", "by": ALICE, "because": "to see", "now": NOW}
PATH = "/flagd/flags.json"


@pytest.fixture
def key(shelf_of_this_test: Shelf) -> dict[str, str]:
    make_flag()
    make_route()
    return make_key()


def backup() -> list[list[object]]:
    return [list(model.objects.order_by("pk")) for model in (Snapshot, Flag, FlagVersion, Split)]


@transaction.atomic
def restore(kept: list[list[object]], version: int) -> None:
    for rows in kept:
        model = type(rows[0])
        model.objects.exclude(pk__in=[row.pk for row in rows]).delete()
        for row in rows:
            row.save()
    Environment.objects.filter(key="production").update(snapshot_version=version)


def lose_three_versions() -> None:
    kept = backup()
    for turn in range(3):
        services.update_flag(**SAID, key="new-parser", metadata={"turn": turn})
    look()
    restore(kept, 2)


def served(key: dict[str, str]) -> int:
    return ask("GET", PATH, headers=key).json["metadata"]["revision"]


def test_a_running_process_goes_on_with_what_it_has_and_says_so(key, shelf_of_this_test: Shelf):
    lose_three_versions()
    look()

    assert served(key) == 5
    told = health.look_at_flags()
    assert (told["ok"], told["amber"]) == (True, True)
    assert "version 2 of production, this process serves 5" in told["reason"]
    assert "republish --environment production --above 5" in told["reason"]


def test_what_the_database_does_not_confirm_grows_old(key, shelf_of_this_test: Shelf):
    lose_three_versions()
    shelf_of_this_test.confirmed["production"] -= 60
    look()

    assert int(ask("GET", PATH, headers=key).header("x-snapshot-age")) >= 60


def test_a_restarted_process_does_not_step_back_either(key, shelf_of_this_test: Shelf):
    lose_three_versions()
    for kept in (shelf_of_this_test.held, shelf_of_this_test.rows):
        kept.clear()
    shelf_of_this_test.disk_is_read = False

    look()

    assert served(key) == 5
    assert "this process serves 5" in health.look_at_flags()["reason"]


def test_another_environment_under_the_same_key_is_none_of_that(key, shelf_of_this_test: Shelf):
    look()
    for kept in (shelf_of_this_test.held, shelf_of_this_test.rows):
        kept.clear()
    shelf_of_this_test.disk_is_read = False
    Environment.objects.filter(key="production").update(created_at=NOW.replace(year=2020), snapshot_version=0)
    Snapshot.objects.all().delete()

    look()

    assert shelf_of_this_test.held["production"].version == 0
    assert health.look_at_flags()["reason"] == ""


def test_one_command_makes_what_was_restored_the_newest_version(key, shelf_of_this_test: Shelf, capsys):
    lose_three_versions()
    look()

    call_command("republish", environment="production", above=5)
    look()

    assert capsys.readouterr().out == "production is at version 6.\n"
    assert served(key) == 6
    assert health.look_at_flags() == {"ok": True, "reason": ""}
    flags = json.loads(queries.snapshot("production").body)["flags"]
    assert "turn" not in flags["new-parser"]["metadata"], "it is what was restored"
    assert queries.splits("production")[-1].since_version == 6, "requests since the backup were divided otherwise"
    entry = Entry.objects.latest("at", "id")
    assert (entry.kind, entry.version) == ("environment.republished", 6)


def test_an_environment_that_is_not_there_is_refused_with_a_sentence(key):
    with pytest.raises(CommandError, match="nowhere"):
        call_command("republish", environment="nowhere")


def test_two_versions_of_one_number_are_noticed_by_the_bytes_that_are_served(key, shelf_of_this_test: Shelf):
    kept = backup()
    services.update_flag(**SAID, key="new-parser", metadata={"turn": "lost"})
    look()
    restore(kept, 2)
    services.update_flag(**SAID, key="new-parser", metadata={"turn": "new"})
    shelf_of_this_test.touched = 0.0

    look()

    assert "Version 3 of production is another one" in health.look_at_flags()["reason"]
    call_command("republish", environment="production")
    look()
    assert health.look_at_flags()["reason"] == ""
    assert ask("GET", PATH, headers=key).json["flags"]["new-parser"]["metadata"]["turn"] == "new"


def test_bytes_that_were_spoilt_in_memory_are_noticed(key, shelf_of_this_test: Shelf):
    look()
    held = shelf_of_this_test.held["production"]
    held.plain = dataclasses.replace(held.plain, body=held.plain.body.replace(b"new-parser", b"old-parser"))

    shelf_of_this_test.check()

    assert "Version 2 of production" in shelf_of_this_test.doubts["production", "differs"]


def test_once_the_right_database_is_back_all_is_well(key, shelf_of_this_test: Shelf):
    lose_three_versions()
    look()
    Environment.objects.filter(key="production").update(snapshot_version=5)
    look()

    assert health.look_at_flags()["reason"] == ""
