"""Plain builders for the rollouts tests."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from apps.budgets.domain.verdicts import Verdict
from apps.rollouts.domain import stages
from apps.rollouts.domain.machine import Pressure, Progress

NOW = datetime(2026, 11, 24, 3, 12, 41, tzinfo=UTC)
FOUR_STAGES = [
    {"share": 10, "min_seconds": 600, "min_samples": 200},
    {"share": 25, "min_seconds": 600},
    {"share": 50, "approval": True},
    {"share": 100},
]
SLOW = Verdict(
    guardrail="g-p95",
    metric="latency_p95",
    against="baseline",
    state="exceeded",
    on_breach="roll_back",
    observed=4.34,
    limit=2.56,
    baseline=2.15,
    low=3.9,
    high=5.1,
    n=118,
    n_baseline=1074,
    k=32,
    k_baseline=54,
    evidence=565.0,
    needed=500.0,
    why="",
    proof="harm",
    began_at=NOW - timedelta(minutes=7),
    looks=292,
    unit="s",
)


def verdict(**changes: Any) -> Verdict:
    return replace(SLOW, **changes)


def within(**changes: Any) -> Verdict:
    return verdict(**{"state": "within", "evidence": 0.4, "proof": "undecided", **changes})


def pressure(**changes: Any) -> Pressure:
    over = Pressure(
        budget="b-1",
        do="fall_back",
        once="b-1:2026-11-24:1.0",
        spent_nano=50_123_000_000,
        limit_nano=50_000_000_000,
        scope="invoice-extraction",
        period="day",
    )
    return replace(over, **changes)


def progress(**changes: Any) -> Progress:
    """On the second of four stages, with everything it needs."""
    here = Progress(
        rollout="r-1",
        environment="production",
        route="invoice-extraction",
        baseline="gpt-4.1",
        candidate="gpt-5",
        stages=stages.read(FOUR_STAGES),
        stage=0,
        share=1000,
        shadow=0,
        started_at=NOW - timedelta(hours=1),
        stage_began_at=NOW - timedelta(minutes=20),
        samples=612,
    )
    return replace(here, **changes)
