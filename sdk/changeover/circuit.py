"""Whether a control plane that did not answer is asked again: at once by nobody, later by one thread for all."""

from __future__ import annotations

from collections.abc import Callable

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 16.0  # seconds


class Circuit:
    """Open after a question without an answer. While it is open calls ask nothing, so that none waits for a time-out;
    after 1 s, 2 s, 4 s … 16 s one question may find out whether it closes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.close()

    def close(self) -> None:
        self._failures, self._probe_at = 0, 0.0

    def fail(self) -> None:
        """Questions that failed side by side are one failure."""
        now = self._clock()
        if now >= self._probe_at:
            self._probe_at = now + min(FIRST_PAUSE * 2.0**self._failures, LONGEST_PAUSE)
            self._failures += 1

    @property
    def is_open(self) -> bool:
        return self._failures > 0

    @property
    def may_probe(self) -> bool:
        return self._clock() >= self._probe_at
