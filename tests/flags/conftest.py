import shutil
from collections.abc import Iterator

import pytest

from apps.access import serving as access
from apps.flags.serving import asking
from apps.flags.serving.changes import changes
from apps.flags.serving.counting import counter
from apps.flags.serving.events import events
from apps.flags.serving.shelf import Shelf, folder, shelf


@pytest.fixture
def shelf_of_this_test(db: None) -> Iterator[Shelf]:
    """The process's memory of snapshots, keys and counts, empty before and after."""

    def empty() -> None:
        for kept in (shelf.held, shelf.changes, shelf.confirmed, shelf.rows, shelf.doubts):
            kept.clear()
        shelf.from_disk.clear()
        shelf.disk_is_read = shelf.is_complete = False
        shutil.rmtree(folder(), ignore_errors=True)
        access.keys.swap({})
        access.keys.loaded = False
        counter.counts.clear()
        for streams in (changes, events):
            streams.streams.clear()
            streams.loop, streams.ended = None, False
        asking.looked_at = 0.0
        asking.missed.clear()

    empty()
    yield shelf
    empty()
