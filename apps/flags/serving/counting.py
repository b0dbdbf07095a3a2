"""Exposures of the evaluations that this process answers: counted in memory, written every five seconds."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone

from apps.flags import services
from apps.flags.serving.held import Item

EVERY_SECONDS = 5.0
MOST = 50_000  # keys kept while the database is away
SUBJECTS = 20
SETTLING_SECONDS = 0.02  # longer than any door holds the old dictionary: it never awaits between reading and adding

Key = tuple[str, str, str, int, str, int]  # environment, flag, variant, snapshot, assigned_by, minute


class Counter:
    def __init__(self) -> None:
        self.counts: dict[Key, list[Any]] = {}
        self.flushed_at = 0.0

    def count(self, environment: str, flag: str, version: int, item: Item, subject: object, now: float) -> None:
        key = (environment, flag, item.variant, version, item.assigned_by, int(now) // 60)
        entry = self.counts.get(key)
        if entry is None:
            self.counts[key] = entry = [0, []]
        entry[0] += 1
        if len(entry[1]) < SUBJECTS and isinstance(subject, str):
            entry[1].append(subject)

    def flush_if_due(self) -> None:
        if time.monotonic() - self.flushed_at >= EVERY_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Raises django.db.Error when the database is away: the counts are kept for the next time."""
        self.flushed_at = time.monotonic()
        taken, self.counts = self.counts, {}
        if not taken:
            return
        time.sleep(SETTLING_SECONDS)
        waiting = by_environment(taken)
        try:
            while waiting:
                environment, exposures = waiting.popitem()
                try:
                    services.note_seen(environment=environment, client=None, exposures=exposures, now=timezone.now())
                except BaseException:
                    waiting[environment] = exposures
                    raise
        finally:
            self.give_back({key: entry for key, entry in taken.items() if key[0] in waiting})

    def give_back(self, left: dict[Key, list[Any]]) -> None:
        for key, entry in list(left.items())[-MOST:]:
            now = self.counts.setdefault(key, [0, []])
            now[0] += entry[0]


def by_environment(counts: dict[Key, list[Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for environment, exposure in exposures(counts):
        found.setdefault(environment, []).append(exposure)
    return found


def exposures(counts: dict[Key, list[Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for (environment, flag, variant, version, assigned_by, minute), (count, subjects) in counts.items():
        at = datetime.fromtimestamp(minute * 60, UTC)
        yield environment, {
            "flag": flag, "variant": variant, "snapshot": version, "assigned_by": assigned_by, "minute": at,
            "count": count, "subjects": subjects,
        }  # fmt: skip


counter = Counter()
