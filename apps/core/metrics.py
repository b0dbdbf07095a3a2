"""What the product counts about itself, in Prometheus's words: every name is here, so that one look tells.

It is counted where it happens. Where PROMETHEUS_MULTIPROC_DIR names a folder (bin/up and compose.yaml do), each process
keeps its numbers in files there, and `/metrics` of any web process adds them up; elsewhere a process tells of itself
alone. What tables can tell is not counted: `controlplane.facts` asks them.

No label takes what a caller makes up: no key, no request id, no route that nobody made.
"""

import os
import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Metric, disable_created_metrics, values
from prometheus_client import Histogram as PlainHistogram
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

FOLDER = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
STALE_SECONDS = 60.0
ANSWERS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
WORK = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


HOST = socket.gethostname().replace("_", "-")


def process_name() -> str:
    """Containers that share the folder have the same process ids."""
    return f"{HOST}-{os.getpid()}"


if FOLDER:
    Path(FOLDER).mkdir(parents=True, exist_ok=True)
    values.ValueClass = values.MultiProcessValue(process_name)
disable_created_metrics()  # they would double the series


class Histogram(PlainHistogram):
    """One that also takes what was counted before: a hot door must not pay for a lock with each answer."""

    def add(self, counts: Sequence[float], total: float) -> None:
        """`counts` by bucket, the one without an upper bound last; `total`: the sum of all that was observed."""
        for bucket, n in zip(self._buckets, counts, strict=True):
            if n:
                bucket.inc(n)
        self._sum.inc(total)


class AllProcesses(Collector):
    """The numbers of all processes, added up."""

    def collect(self) -> Iterable[Metric]:
        files = [str(file) for file in Path(FOLDER).glob("*.db") if counts(file)]
        found: Iterable[Metric] = MultiProcessCollector.merge(files)
        return found


def counts(file: Path) -> bool:
    """A counter goes on counting when its process has gone; a gauge does not."""
    return not file.name.startswith("gauge_live") or time.time() - file.stat().st_mtime < STALE_SECONDS


def show_life() -> None:
    """Gauges of this process go on counting for `STALE_SECONDS`."""
    for file in Path(FOLDER).glob(f"gauge_live*_{process_name()}.db") if FOLDER else ():
        os.utime(file)


own = CollectorRegistry()  # what this process counts
told: Collector = AllProcesses() if FOLDER else own

# --- web ----------------------------------------------------------------------------------------------------------

answers = Histogram(
    "changeover_http_request_duration_seconds",
    "How long it took until the answer was handed to the server, by door and status. Change streams are counted apart.",
    ["door", "status"],
    buckets=ANSWERS,
    registry=own,
)
evaluations = Counter(
    "changeover_flag_evaluations",
    "Flags evaluated for callers over OFREP, by OpenFeature's reason. Services that evaluate locally ask nobody.",
    ["environment", "reason"],
    registry=own,
)
streams_open = Gauge(
    "changeover_streams_open", "Change streams that are open.", registry=own, multiprocess_mode="livesum"
)
streams_opened = Counter("changeover_streams_opened", "Change streams that were opened.", registry=own)
streams_refused = Counter(
    "changeover_streams_refused", "Change streams refused, by whose limit was reached.", ["limit"], registry=own
)

# --- telemetry in -------------------------------------------------------------------------------------------------

calls = Counter(
    "changeover_telemetry_calls",
    "Calls reported: accepted, duplicate (known before, counted once) or rejected.",
    ["environment", "result"],
    registry=own,
)
unassigned = Counter(
    "changeover_telemetry_unassigned_calls",
    "Calls accepted for a route that nobody made.",
    ["environment"],
    registry=own,
)
late = Counter(
    "changeover_telemetry_late_calls", "Calls that came after their window had closed.", ["environment"], registry=own
)
outcomes = Counter(
    "changeover_telemetry_outcomes",
    "Outcomes reported: accepted, duplicate or rejected.",
    ["environment", "result"],
    registry=own,
)
commits = Histogram(
    "changeover_telemetry_commit_duration_seconds",
    "One group commit of telemetry, from its first row to its durable end.",
    buckets=WORK,
    registry=own,
)
commits_failed = Counter(
    "changeover_telemetry_commits_failed", "Group commits that the database did not take.", registry=own
)
pushed_back = Counter(
    "changeover_telemetry_pushed_back",
    "Batches refused because more waited than could be written: their sender keeps them.",
    registry=own,
)
queue_bytes = Gauge(
    "changeover_telemetry_queue_bytes",
    "Telemetry that waits for its commit.",
    registry=own,
    multiprocess_mode="livesum",
)

# --- flags, rollouts, alerts --------------------------------------------------------------------------------------

published = Counter("changeover_snapshots_published", "Snapshots published.", ["environment"], registry=own)
ticks = Histogram("changeover_tick_duration_seconds", "One tick: all shards that were due.", buckets=WORK, registry=own)
looks = Counter("changeover_looks", "Looks at a rollout's guardrails and budgets.", registry=own)
faults = Counter("changeover_tick_faults", "Rollouts, shards or budgets that a tick could not look at.", registry=own)
decisions = Counter(
    "changeover_decisions", "Decisions about rollouts, by kind. A repeated hold is none.", ["environment", "kind"],
    registry=own,
)  # fmt: skip
calls_refused = Counter(
    "changeover_calls_refused", "Holds that a hard cap had no room for.", ["environment", "budget"], registry=own
)
deliveries = Counter(
    "changeover_deliveries_tried",
    "Messages to people on call that were tried: taken, or failed (most are tried again).",
    ["channel", "result"],
    registry=own,
)
