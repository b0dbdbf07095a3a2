"""Calls and spans a second that the doors make durable, how long a batch waits, memory, what is counted, and alerts.

    python -m bench.telemetry [--calls 1000000] [--database sqlite|postgres|both] [--quick]

Granian as `bin/up` starts it, one worker, on a database of its own; the sender is on the same machine and has its own
process. Every call is claimed by its id, folded, priced, kept raw and in the ledger before its batch is answered.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import _databases as databases
from bench import _results as results
from bench._results import Row

if TYPE_CHECKING:
    from bench.telemetry.load import Measured

MUST_CALLS, MUST_SPANS, MUST_P99_MS, MUST_PERCENT = 50_000, 12_000, 100.0, 2.2
MUST_GROW = 5.0  # MB a million calls
MUST_ALERT = 5.0  # seconds
ENVIRONMENT = "bench"
TELLING = 2_000_000  # calls
WARM = 40  # bodies
ROUNDS = 3
MEMORY_STEPS = 20


def main() -> int:
    reading = databases.arguments(__doc__ or "")
    reading.add_argument("--calls", type=int, default=1_000_000, help="over which memory is looked at")
    reading.add_argument("--quick", action="store_true", help="shorter, and so less sure")
    asked = reading.parse_args()
    if asked.inside:
        bodies, alerts = (80, 2) if asked.quick else (400, 8)
        print(json.dumps(measure(asked.calls, bodies, alerts)))  # the parent reads it
        return 0
    rows: list[Row] = []
    options = ["--calls", str(asked.calls), *(["--quick"] if asked.quick else [])]
    for database, found in databases.on_each("bench.telemetry", asked.database, *options):
        rows += told(database, found)
    ok = results.tell("telemetry", rows, title="Telemetry, durable before it is answered", folder=asked.results)
    return 0 if ok else 1


def told(database: str, found: dict[str, Any]) -> list[Row]:
    calls, spans, memory = found["calls"], found["spans"], found["memory"]
    rows = [
        results.at_least(f"native calls, batches of 500 over 100 routes, {database}", calls["rate"], "calls/s",
                         MUST_CALLS, p99_ms=calls["p99_ms"], cpu_us_per_call=calls["cpu_us"]),
        results.at_least(f"OTLP protobuf, 512 spans a body, {database}", spans["rate"], "spans/s", MUST_SPANS,
                         p99_ms=spans["p99_ms"], cpu_us_per_span=spans["cpu_us"]),
        results.at_most(f"p99 of a batch at 25,000 calls/s, {database}", found["paced"]["p99_ms"], "ms", MUST_P99_MS,
                        calls_per_s=found["paced"]["rate"]),
        growth(database, memory),
        results.at_most(f"ledger against a plain sum, shuffled, split, duplicated, delayed, {database}",
                        found["money_off"], "nano-USD", 0),
    ]  # fmt: skip
    if found["percentile_off"] is not None:
        what = f"worst of p50, p95, p99 of the real trace, from merged histograms, {database}"
        rows.append(results.at_most(what, found["percentile_off"], "%", MUST_PERCENT))
    what = f"from a decision to its alert at a receiver, slowest of {len(found['alerts'])}, {database}"
    middle = statistics.median(found["alerts"])
    rows.append(results.at_most(what, max(found["alerts"]), "s", MUST_ALERT, median_s=middle))
    return rows


def growth(database: str, memory: dict[str, float]) -> Row:
    """Judged where the run is long enough to tell growth from a heap that settles."""
    what, value = f"memory of web over {memory['calls']:,} calls, {database}", memory["mb_per_million"]
    beside = {"first_mb": memory["first_mb"], "last_mb": memory["last_mb"]}
    if memory["calls"] < TELLING:
        return Row(what, value, "MB per million", beside=beside)
    return results.at_most(what, value, "MB per million", MUST_GROW, **beside)


# --- in a process of its own ---------------------------------------------------------------------------------------


def measure(calls: int, bodies: int, decisions: int) -> dict[str, Any]:
    os.environ["ALERT_PRIVATE_ADDRESSES"] = "1"  # the receiver is on this machine
    databases.open_database()
    from bench.flags import servers
    from bench.telemetry import alerts, exact, load
    from bench.telemetry import bodies as made

    folder = Path(os.environ["DATA_DIR"])
    secret = prepare()
    with servers.broker(folder), servers.web(folder) as served:

        def post(path: str, body: bytes) -> None:
            headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
            status, _, said = servers.ask(served.port, "POST", path, body, headers)
            assert status == 202, said

        native = [made.native(number) for number in range(20)]
        otlp = [made.otlp(number) for number in range(20)]
        load.send(served, secret, native, WARM)
        load.send(served, secret, otlp, WARM // 4)
        pace = MUST_CALLS / 2 / made.CALLS
        rounds: dict[str, list[Measured]] = {"calls": [], "paced": [], "spans": []}
        for _ in range(ROUNDS):
            rounds["calls"].append(load.send(served, secret, native, bodies))
            rounds["paced"].append(load.send(served, secret, native, bodies, pace=pace))
            rounds["spans"].append(load.send(served, secret, otlp, bodies // 4))
        found: dict[str, Any] = {name: middle_of(measured) for name, measured in rounds.items()}
        found["money_off"] = exact.money(post, ENVIRONMENT)
        found["percentile_off"] = exact.worst_percentile(post, ENVIRONMENT)
        sizes = [served.worker_memory()]
        for _ in range(MEMORY_STEPS):
            load.send(served, secret, native, max(calls // MEMORY_STEPS // made.CALLS, 1))
            sizes.append(served.worker_memory())
        found["memory"] = {
            "calls": calls,
            "first_mb": sizes[0],
            "last_mb": sizes[-1],
            "mb_per_million": slope(sizes[MEMORY_STEPS // 4 :], calls / MEMORY_STEPS / 1e6),
        }
    with servers.broker(folder):
        found["alerts"] = alerts.delays(folder, ENVIRONMENT, decisions)
    return found


def middle_of(rounds: Sequence[Measured]) -> dict[str, float]:
    """Of each number the middle one."""
    return {name: statistics.median(getattr(one, name) for one in rounds) for name in ("rate", "p99_ms", "cpu_us")}


def slope(sizes: list[float], step: float) -> float:
    """Of the straight line through sizes that were taken one step apart."""
    middle, mean = (len(sizes) - 1) / 2, sum(sizes) / len(sizes)
    spread = sum((n - middle) ** 2 for n in range(len(sizes)))
    return sum((n - middle) * (size - mean) for n, size in enumerate(sizes)) / spread / step


def prepare() -> str:
    """Routes of two variants, and a key."""
    from django.db import connections
    from django.utils import timezone

    from apps.access import services as access
    from apps.access.models import Environment
    from apps.core.actors import WORKER
    from apps.flags import services as flags
    from bench.telemetry import bodies as made

    now = timezone.now() - timedelta(hours=1)
    environment = Environment.objects.create(key=ENVIRONMENT, name="Bench")
    variants = {name: {"model": f"{provider}/{model}"} for name, (provider, model) in made.VARIANTS.items()}
    for number in range(made.ROUTES):
        flags.create_route(
            environment=ENVIRONMENT, key=f"route-{number}", variants=variants, default_variant="gpt-4.1", by=WORKER,
            now=now,
        )  # fmt: skip
    scopes = ["telemetry:write"]
    _, secret = access.create_key(environment=environment, name="bench", scopes=scopes, by=WORKER, now=now)
    connections.close_all()
    return secret


if __name__ == "__main__":
    sys.exit(main())
