"""How often each variant was handed out, by minute, with a few of those who got it."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Any

SUBJECTS = 20
MOST_KEYS = 5_000


class _Count:
    __slots__ = ("count", "sampled", "subjects")

    def __init__(self) -> None:
        self.count = 0
        self.sampled = 0
        self.subjects: list[str] = []


class Exposures:
    """Counts since they were last taken. What is taken twice in a minute adds up; its subjects stay at most 20."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str, int, str | None, int], _Count] = {}
        self.dropped = 0

    def add(self, flag: str, variant: str, snapshot: int, assigned_by: str | None, subject: Any) -> None:
        key = (flag, variant, snapshot, assigned_by, int(time.time()) // 60)
        with self._lock:
            counted = self._counts.get(key)
            if counted is None:
                if len(self._counts) >= MOST_KEYS:
                    self.dropped += 1
                    return
                counted = self._counts[key] = _Count()
            counted.count += 1
            if counted.sampled < SUBJECTS and isinstance(subject, str) and subject:
                counted.sampled += 1
                counted.subjects.append(subject)

    def take(self) -> list[dict[str, Any]]:
        this_minute = int(time.time()) // 60
        rows = []
        with self._lock:
            for key, counted in list(self._counts.items()):
                flag, variant, snapshot, assigned_by, minute = key
                if counted.count:
                    rows.append(
                        {
                            "flag": flag,
                            "variant": variant,
                            "snapshot": snapshot,
                            "assigned_by": assigned_by,
                            "minute": f"{datetime.fromtimestamp(minute * 60, UTC):%Y-%m-%dT%H:%M:%SZ}",
                            "count": counted.count,
                            "subjects": counted.subjects,
                        }
                    )
                if minute < this_minute:
                    del self._counts[key]
                else:
                    counted.count, counted.subjects = 0, []
        return rows
