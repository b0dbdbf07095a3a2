import shutil
import time
from collections.abc import Iterator

import pytest

from apps.access import serving as access
from apps.flags.serving import asking, events
from apps.flags.serving.changes import changes
from apps.flags.serving.counting import counter
from apps.flags.serving.shelf import Shelf, folder, shelf


@pytest.fixture
def shelf_of_this_test(db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    """The process's memory of snapshots, keys and counts, empty before and after. A look has the time that it takes on
    a slow machine, and addresses of streams do not change in the middle of a test."""
    this_turn = events.turn(time.time())
    monkeypatch.setattr(events, "turn", lambda now: this_turn)
    monkeypatch.setattr(asking, "LOOK_SECONDS", 60)

    def empty() -> None:
        for kept in (shelf.held, shelf.changes, shelf.confirmed, shelf.rows, shelf.doubts):
            kept.clear()
        shelf.from_disk.clear()
        shelf.disk_is_read = shelf.is_complete = False
        shutil.rmtree(folder(), ignore_errors=True)
        access.keys.swap({})
        access.keys.loaded = False
        counter.counts.clear()
        for streams in (changes, events.events):
            streams.streams.clear()
            streams.loop, streams.ended = None, False
        asking.looked_at = 0.0
        asking.missed.clear()

    empty()
    yield shelf
    empty()
