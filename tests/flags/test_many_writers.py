"""Fifty writers on one flag: versions strictly grow, each revision is one change, and no write is lost silently."""

import threading

import pytest
from django.db import connection

from apps.core.refusals import Stale
from apps.flags import queries, services, versions
from apps.flags.models import FlagVersion, Snapshot
from apps.journal.models import Entry
from tests.flags.make_flags import ALICE, NOW, make_flag

pytestmark = pytest.mark.django_db(transaction=True)
WRITERS = 50
FLAG = {"environment": "production", "key": "new-parser", "by": ALICE, "now": NOW}


def at_once(write) -> list[BaseException]:
    failed: list[BaseException] = []
    start = threading.Barrier(WRITERS)

    def run(number: int) -> None:
        try:
            start.wait()
            write(number)
        except BaseException as fault:  # the test's own edge: told below
            failed.append(fault)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failed


def test_every_write_without_an_expectation_is_a_version_of_its_own():
    make_flag()

    failed = at_once(lambda number: services.update_flag(**FLAG, because=str(number), metadata={"by": number}))

    assert failed == []
    rows = list(FlagVersion.objects.order_by("revision"))
    assert [row.revision for row in rows] == list(range(1, WRITERS + 2))
    assert [row.version for row in rows] == list(range(1, WRITERS + 2))
    assert sorted(row.because for row in rows[1:]) == sorted(str(number) for number in range(WRITERS))
    assert sorted(Snapshot.objects.values_list("version", flat=True)) == list(range(1, WRITERS + 2))
    assert queries.flag("production", "new-parser").metadata == rows[-1].fields["metadata"]
    assert Entry.objects.filter(kind="flag.changed").count() == WRITERS


def test_of_all_that_saw_the_same_revision_one_wins_and_the_others_are_told_who():
    make_flag()

    failed = at_once(lambda number: services.update_flag(**FLAG, because="", metadata={"by": number}, expected=1))

    assert len(failed) == WRITERS - 1
    assert {type(fault) for fault in failed} == {Stale}
    assert all(fault.changes["metadata"]["was"] == {} for fault in failed)
    assert [one.revision for one in versions.versions("production", "new-parser")] == [2, 1]
    winner = queries.flag("production", "new-parser").metadata
    assert failed[0].changes["metadata"]["is"] == winner
