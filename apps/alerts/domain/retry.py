"""When a delivery is tried again, and where that ends.

At once, then after 5 s, 30 s, 2, 5, 15 and 60 min and 6 h, each ± 20 % so that many do not come back together. Then
it is a dead letter, which a person may send again. The receiver's own `Retry-After` wins where it is longer than ours.
"""

import random
from datetime import timedelta

WAITS = tuple(timedelta(seconds=seconds) for seconds in (5, 30, 120, 300, 900, 3600, 21600))
ATTEMPTS = len(WAITS) + 1
JITTER = 0.2
LONGEST_ASKED = timedelta(hours=6)  # a receiver that asks for more gets this
BROKEN_AFTER = 10  # failures in a row: the channel itself is the trouble
PROBE_EVERY = timedelta(minutes=1)  # how often a broken channel is tried
SLOW_DOWN = timedelta(seconds=10)  # after 429, 502 and 504 that name no time


def wait_after(attempts: int, *, asked: timedelta = timedelta(0), draw: float | None = None) -> timedelta | None:
    """The wait after that many attempts, None if there is no other. `draw` in [0, 1) is the jitter; else random."""
    if attempts >= ATTEMPTS:
        return None
    jitter = random.random() if draw is None else draw
    return max(WAITS[attempts - 1] * (1 + JITTER * (2 * jitter - 1)), min(asked, LONGEST_ASKED))


def quiet_after(status: int, asked: timedelta) -> timedelta:
    """How long the whole channel keeps still after this answer: the receiver is too busy, whatever the message."""
    return min(asked or SLOW_DOWN, LONGEST_ASKED) if status in (429, 502, 504) else timedelta(0)
