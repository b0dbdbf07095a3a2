"""How API keys are used: no faster than each may, and when last. In this process's memory; doors and API share it."""

import math
import threading
import time
from collections.abc import Callable

RETRY_SECONDS = 1  # a whole number, and short: OpenFeature clients answer every flag by its code's default meanwhile
BURST_SECONDS = 1.0  # so many seconds' worth may come at once


class Limits:
    """A token bucket for each key that has a rate. Each process has its own: the limit is per process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.buckets: dict[str, tuple[float, float]] = {}  # key: tokens, as of when
        self.lock = threading.Lock()

    def take(self, key_id: str, rate: int) -> bool:
        """False: too fast."""
        most = max(rate * BURST_SECONDS, 1.0)
        with self.lock:
            now = self.clock()
            tokens, at = self.buckets.get(key_id, (most, now))
            tokens = min(most, tokens + (now - at) * rate)
            if math.floor(tokens + 1e-9) < 1:
                self.buckets[key_id] = (tokens, now)
                return False
            self.buckets[key_id] = (tokens - 1, now)
            return True


limits = Limits()
used: set[str] = set()  # ids of keys that came since this was last written down


def take_used() -> set[str]:
    """What is added meanwhile is in the one or in the other."""
    global used
    taken, used = used, set()
    return taken
