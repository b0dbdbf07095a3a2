"""Ids of the newest calls, whatever moment they were told with. In: hashes of ids. Out: those that came before.

The table of call ids finds a repeat by its id and its second, since ids of one second then lie side by side. A sender
that tells of a call again with another moment is known here, so long as its first telling is one of the newest.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from apps.telemetry.domain.gathering import NEVER

MOST = 100_000  # in each of two parts: some ten megabytes


class RecentIds:
    """A young and an old part. What is full, or half as old as ids may get, becomes the old one: that is forgotten."""

    __slots__ = ("old", "old_since", "since", "stay", "young")

    def __init__(self, stay: timedelta) -> None:
        self.stay = stay
        self.young: set[int] = set()
        self.old: set[int] = set()
        self.since = self.old_since = NEVER  # when the first of each part came, or before

    def known(self, ids: set[int], now: datetime) -> set[int]:
        if now - self.since >= self.stay / 2 or len(self.young) > MOST:
            self.old, self.old_since = self.young, self.since
            self.young, self.since = set(), now
        if now - self.old_since >= self.stay:
            self.old = set()
        return (ids & self.young) | (ids & self.old)

    def remember(self, ids: set[int]) -> None:
        self.young |= ids
