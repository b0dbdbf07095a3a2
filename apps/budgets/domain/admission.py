"""Is there room for a call under all hard caps that count it? One function says so, for every way that may go wrong.

In: each cap with what is spent, reserved and allowed, and the amount that is asked for. Out: what refuses it, or None.
What is spent is never less than what holds were settled at: settled money that no report has told yet is money all the
same. A cap that cannot be read is not a cap with room: its budget's own choice says whether the call is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

OPEN = "open"
CLOSED = "closed"
MAY_DIFFER = 0.01
SLICE_SHARE = 0.01  # of what is left
SLICE_CALLS = 20


@dataclass(frozen=True, slots=True)
class Cap:
    budget: str
    name: str
    limit_nano: int
    reserved_nano: int
    ledger_nano: int | None  # None: the ledger could not be read
    settled_lately_nano: int = 0  # by holds whose calls the ledger may not know yet
    settled_nano: int = 0  # by all holds of this period
    period_to: datetime | None = None  # None: it rolls
    on_unreachable: str = CLOSED
    at_cap: str = "finish"

    @property
    def is_readable(self) -> bool:
        return self.ledger_nano is not None

    @property
    def spent_nano(self) -> int:
        return max((self.ledger_nano or 0) + self.settled_lately_nano, self.settled_nano)

    @property
    def left_nano(self) -> int:
        return max(self.limit_nano - self.spent_nano - self.reserved_nano, 0)


@dataclass(frozen=True, slots=True)
class Refusal:
    cap: Cap
    is_unverifiable: bool


def refused_by(caps: Sequence[Cap], nano: int) -> Refusal | None:
    """A cap that is surely too small comes first, then one that cannot be verified and is closed."""
    readable = [cap for cap in caps if cap.is_readable]
    full = [cap for cap in readable if nano > cap.left_nano]
    if full:
        return Refusal(min(full, key=lambda cap: (cap.left_nano, cap.budget)), is_unverifiable=False)
    closed = [cap for cap in caps if not cap.is_readable and cap.on_unreachable == CLOSED]
    return Refusal(closed[0], is_unverifiable=True) if closed else None


def differs(ledger_nano: int, settled_nano: int) -> bool:
    """Whether holds were settled at more than 1 % above what the ledger knows."""
    return settled_nano > ledger_nano * (1 + MAY_DIFFER)


def slice_nano(caps: Sequence[Cap], nano: int) -> int:
    """How much a caller may take at once, to share it among calls of about that amount without asking again: 1 % of
    what the fullest cap has left, at least twenty calls. Where that does not fit, one call."""
    left = min((cap.left_nano for cap in caps if cap.is_readable), default=nano)
    wanted = max(int(left * SLICE_SHARE), SLICE_CALLS * nano)
    return wanted if wanted <= left else nano
