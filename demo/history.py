"""Half an hour of baseline calls from before the demo began, told through the telemetry door with a past `at`.

A guardrail compares with a baseline mark that is frozen from thousands of requests; a service that has run for months
has them, a demo that began a moment ago does not. They come from the same generator and the same simulated model as the
live traffic, but nobody really waited for them, and the log says so.
"""

import random
import time
import uuid
from collections.abc import Iterator

from demo import trace
from demo.plane import Plane
from demo.providers import CHARACTERS, Thought, think, usage
from demo.reporting import Told
from demo.service import Attempt, Choice, tell

SECONDS = 1_800.0
BATCH = 1_000
OVERHEAD_SECONDS = 0.004  # what a real call spends on the wire here


def send(plane: Plane, *, route: str, choice: Choice, seed: int) -> int:
    """Sends the calls and says how many there were."""
    batch: list[Told] = []
    sent = waiting = 0
    for told in requests(route=route, choice=choice, seed=seed, until=time.time() - 5):
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


def requests(*, route: str, choice: Choice, seed: int, until: float) -> Iterator[Told]:
    dice = random.Random(f"history {seed}")
    character = CHARACTERS[choice.value["model"].partition("/")[2]]
    at = until - SECONDS
    for arrival in trace.generate(seed=seed + 1, second_of_day=at % trace.DAY):
        at += arrival.gap
        if at >= until:
            return
        attempts: list[Attempt] = []
        start = at
        for _ in range(int(choice.value["max_attempts"])):
            thought = think(character, arrival.context_tokens, arrival.generated_tokens, dice)
            attempts.append(attempt(thought, start, choice.value["timeout_ms"] / 1000))
            start += attempts[-1].seconds
            if attempts[-1].error is None:
                break
        yield tell(route, f"r-{dice.getrandbits(128):032x}", choice, attempts)


def attempt(thought: Thought, began: float, timeout: float) -> Attempt:
    if thought.fails:
        return Attempt(began, OVERHEAD_SECONDS, "provider_error", None)
    seconds = thought.seconds + OVERHEAD_SECONDS
    if seconds > timeout:
        return Attempt(began, timeout, "timeout", None)
    error = "invalid_output" if thought.garbled else None
    return Attempt(began, seconds, error, usage(thought), is_complete=not thought.unsure)
