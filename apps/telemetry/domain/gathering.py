"""Which sums of commit groups wait for more, and what they come to. Nothing here knows a table or a clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from apps.telemetry.domain.sums import Sums

EVERY = timedelta(seconds=0.5)
CROWD = 1_000  # calls within that time: up to so many nothing waits
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class Gathering:
    """What a writer has in memory of the groups whose sums wait, and how many calls came lately."""

    sums: Sums = field(default_factory=Sums)
    groups: list[int] = field(default_factory=list)  # their numbers
    since: datetime = NEVER
    calls: int = 0

    def is_due(self, now: datetime) -> bool:
        return not timedelta(0) <= now - self.since < EVERY

    def may_wait(self, calls: int, now: datetime) -> bool:
        """May the sums of a group with so many calls wait for more?"""
        return not self.is_due(now) and self.calls + calls > CROWD

    def has_kept(self, sums: Sums, group: int, calls: int) -> None:
        """That is committed."""
        self.sums.add(sums)
        self.groups.append(group)
        self.calls += calls

    def has_laid_out(self, calls: int, now: datetime) -> None:
        """That is committed."""
        if self.is_due(now):
            self.since, self.calls = now, 0
        self.sums, self.groups = Sums(), []
        self.calls += calls
