"""What is counted is compared with what was sent: percentiles of the real trace, and money to the nano-USD."""

from __future__ import annotations

import csv
import json
import math
import os
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TRACE = Path(os.environ.get("SAMPLES_DIR", ROOT.parent / "shared" / "data")) / "azure_llm_trace_conv.csv"
EVENTS = 20_000
MODELS = (("openai", "gpt-4.1"), ("openai", "gpt-5"), ("google", "gemini-2.5-flash-lite"), ("openai", "gpt-4.1-mini"))
Post = Callable[[str, bytes], None]  # path, body


def worst_percentile(post: Post, environment: str) -> float | None:
    """Token counts of the trace are sent as latencies; the worst of p50, p95, p99 read from merged windows, in %."""
    from apps.telemetry import queries

    if not TRACE.exists():
        return None
    with TRACE.open(newline="") as lines:
        table = list(csv.DictReader(lines))
    worst = 0.0
    now = datetime.now(UTC)
    for column in ("ContextTokens", "GeneratedTokens"):
        values = sorted(max(float(row[column]), 1.0) for row in table)
        calls = [
            {"id": f"{column}-{n}", "at": (now - timedelta(seconds=120 + n % 3600)).isoformat(),
             "route": column, "latency_ms": value}
            for n, value in enumerate(values)
        ]  # fmt: skip
        for begin in range(0, len(calls), 500):
            post("/api/v1/telemetry", batch(f"{column}-{begin}", calls[begin : begin + 500]))
        since, until = now - timedelta(hours=3), now + timedelta(hours=1)
        (row,) = queries.windows(environment, column, since, until)
        assert row.latency.count == len(values), (row.latency.count, len(values))
        for q in (0.5, 0.95, 0.99):
            exact = values[math.ceil(q * len(values)) - 1] / 1000
            worst = max(worst, abs((row.latency.quantile(q) or 0) / exact - 1) * 100)
    return worst


def money(post: Post, environment: str) -> float:
    """How far the ledger is from a plain sum over the same events, in nano-USD, whatever happened on their way."""
    from apps.catalog import queries as catalog
    from apps.telemetry import queries

    chance = random.Random(1)
    now = datetime.now(UTC)
    book = catalog.price_book()
    events, exact = [], Decimal(0)
    for n in range(EVENTS):
        event = event_of(n, chance, now)
        price = book.find(event["provider"], event["model"], datetime.fromisoformat(event["at"]))
        assert price is not None, event
        rates, cached, inputs = price.rates, event["cached_input_tokens"], event["input_tokens"]
        cached_rate = rates.input if rates.cached_input is None else rates.cached_input
        cost = ((inputs - cached) * rates.input + cached * cached_rate + event["output_tokens"] * rates.output) / 10**6
        told = event["cost_usd"]
        exact += (cost if told is None else Decimal(told)).quantize(Decimal("1e-9"), ROUND_HALF_EVEN)
        events.append(event)
    for number, calls in enumerate(on_its_way(events, chance)):
        body = batch(f"money-{number}", calls)
        for _ in range(chance.choice((1, 1, 1, 1, 2))):  # an answer was lost
            post("/api/v1/telemetry", body)
    since, until = now - timedelta(hours=49), now + timedelta(hours=1)
    found = sum(row.confirmed_nano + row.estimated_nano for row in queries.spend(environment, since, until, by=("tag",))
                if row.keys["tag"] == "money")  # fmt: skip
    return abs(found - int(exact.scaleb(9)))


def event_of(n: int, chance: random.Random, now: datetime) -> dict[str, Any]:
    provider, model = chance.choice(MODELS)
    inputs = chance.randrange(1, 20_000)
    back = chance.choice((10, 600, 7_000))  # seconds: repeats of a call are remembered for two hours
    return {
        "id": f"m-{n}", "at": (now - timedelta(seconds=chance.random() * back)).isoformat(),
        "route": f"route-{n % 100}", "variant": "gpt-4.1", "provider": provider, "model": model,
        "latency_ms": chance.random() * 5000, "input_tokens": inputs, "cached_input_tokens": chance.randrange(inputs),
        "output_tokens": chance.randrange(3_000), "tag": "money",
        "cost_usd": f"{chance.random() / 100:.12f}" if chance.random() < 0.1 else None,
    }  # fmt: skip


def on_its_way(events: list[dict[str, Any]], chance: random.Random) -> list[list[dict[str, Any]]]:
    """Shuffled, split into batches of any size, and one in ten comes once more in another batch, some much later."""
    calls = events + chance.sample(events, len(events) // 10)
    chance.shuffle(calls)
    batches, begin = [], 0
    while begin < len(calls):
        size = chance.randrange(1, 700)
        batches.append(calls[begin : begin + size])
        begin += size
    return batches


def batch(batch_id: str, calls: list[dict[str, Any]]) -> bytes:
    return json.dumps({"batch_id": batch_id, "calls": calls}).encode()
