"""Sums that are committed, and not laid out in rows yet: for those who look at what they have just sent."""

from collections.abc import Callable
from typing import TypeVar

from apps.telemetry.domain.sums import Sums
from apps.telemetry.models import GroupSums

TRIES = 3
Found = TypeVar("Found")


def with_waiting(read: Callable[[], Found]) -> tuple[Found, Sums]:
    """What is read of rows, and what waits beside it. If some was laid out while we read, we read again."""
    for _ in range(TRIES):
        before = set(GroupSums.objects.values_list("pk", flat=True))
        found = read()
        bodies = dict(GroupSums.objects.values_list("pk", "body"))
        waiting = Sums()
        if before <= bodies.keys():
            for body in bodies.values():
                waiting.add(Sums.unpack(body))
            break
    return found, waiting
