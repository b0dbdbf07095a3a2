"""Plain builders for the rollouts tests."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from apps.budgets.domain.verdicts import Verdict
from apps.catalog import services as catalog
from apps.core import actors
from apps.core.ids import new_id
from apps.flags import queries as flag_queries
from apps.flags import services as flags
from apps.rollouts import services
from apps.rollouts.domain import stages
from apps.rollouts.domain.machine import Pressure, Progress
from apps.telemetry import services as telemetry
from apps.telemetry.domain import batch
from apps.telemetry.memory import WriterMemory

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


# --- with tables ---------------------------------------------------------------------------------------------------

VARIANTS = {
    "gpt-4.1": {"model": "openai/gpt-4.1", "timeout_ms": 8000, "max_attempts": 2, "max_cost_usd": "0.02"},
    "gpt-5": {"model": "openai/gpt-5", "timeout_ms": 8000, "max_attempts": 1, "max_cost_usd": "0.20"},
    "flash-lite": {"model": "google/gemini-2.5-flash-lite", "timeout_ms": 3000, "max_attempts": 1},
}
GUARDRAILS = [
    {"metric": "latency_p95", "limit_ms": 1500, "on_breach": "roll_back"},
    {"metric": "error_rate", "against": "baseline", "tolerance": 0.25, "on_breach": "roll_back"},
]
QUICK_STAGES = [{"share": 10, "min_seconds": 15, "min_samples": 50}, {"share": 50, "min_seconds": 15}, {"share": 100}]
ALICE, TOM = actors.person("alice"), actors.person("tom")


def make_route(now, key="invoice-extraction", fallback="flash-lite", **facts):
    catalog.ensure_contenders(now=now)
    flags.create_route(
        environment="production",
        key=key,
        variants=VARIANTS,
        default_variant="gpt-4.1",
        fallback_variant=fallback,
        owner="payments",
        by=ALICE,
        because="test",
        now=now,
        **facts,
    )


def make_rollout(now, stages=QUICK_STAGES, guardrails=GUARDRAILS, candidate="gpt-5", route="invoice-extraction"):
    return services.create(
        environment="production",
        route=route,
        candidate=candidate,
        stages=stages,
        guardrails=guardrails,
        by=ALICE,
        because="GPT-5 reads better",
        now=now,
    )


def start_rollout(now, **options):
    make_route(now)
    rollout = make_rollout(now, **options)
    return services.start(rollout=rollout, by=ALICE, because="the shadow looked well", now=now)


def weights(route="invoice-extraction"):
    return {name: weight for name, weight in flag_queries.route("production", route).weights.items() if weight}


def see_traffic(
    now,
    n=100,
    variant="gpt-5",
    latency_ms=400.0,
    errors=0,
    cost="0.001",
    assigned_by="split",
    route="invoice-extraction",
    tries=1,
    **more,
):
    """That many requests with so many calls each, ended now, through the reading and counting of the real door."""
    version = flag_queries.snapshot("production").version
    at = (now - timedelta(milliseconds=latency_ms)).isoformat()
    calls = [
        {
            "id": new_id(),
            "at": at,
            "route": route,
            "variant": variant,
            "assigned": variant,
            "assigned_by": assigned_by,
            "provider": VARIANTS[variant]["model"].partition("/")[0],
            "model": VARIANTS[variant]["model"].partition("/")[2],
            "request_id": request,
            "attempt": attempt,
            "final": attempt == tries,
            "latency_ms": latency_ms,
            "cost_usd": cost,
            "error": "timeout" if i < errors else None,
            "snapshot": version,
            **more,
        }
        for i, request in enumerate(new_id() for _ in range(n))
        for attempt in range(1, tries + 1)
    ]
    send({"batch_id": new_id(), "calls": calls}, now)


def send(body, now):
    read = batch.read(json.dumps(body).encode(), now)
    assert not read.rejected, read.rejected[:1]
    telemetry.count(sent=[telemetry.Sent("production", read)], writer=WriterMemory(), now=now)


def see_client(now, name="invoices", snapshot=None, exposures=()):
    snapshot = flag_queries.snapshot("production").version if snapshot is None else snapshot
    client = {"name": name, "sdk": "changeover-python/1.0", "snapshot": snapshot}
    flags.note_seen(environment="production", client=client, exposures=list(exposures), now=now)
