"""How long the doors take to answer, by door and status. It costs the event loop half a microsecond each."""

from bisect import bisect_left
from collections import defaultdict
from time import perf_counter

from apps.core import metrics
from apps.core.asgi import GONE, Door, Receive, Scope, Send
from apps.core.metrics import ANSWERS

SUM = len(ANSWERS) + 1  # behind the buckets, of which the last has no upper bound

Counted = dict[int, list[float]]  # by status: how many in each bucket, and the sum of all seconds

counted_of: dict[str, Counted] = {}
told: dict[tuple[str, int], list[float]] = {}


def nothing() -> list[float]:
    return [0.0] * (SUM + 1)


def timed(name: str, door: Door) -> Door:
    """The same door, whose answers are counted. Only the event loop writes, and numbers only grow: whoever reads them
    needs no lock with it."""
    counted: Counted = counted_of.setdefault(name, defaultdict(nothing))

    async def timed_door(scope: Scope, receive: Receive, send: Send) -> int:
        began = perf_counter()
        status = await door(scope, receive, send)
        if status != GONE:
            seconds = perf_counter() - began
            entry = counted[status]
            entry[bisect_left(ANSWERS, seconds)] += 1
            entry[SUM] += seconds
        return status

    return timed_door


def tell() -> None:
    """Adds what is new to the metrics. One thread at a time."""
    for door, counted in counted_of.items():
        for status, entry in list(counted.items()):
            now, before = list(entry), told.get((door, status)) or nothing()
            if now != before:
                *new, seconds = [a - b for a, b in zip(now, before, strict=True)]
                metrics.answers.labels(door, status).add(new, seconds)
                told[door, status] = now
