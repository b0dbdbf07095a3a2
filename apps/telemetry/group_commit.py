"""Many batches, one transaction: one thread owns one connection and answers a batch only after its commit."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import structlog
from django.db import IntegrityError, InterfaceError, OperationalError, connection

# After a group of so many the next are on their way: one larger group costs less than two, so it waits for them.
CROWD = 6
LINGER = 0.01  # seconds
PAUSE = 0.5  # seconds without a group: then what was put off is done

log = structlog.get_logger()
Item = TypeVar("Item")
Result = TypeVar("Result")
Told = Callable[[Result | Exception], None]


class Stopped(Exception):
    """The process is going down: nothing is taken any more."""


class GroupCommit(Generic[Item, Result]):
    """`store` takes a list, writes it in one transaction, and returns one result per item, in order.

    `finish` does what it put off: before the first group, once nothing more comes, and at the end."""

    def __init__(
        self,
        store: Callable[[Sequence[Item]], Sequence[Result]],
        finish: Callable[[], None],
        *,
        max_waiting: int,
        max_bytes: int,
        max_group: int,
        max_group_bytes: int,
    ) -> None:
        self.store = store
        self.finish = finish
        self.is_finished = False
        self.max_group = max_group
        self.max_group_bytes = max_group_bytes  # a long transaction would keep others from the database
        self.max_bytes = max_bytes
        self.is_crowded = False
        self.waiting: queue.Queue[tuple[Item, int, Told[Result]] | None] = queue.Queue(max_waiting)
        self.waiting_bytes = 0
        self.lock = threading.Lock()
        self.is_stopping = False
        self.thread = threading.Thread(target=self.run, name="group-commit", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """Writes what waits, then ends."""
        self.is_stopping = True
        if self.thread.is_alive():
            self.waiting.put(None)
            self.thread.join(5)

    def offer(self, item: Item, size: int, told: Told[Result]) -> None:
        """Raises queue.Full: the door then answers 429."""
        if self.is_stopping or not self.thread.is_alive():
            raise Stopped
        with self.lock:
            if self.waiting_bytes + size > self.max_bytes and self.waiting_bytes:
                raise queue.Full
            self.waiting.put_nowait((item, size, told))
            self.waiting_bytes += size

    def run(self) -> None:
        is_last = False
        self.try_to_finish()
        while not is_last and (first := self.next()) is not None:
            group, is_last = self.gather(first)
            self.write([(item, told) for item, _, told in group])
            self.is_finished = False
        self.try_to_finish()
        connection.close()

    def next(self) -> tuple[Item, int, Told[Result]] | None:
        while True:
            try:
                return self.waiting.get(timeout=None if self.is_finished else PAUSE)
            except queue.Empty:
                self.try_to_finish()

    def try_to_finish(self) -> None:
        """Now, or a pause later."""
        try:
            self.finish()
            self.is_finished = True
        except (OperationalError, InterfaceError) as error:
            log.warning("telemetry.database_away", error=str(error))
            connection.close()
        except Exception:  # the edge of the thread: groups that come must be written all the same
            log.exception("telemetry.unfinished")

    def gather(self, first: tuple[Item, int, Told[Result]]) -> tuple[list[tuple[Item, int, Told[Result]]], bool]:
        group, size, is_last = [first], first[1], False
        until = time.monotonic() + (LINGER if self.is_crowded else 0)
        while len(group) < self.max_group and size < self.max_group_bytes and not is_last:
            try:
                entry = self.waiting.get(timeout=max(until - time.monotonic(), 0))
            except queue.Empty:
                break
            if entry is None:
                is_last = True
            else:
                group.append(entry)
                size += entry[1]
        self.is_crowded = len(group) >= CROWD
        with self.lock:
            self.waiting_bytes -= size
        return group, is_last

    def write(self, group: Sequence[tuple[Item, Told[Result]]]) -> None:
        results = self.results([item for item, _ in group])
        for (_, told), result in zip(group, results, strict=True):
            try:
                told(result)
            except RuntimeError:  # its event loop has gone, and its caller with it
                continue

    def results(self, items: Sequence[Item]) -> Sequence[Result | Exception]:
        try:
            try:
                return self.store(items)
            except IntegrityError:  # another process took one of our keys between look and insert: look again
                return self.store(items)
        except (OperationalError, InterfaceError) as error:  # the pool's time-out is one of these: the door says 503
            log.warning("telemetry.database_away", error=str(error))
            connection.close()  # the next group asks for a fresh connection
            return [error] * len(items)
        except Exception as error:  # the edge of the thread: nobody may be left waiting for ever
            if len(items) > 1:  # a value that cannot be stored, or a fault of ours, costs only its own batch
                return [result for item in items for result in self.results([item])]
            log.exception("telemetry.unstorable")
            return [error]
