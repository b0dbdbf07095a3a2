"""Half an hour of baseline calls from before the demo began, told through the telemetry door with a past `at`.

A guardrail compares with a baseline mark that is frozen from thousands of requests; a service that has run for months
has them, a demo that began a moment ago does not. They come from the same trace and the same simulated model as the
live traffic, but nobody really waited for them, and the log says so.
"""

import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from changeover import Resolved
from demo import calling, trace
from demo.calling import Attempt, Read
from demo.plane import Plane
from demo.providers import CHARACTERS, Thought, think, usage
from demo.trace import Arrival

SECONDS = 1_800.0
BATCH = 1_000
OVERHEAD_SECONDS = 0.004  # what a real call spends on the wire here


@dataclass(frozen=True, slots=True)
class Told:
    """All attempts of one request and what became of it: they travel in one batch."""

    calls: list[dict[str, Any]]
    outcomes: list[dict[str, Any]]


def send(plane: Plane, *, choice: Resolved, seed: int, file: Path | None) -> int:
    """Sends the calls, in batches that are larger than a service's, and says how many there were."""
    until = time.time() - 5
    second_of_day = (until - SECONDS) % trace.DAY
    # At the usual speed, however fast the live traffic is: half an hour of it is enough for any mark.
    arrivals = trace.arrivals(file=file, speed=None, seed=seed + 1, second_of_day=second_of_day)
    batch: list[Told] = []
    sent = waiting = 0
    for told in requests(arrivals, choice=choice, seed=seed, until=until):
        batch.append(told)
        waiting += len(told.calls)
        if waiting >= BATCH:
            send_batch(plane, batch)
            sent, waiting, batch = sent + waiting, 0, []
    if batch:
        send_batch(plane, batch)
    return sent + waiting


def send_batch(plane: Plane, batch: list[Told]) -> None:
    calls = [call for told in batch for call in told.calls]
    outcomes = [outcome for told in batch for outcome in told.outcomes]
    plane.post("/api/v1/telemetry", {"batch_id": str(uuid.uuid4()), "calls": calls, "outcomes": outcomes}, key="report")


def requests(arrivals: Iterator[Arrival], *, choice: Resolved, seed: int, until: float) -> Iterator[Told]:
    dice = random.Random(f"history {seed}")
    config = choice.config
    character = CHARACTERS[config["model"].partition("/")[2]]
    at = until - SECONDS
    for arrival in arrivals:
        at += arrival.gap
        if at >= until:
            return
        attempts: list[Attempt] = []
        start = at
        for _ in range(int(config["max_attempts"])):
            thought = think(character, arrival.context_tokens, arrival.generated_tokens, dice)
            attempts.append(attempt(thought, start, config["timeout_ms"] / 1000))
            start += attempts[-1].seconds
            if attempts[-1].read.error is None:
                break
        yield tell(choice, f"r-{dice.getrandbits(128):032x}", attempts)


def attempt(thought: Thought, began: float, timeout: float) -> Attempt:
    if thought.fails:
        return Attempt(began, OVERHEAD_SECONDS, Read("provider_error"))
    seconds = thought.seconds + OVERHEAD_SECONDS
    if seconds > timeout:
        return Attempt(began, timeout, Read("timeout"))
    error = "invalid_output" if thought.garbled else None
    return Attempt(began, seconds, Read(error, usage(thought), is_complete=not thought.unsure))


def tell(choice: Resolved, request_id: str, attempts: list[Attempt]) -> Told:
    """One request in the words of the native batch: every attempt is a call, and the clerk's handoff an outcome."""
    provider, _, model = choice.config["model"].partition("/")
    same = {
        "route": choice.flag,
        "request_id": request_id,
        "variant": choice.variant,
        "snapshot": choice.snapshot,
        "assigned": choice.variant,
        "assigned_by": choice.assigned_by,
    }
    calls = [
        {
            "id": f"{request_id}-{number}",
            "at": moment(each.began),
            "provider": provider,
            "model": model,
            "attempt": number,
            "latency_ms": round(each.seconds * 1000, 3),
            "error": each.read.error,
            "final": number == len(attempts),
            **each.tokens,
            **same,
        }
        for number, each in enumerate(attempts, start=1)
    ]
    outcome = {
        "id": f"{request_id}-handoff",
        "at": moment(calling.ended(attempts)),
        "name": "handoff",
        "value": int(calling.needs_clerk(attempts)),
        **same,
    }
    return Told(calls, [outcome])


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
