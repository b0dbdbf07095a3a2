"""Rows as telemetry writes them, and trials that judge them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from apps.budgets import services
from apps.budgets.services import Judged, Watched
from apps.core.actors import person
from apps.telemetry.domain.histogram import Histogram
from apps.telemetry.domain.shards import shard_of
from apps.telemetry.models import LedgerLine, OutcomeSum, RequestSum, Writer

ROUTE = "invoice-extraction"
ALICE = person("alice")
GUARDRAILS = [
    {"metric": "latency_p95", "limit_ms": 1500, "on_breach": "roll_back"},
    {"metric": "error_rate", "against": "baseline", "tolerance": 0.25, "on_breach": "roll_back"},
    {"metric": "cost_per_request", "limit_usd": "0.005", "on_breach": "roll_back"},
]


def guard(now: datetime, specs: list[dict[str, Any]] | None = None, *, trial: str = "t-1", route: str = ROUTE):
    return services.set_guardrails(
        environment="production",
        route=route,
        trial=trial,
        specs=GUARDRAILS if specs is None else specs,
        candidate="new",
        baseline="old",
        by=ALICE,
        because="a try",
        now=now,
    )


def see(
    now: datetime,
    variant: str,
    requests: int = 0,
    *,
    errors: int = 0,
    seconds: float = 0.4,
    usd: float = 0.001,
    trial: str = "t-1",
    route: str = ROUTE,
    split: int = 7,
    assigned_by: str = "split",
    arm: str = "live",
    writer: str = "w-1",
    **more: Any,
) -> RequestSum:
    seq = next_seq(writer, now)
    return RequestSum.objects.create(
        shard=shard_of("production", route),
        writer=writer,
        seq=seq,
        environment="production",
        route=route,
        trial=trial,
        split=split,
        assigned=variant,
        arm=arm,
        assigned_by=assigned_by,
        starts_at=now,
        requests=requests,
        errors=errors,
        unfinal=0,
        attempts=requests,
        cost_nano=round(usd * 1e9) * requests,
        estimated_nano=0,
        unpriced=0,
        first_at=now,
        last_at=now,
        latency=Histogram.of([seconds] * (requests - errors)).pack(),
        cost=Histogram.of([usd] * requests).pack(),
        **more,
    )


def hear(now: datetime, variant: str, name: str, ones: int, zeros: int, *, assigned_by: str = "split") -> OutcomeSum:
    return OutcomeSum.objects.create(
        shard=shard_of("production", ROUTE),
        writer="w-1",
        seq=next_seq("w-1", now),
        environment="production",
        route=ROUTE,
        trial="t-1",
        split=7,
        assigned=variant,
        variant=variant,
        arm="live",
        assigned_by=assigned_by,
        starts_at=now,
        name=name,
        count=ones + zeros,
        ones=ones,
        zeros=zeros,
        total=ones,
    )


def next_seq(writer: str, now: datetime) -> int:
    known = Writer.objects.filter(pk=writer).first()
    seq = known.seq + 1 if known else 1
    Writer.objects.update_or_create(id=writer, defaults={"seq": seq, "at": now})
    return seq


def watched(now: datetime, **changes: Any) -> Watched:
    return Watched(
        **{
            "trial": "t-1",
            "environment": "production",
            "route": ROUTE,
            "baseline": "old",
            "candidate": "new",
            "share_bp": 1000,
            "stage_began_at": now,
            "started_at": now,
            **changes,
        }
    )


def take_look(now: datetime, began: datetime | None = None, **changes: Any) -> Judged:
    watch = watched(began or now, **changes)
    return services.judge(shard=shard_of(watch.environment, watch.route), watched=[watch], now=now)[watch.trial]


def spend(at: datetime, usd: float, **more: Any) -> LedgerLine:
    made = line(at, usd, **more)
    made.save()
    return made


def line(at: datetime, usd: float, *, calls: int = 100, estimated: float = 0.0, **keys: str) -> LedgerLine:
    named = {"route": ROUTE, "variant": "old", "provider": "openai", "model": "gpt-4.1", "owner": "payments"}
    return LedgerLine(
        minute=at.replace(second=0, microsecond=0),
        environment="production",
        **(named | {"arm": "live", "trial": "", "tag": "", "rule": "tokens"} | keys),
        calls=calls,
        confirmed_nano=round(usd * 1e9),
        estimated_nano=round(estimated * 1e9),
        unpriced=0,
        input_tokens=0,
        cached_input_tokens=0,
        output_tokens=0,
    )


def minutes(n: float) -> timedelta:
    return timedelta(minutes=n)
