"""When a delivery is tried again: exponential back-off with full jitter, and where it ends.

The receiver's own `Retry-After` wins where it is longer than ours.
"""

import random
from datetime import timedelta

FIRST = timedelta(seconds=2)
LONGEST = timedelta(minutes=10)
ATTEMPTS = 12  # about an hour in all; then the delivery is a dead letter, which a person may send again


def wait_after(attempts: int, *, retry_after: float | None = None, draw: float | None = None) -> timedelta:
    """The wait after that many attempts. `draw` in [0, 1) is the jitter; left out it is random."""
    ceiling = min(LONGEST, FIRST * float(2 ** (attempts - 1)))
    jitter = random.random() if draw is None else draw
    ours = ceiling * (0.5 + jitter / 2)
    return max(ours, timedelta(seconds=retry_after or 0))


def is_final(status: int) -> bool:
    """An answer that another try will not change: refused for what it is."""
    return 300 <= status < 500 and status not in (408, 425, 429)
