"""After an automatic rollback: the latch, the cool-down, and how much stricter the next try is judged.

A rollback by the machine is final for (route, revision of the candidate). A person may arm the same revision again,
with a reason, after a cool-down; the k-th further try is judged at alpha/2^k, so that all tries together stay below
twice alpha. After three such rollbacks only a new revision may start. Rollbacks by a person do not count.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

ALPHA = 0.002  # of each guardrail that rolls back, over the rollout's whole life
COOL_DOWNS = (timedelta(hours=1), timedelta(hours=4), timedelta(hours=24))
MOST_ROLLBACKS = 3


def revision_of(value: Mapping[str, Any]) -> str:
    """Names a candidate's configuration: any change of model, parameters or caps is another revision."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Latch:
    rollbacks: int  # automatic ones of this very revision on this route
    free_at: datetime | None  # when a person may arm it again; None: never rolled back

    @property
    def is_final(self) -> bool:
        return self.rollbacks >= MOST_ROLLBACKS

    def is_cooling(self, now: datetime) -> bool:
        return self.free_at is not None and now < self.free_at

    @property
    def alpha(self) -> float:
        return float(ALPHA / 2**self.rollbacks)


def latch(rolled_back_at: Sequence[datetime]) -> Latch:
    """From the moments of the automatic rollbacks of one revision on one route."""
    if not rolled_back_at:
        return Latch(rollbacks=0, free_at=None)
    count = len(rolled_back_at)
    wait = COOL_DOWNS[min(count, len(COOL_DOWNS)) - 1]
    return Latch(rollbacks=count, free_at=max(rolled_back_at) + wait)
