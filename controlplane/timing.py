"""How long the doors take until they answer, by door and status. It costs the event loop half a microsecond each."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Awaitable, Callable
from time import perf_counter

from apps.core import metrics
from apps.core.asgi import Message, Send
from apps.core.metrics import ANSWERS

SUM = len(ANSWERS) + 1  # behind the buckets, of which the last has no upper bound

Counted = dict[int, list[float]]  # by status: how many in each bucket, and the sum of all seconds

counted_of: dict[str, Counted] = {}
told: dict[tuple[str, int], list[float]] = {}


def nothing() -> list[float]:
    return [0.0] * (SUM + 1)


def timer(door: str) -> Callable[[Send], Send]:
    """Makes a `send` that notes when the answer begins. Only the event loop writes, and numbers only grow: whoever
    reads them needs no lock with it."""
    counted: Counted = counted_of.setdefault(door, defaultdict(nothing))

    def timed(send: Send) -> Send:
        began = perf_counter()

        def note_and_send(message: Message) -> Awaitable[None]:
            if "status" in message:
                seconds = perf_counter() - began
                entry = counted[message["status"]]
                entry[bisect_left(ANSWERS, seconds)] += 1
                entry[SUM] += seconds
            return send(message)

        return note_and_send

    return timed


def tell() -> None:
    """Adds what is new to the metrics. One thread at a time."""
    for door, counted in counted_of.items():
        for status, entry in list(counted.items()):
            now, before = list(entry), told.get((door, status)) or nothing()
            if now != before:
                *new, seconds = [a - b for a, b in zip(now, before, strict=True)]
                metrics.answers.labels(door, status).add(new, seconds)
                told[door, status] = now
