"""From a decision's entry in the journal to the moment the alert is at a receiver: seconds, each time."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue

from bench.flags import servers

PATIENCE = 30.0  # seconds
CELERY = (str(servers.BIN / "celery"), "-A", "controlplane")


def delays(folder: Path, environment: str, times: int) -> list[float]:
    """A worker and a beat as `bin/up` starts them. Decisions come at any moment between two of the beat's ticks."""
    from django.utils import timezone

    from apps.alerts import services as alerts
    from apps.core.actors import WORKER

    with receiver() as (url, came):
        alerts.create_channel(
            environment=environment, kind="webhook", name="bench", config={"url": url}, by=WORKER, now=timezone.now()
        )
        with worker(folder):
            decide(environment, "warm-up")  # both are up once it has come
            arrival(came, "warm-up", 2 * PATIENCE)
            taken = []
            for number in range(times):
                time.sleep(random.Random(number).uniform(1, 3))
                began = time.perf_counter()
                decide(environment, f"route-{number}")
                taken.append(arrival(came, f"route-{number}", PATIENCE) - began)
    return taken


def arrival(came: Queue[tuple[float, bytes]], route: str, patience: float) -> float:
    """When its message came. Others may come as well: that the bench's own traffic has stopped, say."""
    at, body = came.get(timeout=patience)
    while sentence(route).encode() not in body:
        at, body = came.get(timeout=patience)
    return at


def sentence(route: str) -> str:
    return f"Rolled back {route} from 25 % to 0 % flash-lite because p95 latency was 4.34 s, limit 2.56 s."


def decide(environment: str, route: str) -> None:
    """What a rollback writes."""
    from django.utils import timezone

    from apps.core.actors import WORKER
    from apps.journal import services as journal

    condition = journal.Condition(
        key=f"rollout:{route}", effect="opens", severity="critical", route=route, link="/d/1",
        sentence=sentence(route),
    )  # fmt: skip
    journal.record(
        "rollout.rolled_back", environment=environment, by=WORKER, because="p95", about={"route": route},
        now=timezone.now(), condition=condition,
    )  # fmt: skip


@contextlib.contextmanager
def worker(folder: Path) -> Iterator[None]:
    work = ("worker", "-P", "threads", "-c", "4", "-l", "warning")
    gossip = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    with (
        servers.process(*CELERY, *work, *gossip, log=folder / "worker.log"),
        servers.process(*CELERY, "beat", "-l", "warning", "--pidfile=", log=folder / "beat.log"),
    ):
        yield


@contextlib.contextmanager
def receiver() -> Iterator[tuple[str, Queue[tuple[float, bytes]]]]:
    """Its address, and the messages with when they came."""
    came: Queue[tuple[float, bytes]] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            at = time.perf_counter()
            came.put((at, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", came
    finally:
        server.shutdown()
        server.server_close()
