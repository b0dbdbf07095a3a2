"""What one look at 1,000 running rollouts costs: four guardrails each, new data for each, through the real tables.

    python -m bench.look [--trials 1000] [--database sqlite|postgres|both] [--looks 5]

Rows are written as the telemetry writer writes them; then all sixteen shards are judged, as a tick does, and the time
of the whole is taken: the reading, the evidence, the verdicts, and the writing of states, looks and cursors. Promised
are two seconds of one core, so the processor time is judged; the wall time beside it holds the waiting for the disk,
PostgreSQL's own work, and whoever else uses the machine. Each database runs in a process of its own on fresh data.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bench import _databases as databases
from bench import _results as results
from bench._results import Row

if TYPE_CHECKING:  # Django is set up in the process that measures
    from apps.budgets.services import Watched
    from apps.telemetry.models import RequestSum

START = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
GUARDRAILS: list[dict[str, Any]] = [
    {"metric": "latency_p95", "limit_ms": 1500, "on_breach": "roll_back"},
    {"metric": "latency_p95", "against": "baseline", "tolerance": 0.19, "on_breach": "roll_back"},
    {"metric": "error_rate", "against": "baseline", "tolerance": 0.25, "on_breach": "roll_back"},
    {"metric": "cost_per_request", "limit_usd": "0.005", "on_breach": "roll_back"},
]
GROUPS = 2  # commit groups with rows of one arm, between two looks
REQUESTS = 50  # of both arms, in each of them: 20 requests a second, looked at every 5 s
MUST_SECONDS = 2.0


def main() -> int:
    reading = databases.arguments(__doc__)
    reading.add_argument("--trials", type=int, default=1000)
    reading.add_argument("--looks", type=int, default=5)
    asked = reading.parse_args()
    if asked.inside:
        print(json.dumps(measure(asked.trials, asked.looks)))  # the parent reads it
        return 0
    rows: list[Row] = []
    for database, found in databases.on_each(
        "bench.look", asked.database, "--trials", str(asked.trials), "--looks", str(asked.looks)
    ):
        rows += told(database, asked.trials, found)
    ok = results.tell("look", rows, title=f"A look at {asked.trials} running rollouts", folder=asked.results)
    return 0 if ok else 1


def told(database: str, trials: int, found: dict[str, float]) -> list[Row]:
    all_of_it = f"one look, {trials} rollouts of {len(GUARDRAILS)} guardrails, {found['rows']:.0f} new rows, {database}"
    rows = [
        results.at_most(f"{all_of_it}: processor time", found["cpu"], "s", MUST_SECONDS, wall_s=found["wall"]),
        Row(f"the same without new data, {database}", found["idle"], "s"),
        Row(f"one guardrail of a rollout, {database}", found["cpu"] / trials / len(GUARDRAILS) * 1e6, "µs"),
        Row(f"state of one rollout after the looks, {database}", found["state_bytes"], "bytes"),
        Row(f"one stored look, {database}", found["look_bytes"], "bytes"),
    ]
    if trials != 1000:
        rows[0] = Row(f"{all_of_it}: processor time", found["cpu"], "s", beside={"wall_s": found["wall"]})
    return rows


def measure(trials: int, looks: int) -> dict[str, float]:
    databases.open_database()
    draw = random.Random(20261124)
    watched = prepare(trials)
    walls, processor, rows = [], [], 0
    now = START
    for look in range(looks + 1):
        now = START + timedelta(seconds=5 * (look + 1))
        rows = write_rows(trials, look, now, draw)
        wall, cpu = tick(watched, now)
        if look:  # the first one freezes marks and warms up
            walls.append(wall)
            processor.append(cpu)
    idle, _ = tick(watched, now + timedelta(seconds=5))
    from apps.budgets.models import Look, TrialState

    states = [len(packed) for packed in TrialState.objects.values_list("packed", flat=True)[:100]]
    stored = [len(packed) for packed in Look.objects.order_by("-id").values_list("packed", flat=True)[:100]]
    return {
        "wall": statistics.median(walls),
        "cpu": statistics.median(processor),
        "idle": idle,
        "rows": rows,
        "state_bytes": statistics.median(states),
        "look_bytes": statistics.median(stored),
    }


def prepare(trials: int) -> dict[int, list[Watched]]:
    """A rollout on each route, with a week's history from which its marks are frozen at the first look."""
    from apps.budgets import services
    from apps.core.actors import WORKER
    from apps.telemetry.domain.shards import shard_of
    from apps.telemetry.models import RequestSum, Writer

    Writer.objects.create(id="w-0", seq=1, at=START)
    watched: dict[int, list[Watched]] = {}
    draw = random.Random(1)
    history = [draw.lognormvariate(-0.9, 0.6) for _ in range(2500)]
    before: list[RequestSum] = []
    for number in range(trials):
        route = f"route-{number}"
        services.set_guardrails(
            environment="production",
            route=route,
            trial=f"trial-{number}",
            specs=GUARDRAILS,
            candidate="new",
            baseline="old",
            by=WORKER,
            because="a benchmark",
            now=START,
        )
        before.append(row_of(number, "old", "w-0", 1, START - timedelta(hours=1), history, 0, trial=""))
        watched.setdefault(shard_of("production", route), []).append(
            services.Watched(
                trial=f"trial-{number}",
                environment="production",
                route=route,
                baseline="old",
                candidate="new",
                share_bp=1000,
                stage_began_at=START,
                started_at=START,
            )
        )
    RequestSum.objects.bulk_create(before, batch_size=500)
    return watched


def write_rows(trials: int, look: int, now: datetime, draw: random.Random) -> int:
    """What the telemetry writer commits between two looks."""
    from apps.telemetry.models import RequestSum, Writer

    rows = []
    for group in range(GROUPS):
        seq = look * GROUPS + group + 1
        for number in range(trials):
            for variant, requests in (("new", REQUESTS // 10), ("old", REQUESTS - REQUESTS // 10)):
                errors = sum(draw.random() < 0.01 for _ in range(requests))
                seconds = [draw.lognormvariate(-0.9, 0.6) for _ in range(requests - errors)]
                rows.append(row_of(number, variant, "w-1", seq, now, seconds, errors))
    RequestSum.objects.bulk_create(rows, batch_size=1000)
    Writer.objects.update_or_create(id="w-1", defaults={"seq": (look + 1) * GROUPS, "at": now})
    return len(rows)


def row_of(
    number: int,
    variant: str,
    writer: str,
    seq: int,
    now: datetime,
    seconds: list[float],
    errors: int,
    *,
    trial: str | None = None,
) -> RequestSum:
    from apps.telemetry.domain.histogram import Histogram
    from apps.telemetry.domain.shards import shard_of
    from apps.telemetry.models import RequestSum

    route = f"route-{number}"
    requests = len(seconds) + errors
    costs = [0.001 + 0.002 * s for s in seconds] + [0.001] * errors
    return RequestSum(
        shard=shard_of("production", route),
        writer=writer,
        seq=seq,
        environment="production",
        route=route,
        trial=f"trial-{number}" if trial is None else trial,
        split=7,
        assigned=variant,
        arm="live",
        assigned_by="split",
        starts_at=now,
        requests=requests,
        errors=errors,
        unfinal=0,
        attempts=requests,
        cost_nano=round(sum(costs) * 1e9),
        estimated_nano=0,
        unpriced=0,
        first_at=now,
        last_at=now,
        latency=Histogram.of(seconds).pack(),
        cost=Histogram.of(costs).pack(),
    )


def tick(watched: dict[int, list[Watched]], now: datetime) -> tuple[float, float]:
    from apps.budgets import services

    wall, processor = time.perf_counter(), time.process_time()
    judged = 0
    for shard in range(16):
        judged += len(services.judge(shard=shard, watched=watched.get(shard, []), now=now))
    took = time.perf_counter() - wall, time.process_time() - processor
    assert judged == sum(map(len, watched.values()))
    return took


if __name__ == "__main__":
    sys.exit(main())
