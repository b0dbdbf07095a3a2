"""10,000 flags in one environment: what one change costs, and what a web process holds."""

import os
import statistics
import time
from pathlib import Path
from typing import Any

from django.utils import timezone

from apps.access import services as access
from apps.core.actors import WORKER
from apps.flags import importing, queries
from apps.flags import services as flags
from apps.flags.serving.held import Held
from bench.flags import doors, servers

CHANGES = 5
SETTLED_SECONDS = 60.0


def definitions(count: int) -> dict[str, Any]:
    """Seven in ten with three rules and a split, the rest with none: as flags are, most of them are rules."""
    found: dict[str, Any] = {}
    for number in range(count):
        flag: dict[str, Any] = {
            "state": "ENABLED", "variants": {"new": f"parser-{number}", "old": "parser"}, "defaultVariant": "old",
            "metadata": {"owner": f"team-{number % 40}"},
        }  # fmt: skip
        if number % 10 < 7:
            flag["targeting"] = doors.rule(number, ("new", "old"))
        found[f"flag-{number:05}"] = flag
    return {"flags": found}


def held(previous: Held | None = None) -> tuple[Held, float]:
    """What a web process makes of the newest version, and the milliseconds it took."""
    newest = queries.snapshot(doors.ENVIRONMENT)
    began = time.perf_counter()
    made = Held(doors.ENVIRONMENT, newest.version, newest.body, 0.0, previous=previous)
    return made, (time.perf_counter() - began) * 1000


def change(number: int) -> float:
    began = time.perf_counter()
    flags.update_flag(
        environment=doors.ENVIRONMENT, key=f"flag-{number:05}", default_variant="new", by=WORKER, because="a benchmark",
        now=timezone.now(),
    )  # fmt: skip
    return (time.perf_counter() - began) * 1000


def measure(count: int) -> dict[str, Any]:
    now = timezone.now()
    environment = access.create_environment(
        key=doors.ENVIRONMENT, name="Production", by=WORKER, because="a benchmark", now=now
    )
    secret = doors.make_key(environment)
    folder = Path(os.environ["DATA_DIR"])
    with servers.web(folder) as ours:
        time.sleep(2.5)
        empty = ours.worker_memory()
    importing.import_definition(
        environment=doors.ENVIRONMENT, document=definitions(count), bucketing="v3", by=WORKER, because="a benchmark",
        now=now,
    )  # fmt: skip
    last, all_of_it = held()
    compiles, publishes = [], []
    for number in range(CHANGES):
        publishes.append(change(number))
        last, took = held(last)
        compiles.append(took)
    with servers.web(folder) as ours:
        served(ours, secret, last.version)
        use(ours, secret)
        memory = ours.worker_memory()
        for number in range(20):
            change(100 + number)
        served(ours, secret, last.version + 20)
        use(ours, secret)
        after = ours.worker_memory()
    return {
        "flags": count, "bytes": len(last.plain.body), "compile_ms": statistics.median(compiles),
        "compile_all_ms": all_of_it, "publish_ms": statistics.median(publishes), "memory_mb": memory,
        "memory_after_mb": after, "memory_empty_mb": empty,
    }  # fmt: skip


def served(ours: servers.Served, secret: str, version: int) -> None:
    """Until the process serves that version."""
    deadline = time.monotonic() + SETTLED_SECONDS
    headers = {"Authorization": f"Bearer {secret}"}
    while True:
        status, told, _ = servers.ask(ours.port, "HEAD", doors.POLL, headers=headers)
        if status == 200 and told["etag"].startswith(f'"{doors.ENVIRONMENT}-{version}-'):
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"version {version} is not served: {status} {told.get('etag')}")
        time.sleep(0.1)


def use(ours: servers.Served, secret: str) -> None:
    """A poll, plain and compressed, and some evaluations: what a process in use holds."""
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    servers.ask(ours.port, "GET", doors.POLL, headers=headers)
    servers.ask(ours.port, "GET", doors.POLL, headers=headers | {"Accept-Encoding": "gzip"})
    body = b'{"context": {"targetingKey": "user-1", "plan": "team"}}'
    for number in range(200):
        assert servers.ask(ours.port, "POST", f"{doors.BULK}/flag-{number:05}", body, headers)[0] == 200
