"""How fast one channel may be written to: one message a second, five at once. A token bucket, the clock passed in."""

from datetime import datetime

A_SECOND = 1.0
BURST = 5.0


def tokens(left: float, at: datetime | None, now: datetime) -> float:
    """What is in the bucket now, if `left` was in it at `at`. A new bucket is full."""
    if at is None:
        return BURST
    return min(BURST, left + max((now - at).total_seconds(), 0.0) * A_SECOND)
