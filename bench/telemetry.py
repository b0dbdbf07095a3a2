"""How many calls a second does the native door count, durably? Batches of 500 through the door's own coroutine.

    DATABASE_URL=… python -m bench.telemetry

Everything but HTTP: key, reading, pricing, folding, one commit per group, the answer. In one process, on a data folder
of its own; the database is the one that DATABASE_URL names, SQLite by default. It must not hold anything you need.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from bench import _results

BATCH = 500
MUST = 20_000  # calls a second


def call(number: int, at: str, routes: int) -> dict[str, Any]:
    variant, model = ("flash-lite", "gemini-2.5-flash-lite") if number % 10 else ("gpt-4.1", "gpt-4.1")
    return {
        "id": f"c-{number}", "at": at, "route": f"route-{number % routes}", "variant": variant,
        "provider": "openai" if variant == "gpt-4.1" else "google", "model": model, "request_id": f"r-{number}",
        "attempt": 1, "latency_ms": 100 + number % 977, "first_token_ms": 90.0, "input_tokens": 800 + number % 50,
        "cached_input_tokens": 0, "output_tokens": 60 + number % 20, "cost_usd": None, "error": None, "arm": "live",
        "pair_id": None, "final": True, "snapshot": 1, "assigned": variant, "assigned_by": "split", "tag": None,
    }  # fmt: skip


def bodies(batches: int, routes: int, begin: int) -> list[bytes]:
    made = []
    for n in range(batches):
        at = (datetime.now(UTC) - timedelta(seconds=5)).isoformat()
        first = begin + n * BATCH
        calls = [call(number, at, routes) for number in range(first, first + BATCH)]
        made.append(json.dumps({"batch_id": f"b-{begin}-{n}", "calls": calls}, separators=(",", ":")).encode())
    return made


async def post(body: bytes, secret: str) -> tuple[int, float]:
    from apps.telemetry import serving

    status = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    began = time.perf_counter()
    await serving.door({"headers": [(b"authorization", b"Bearer " + secret.encode())]}, receive, send)
    return status, time.perf_counter() - began


async def load(sent: list[bytes], connections: int, secret: str) -> tuple[float, list[float]]:
    waiting, times = list(reversed(sent)), []

    async def connection() -> None:
        while waiting:
            status, seconds = await post(waiting.pop(), secret)
            assert status == 202, status
            times.append(seconds)

    began = time.perf_counter()
    await asyncio.gather(*(connection() for _ in range(connections)))
    return time.perf_counter() - began, times


def prepare(routes: int) -> str:
    from django.core.management import call_command
    from django.utils import timezone

    from apps.access import services as access_services
    from apps.access import serving as access
    from apps.access.models import Environment
    from apps.core.actors import WORKER
    from apps.flags import services as flags

    call_command("migrate", verbosity=0)
    now = timezone.now() - timedelta(hours=1)
    name = f"bench-{os.getpid()}"
    environment = Environment.objects.create(key=name, name="Bench")
    variants = {"gpt-4.1": {"model": "openai/gpt-4.1"}, "flash-lite": {"model": "google/gemini-2.5-flash-lite"}}
    for number in range(routes):
        flags.create_route(
            environment=name, key=f"route-{number}", variants=variants, default_variant="gpt-4.1", by=WORKER, now=now
        )
    _, secret = access_services.create_key(
        environment=environment, name="bench", scopes=["telemetry:write"], by=WORKER, now=now
    )
    access.refresh()
    return secret


def main() -> int:
    os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="changeover-bench-")
    os.environ.setdefault("SECRET_KEY", "bench" * 10)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    import django

    django.setup()
    from django.db import connection

    from apps.telemetry import serving

    rows, begin = [], 0
    secret = prepare(20)
    serving.start()
    for routes in (1, 20):
        for connections in (1, 4, 16):
            asyncio.run(load(bodies(4, routes, begin), 2, secret))
            begin += 4 * BATCH
            sent = bodies(120, routes, begin)
            begin += len(sent) * BATCH
            cpu = time.process_time()
            seconds, times = asyncio.run(load(sent, connections, secret))
            cpu = (time.process_time() - cpu) / (len(sent) * BATCH) * 1e6
            speed = round(len(sent) * BATCH / seconds)
            p99 = statistics.quantiles(times, n=100)[98] * 1000
            what = f"{routes} routes of 2 variants, {connections} connections"
            beside = {"p99_ms": round(p99), "cpu_us_per_call": round(cpu, 1)}
            rows.append(_results.Row(what, speed, "calls/s", f">= {MUST:,}", speed >= MUST, beside))
    serving.stop()
    title = f"Durable telemetry on {connection.vendor}, batches of {BATCH}"
    return 0 if _results.tell(f"telemetry-{connection.vendor}", rows, title=title) else 1


if __name__ == "__main__":
    sys.exit(main())
