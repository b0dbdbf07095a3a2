"""From the commit of a publish to the event on a thousand open streams, spread over two web processes."""

import contextlib
import os
import selectors
import socket
import statistics
import threading
import time
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.core.actors import WORKER
from apps.flags import services as flags
from bench.flags import doors, servers

STREAMS, PROCESSES = 1000, 2


class Readers(threading.Thread):
    """All streams on one selector: an arrival costs the machine little beside what is measured."""

    def __init__(self, port: int, secret: str) -> None:
        super().__init__(daemon=True)
        self.selector = selectors.DefaultSelector()
        self.arrived: dict[int, dict[int, float]] = {}  # version: {stream: when}
        self.stopped = False
        request = f"GET /api/v1/changes HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {secret}\r\n\r\n".encode()
        self.sockets = []
        for _ in range(STREAMS):
            stream = socket.create_connection(("127.0.0.1", port))
            stream.sendall(request)
            self.sockets.append(stream)
        for number, stream in enumerate(self.sockets):
            stream.setblocking(False)
            self.selector.register(stream, selectors.EVENT_READ, number)

    def run(self) -> None:
        while not self.stopped:
            for key, _ in self.selector.select(0.2):
                with contextlib.suppress(BlockingIOError):
                    told = self.sockets[key.data].recv(65536)
                    now = time.perf_counter()
                    for part in told.split(b"id: ")[1:]:
                        version = part.partition(b"\n")[0]
                        self.arrived.setdefault(int(version), {}).setdefault(key.data, now)

    def wait(self, version: int, seconds: float) -> dict[int, float]:
        deadline = time.monotonic() + seconds
        while len(self.arrived.get(version, {})) < STREAMS:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(self.arrived.get(version, {}))} of {STREAMS} streams have version {version}")
            time.sleep(0.005)
        return self.arrived[version]

    def stop(self) -> None:
        self.stopped = True
        self.join()
        for stream in self.sockets:
            stream.close()


def publish(number: int) -> tuple[int, float]:
    """The version, and the moment at which the database had it."""
    at: list[float] = []
    with transaction.atomic():
        transaction.on_commit(lambda: at.append(time.perf_counter()))  # before the bell, which is rung on commit too
        weights = {"gpt-4.1": 9000 - number, "flash-lite": 1000 + number}
        published = flags.change_weights(
            environment=doors.ENVIRONMENT, key="route-0", weights=weights, by=WORKER, because="a benchmark",
            now=timezone.now(),
        )  # fmt: skip
    return published.version, at[0]


def measure(publishes: int) -> dict[str, Any]:
    secret = doors.make_fifty()
    with servers.web(Path(os.environ["DATA_DIR"]), PROCESSES) as ours:
        time.sleep(2.5)  # both have looked
        readers = Readers(ours.port, secret)
        readers.start()
        try:
            version, _ = publish(1)
            readers.wait(version, 20)
            delays: list[float] = []
            for number in range(publishes):
                time.sleep(0.5)
                version, at = publish(number + 2)
                delays += [(when - at) * 1000 for when in readers.wait(version, 10).values()]
        finally:
            readers.stop()
    hundredths = statistics.quantiles(delays, n=100)
    return {
        "streams": STREAMS, "processes": PROCESSES, "publishes": publishes,
        "first": min(delays), "p50": hundredths[49],
        "p90": hundredths[89], "p99": hundredths[98], "most": max(delays),
    }  # fmt: skip
