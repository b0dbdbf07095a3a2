"""Which snapshot of each environment this process serves, and how it learns of newer ones.

`refresh` runs off the event loop: every two seconds and at each bell it looks at the newest versions in the database.
A copy on disk lets a process that starts without its database serve what the last one served. A version that came from
the database is never replaced by an older one.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from django.conf import settings

from apps.access.models import Environment
from apps.flags import queries
from apps.flags.models import Snapshot
from apps.flags.serving.held import Held
from changeover import UnreadableDocument

REMEMBERED = 500  # versions whose changed keys a returning reader can be told
FRESH_SECONDS = 10.0
TOUCH_SECONDS = 60.0

Change = tuple[int, frozenset[str], bool]  # version, changed keys, urgent
Told = Callable[[Held], None]


class Shelf:
    def __init__(self) -> None:
        self.held: dict[str, Held] = {}
        self.changes: dict[str, list[Change]] = {}
        self.from_disk: set[str] = set()
        self.rows: dict[str, int] = {}  # by environment: its row, so that a new one under an old key is told apart
        self.confirmed: dict[str, float] = {}  # by environment: when the database last said that this is the newest
        self.told: list[Told] = []
        self.looking = threading.Lock()
        self.disk_is_read = False
        self.is_complete = False  # one whole look has succeeded
        self.touched = 0.0

    def get(self, environment: str) -> Held | None:
        return self.held.get(environment)

    def age(self, environment: str) -> int:
        """Seconds since the database last confirmed what is served; 0 while it does."""
        seconds = time.time() - self.confirmed.get(environment, 0.0)
        return int(seconds) if seconds > FRESH_SECONDS else 0

    def refresh(self) -> None:
        """Raises django.db.Error when the database is away; what is held stays."""
        self.load_disk()
        with self.looking:
            rows = list(Environment.objects.values_list("pk", "key", "snapshot_version", "is_hidden"))
            asked = time.time()
            for row, key, version, is_hidden in rows:
                if self.rows.setdefault(key, row) != row:
                    self.drop(key)
                    self.rows[key] = row
                held = self.held.get(key)
                if held is None or version > held.version or key in self.from_disk:
                    self.load(key, keep=not is_hidden)
                self.confirmed[key] = asked
            for key in set(self.held) - {key for _, key, _, _ in rows}:
                self.drop(key)
            if asked - self.touched > TOUCH_SECONDS:
                self.touch(asked)
            self.is_complete = True

    def load_disk(self) -> bool:
        """Once. Whether there is anything to serve."""
        with self.looking:
            if not self.disk_is_read:
                self.read_disk()
                self.disk_is_read = True
            return bool(self.held)

    def load(self, key: str, *, keep: bool) -> None:
        held = self.held.get(key)
        newest = queries.snapshot(key)
        at = newest.published_at.timestamp() if newest.published_at else time.time()
        self.note_changes(key, held)
        fresh = Held(key, newest.version, newest.body, at, previous=held)
        self.from_disk.discard(key)
        self.held[key] = fresh
        if keep:
            self.write_disk(fresh)
        for tell in self.told:
            tell(fresh)

    def note_changes(self, key: str, held: Held | None) -> None:
        """Before the swap: whoever sees the new version must find what changed."""
        rows = Snapshot.objects.of(key).order_by("-version").values_list("version", "changed_keys", "urgent")
        if held is not None and key not in self.from_disk:
            rows = rows.filter(version__gt=held.version)
        new = [(version, frozenset(keys), urgent) for version, keys, urgent in rows[:REMEMBERED]][::-1]
        kept = [] if key in self.from_disk else self.changes.get(key, [])
        self.changes[key] = [*kept, *new][-REMEMBERED:]

    def changed_since(self, key: str, version: int | None, newest: int) -> tuple[list[str] | None, bool]:
        """The union of keys changed after that version, and whether any change is urgent. None: unknown, fetch all."""
        changes = self.changes.get(key, [])
        if version is None or version > newest or (changes and version < changes[0][0] - 1) or not changes:
            return None, False
        after = [change for change in changes if version < change[0] <= newest]
        return sorted({name for _, keys, _ in after for name in keys}), any(urgent for _, _, urgent in after)

    def drop(self, key: str) -> None:
        for kept in (self.held, self.changes, self.confirmed, self.rows):
            kept.pop(key, None)
        self.from_disk.discard(key)
        disk_file(key).unlink(missing_ok=True)

    def read_disk(self) -> None:
        for file in sorted(folder().glob("*.json")):
            version, _, body = file.read_bytes().partition(b"\n")
            try:
                written = file.stat().st_mtime
                held = Held(file.stem, int(version), body, written)
            except (ValueError, UnreadableDocument):  # half of a file that is not ours
                continue
            self.held[file.stem] = held
            self.from_disk.add(file.stem)
            self.confirmed[file.stem] = written
            for tell in self.told:
                tell(held)

    def write_disk(self, held: Held) -> None:
        """The version on the first line, then the document; replaced in one step."""
        folder().mkdir(parents=True, exist_ok=True)
        target = disk_file(held.environment)
        draft = target.with_suffix(f".{os.getpid()}")
        draft.touch(0o600)
        draft.write_bytes(b"%d\n" % held.version + held.plain.body)
        draft.replace(target)

    def touch(self, now: float) -> None:
        """The file's time says when its content was last known to be the newest."""
        self.touched = now
        for key in self.held:
            if (file := disk_file(key)).exists():
                os.utime(file, (now, now))


def folder() -> Path:
    return Path(settings.DATA) / "snapshots"


def disk_file(key: str) -> Path:
    return folder() / f"{key}.json"


shelf = Shelf()
