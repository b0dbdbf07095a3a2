import json
import threading

import pytest
from django.db import connection

from apps.flags import queries, services
from apps.flags.models import Snapshot
from apps.journal.models import Entry
from tests.flags.make_flags import ALICE, NOW, make_flag

WRITERS = 20


@pytest.mark.django_db(transaction=True)
def test_twenty_writers_at_once_publish_twenty_versions_in_order():
    for number in range(4):
        make_flag(f"flag-{number}")
    first = queries.snapshot("production").version
    failed: list[Exception] = []
    start = threading.Barrier(WRITERS)

    def write(number: int) -> None:
        start.wait()
        try:
            services.update_flag(
                environment="production", key=f"flag-{number % 4}", by=ALICE, because="", now=NOW,
                metadata={"writer": number},
            )  # fmt: skip
        except Exception as fault:  # the test's own edge: told below
            failed.append(fault)
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    versions = list(Snapshot.objects.of("production").order_by("version").values_list("version", flat=True))
    assert versions == list(range(1, first + WRITERS + 1))
    assert Entry.objects.count() == first + WRITERS
    revisions = [json.loads(snapshot.document)["metadata"]["revision"] for snapshot in Snapshot.objects.all()]
    assert sorted(revisions) == versions
    each_flag_of_the_newest = json.loads(queries.snapshot("production").body)["flags"]
    for number in range(4):  # nobody's write was lost in another's snapshot
        stored = queries.flag("production", f"flag-{number}").metadata["writer"]
        assert each_flag_of_the_newest[f"flag-{number}"]["metadata"]["writer"] == stored


@pytest.mark.django_db
def test_the_same_flags_give_the_same_bytes():
    from apps.flags.domain import definition

    make_flag("b")
    make_flag("a", metadata={"z": 1, "a": "zoë"})
    body = queries.snapshot("production").body

    document = json.loads(body)
    fragments = [(key, definition.encode(flag)) for key, flag in reversed(document["flags"].items())]

    assert definition.document(fragments, environment="production", version=2) == body
    assert list(document["flags"]) == ["a", "b"]
