"""Which snapshot of each environment this process serves, and how it learns of newer ones.

`refresh` runs off the event loop: every two seconds and at each bell it looks at the newest versions in the database.
A copy on disk lets a process that starts without its database serve what the last one served. A version is never
replaced by an older one of the same environment: where the database was restored from a backup, the process goes on
with what it has, says so in /readyz, and `manage.py republish` overtakes it.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog
from django.conf import settings

from apps.access.models import Environment
from apps.flags import queries
from apps.flags.domain import definition
from apps.flags.models import Snapshot
from apps.flags.serving.held import Held
from changeover import UnreadableDocument

REMEMBERED = 500  # versions whose changed keys a returning reader can be told
FRESH_SECONDS = 10.0
TOUCH_SECONDS = 60.0
DOUBTS = {
    "behind": "The database has version {version} of {environment}, this process serves {served}: was it restored?"
    " manage.py republish --environment {environment} --above {served} goes on from there.",
    "differs": "Version {version} of {environment} is another one in the database than this process serves."
    " manage.py republish --environment {environment} makes all serve the database's.",
}
log = structlog.get_logger()

Change = tuple[int, frozenset[str], bool]  # version, changed keys, urgent
Told = Callable[[Held], None]


class Shelf:
    def __init__(self) -> None:
        self.held: dict[str, Held] = {}
        self.changes: dict[str, list[Change]] = {}
        self.from_disk: set[str] = set()
        self.rows: dict[str, str] = {}  # by environment: its row, so that a new one under an old key is told apart
        self.doubts: dict[tuple[str, str], str] = {}  # environment, which doubt: the sentence that /readyz says
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
            names = ("pk", "created_at", "key", "snapshot_version", "is_hidden")
            found = list(Environment.objects.values_list(*names))
            asked = time.time()
            for pk, created_at, key, version, is_hidden in found:
                self.look_at(key, f"{pk}@{created_at.isoformat()}", version, asked, keep=not is_hidden)
            for key in set(self.held) - {key for _, _, key, _, _ in found}:
                self.drop(key)
            if asked - self.touched > TOUCH_SECONDS:
                self.touch(asked)
                self.check()
            self.is_complete = True

    def look_at(self, key: str, row: str, version: int, asked: float, *, keep: bool) -> None:
        if self.rows.get(key, row) != row:
            self.drop(key)
        held, is_same = self.held.get(key), key in self.rows
        self.rows[key] = row
        is_behind = held is not None and version < held.version and is_same
        self.doubt("behind", key, version, is_behind)
        if is_behind:
            return
        if held is None or version > held.version or key in self.from_disk:
            self.load(key, keep=keep)
            self.doubt("differs", key, version, False)
        self.confirmed[key] = asked

    def check(self) -> None:
        """Whether the bytes that are served are those of the database: nothing else would notice two versions of one
        number."""
        for key, held in self.held.items():
            version, digest = queries.newest_version(key)
            if version == held.version and digest:
                self.doubt("differs", key, version, digest != definition.digest(held.plain.body))

    def doubt(self, which: str, key: str, version: int, is_so: bool) -> None:
        if not is_so:
            self.doubts.pop((key, which), None)
        elif (key, which) not in self.doubts:
            sentence = DOUBTS[which].format(environment=key, version=version, served=self.held[key].version)
            self.doubts[key, which] = sentence
            log.error("snapshot.doubted", environment=key, why=sentence)

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
        for which in DOUBTS:
            self.doubts.pop((key, which), None)
        self.from_disk.discard(key)
        disk_file(key).unlink(missing_ok=True)

    def read_disk(self) -> None:
        for file in sorted(folder().glob("*.json")):
            head, _, body = file.read_bytes().partition(b"\n")
            version, _, row = head.decode("ascii", "replace").partition(" ")
            try:
                written = file.stat().st_mtime
                held = Held(file.stem, int(version), body, written)
            except (ValueError, UnreadableDocument):  # half of a file that is not ours
                continue
            self.held[file.stem] = held
            self.from_disk.add(file.stem)
            if row:
                self.rows[file.stem] = row
            self.confirmed[file.stem] = written
            for tell in self.told:
                tell(held)

    def write_disk(self, held: Held) -> None:
        """The version and the environment's row on the first line, then the document; replaced in one step."""
        folder().mkdir(parents=True, exist_ok=True)
        target = disk_file(held.environment)
        draft = target.with_suffix(f".{os.getpid()}")
        draft.touch(0o600)
        draft.write_bytes(f"{held.version} {self.rows[held.environment]}\n".encode() + held.plain.body)
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
