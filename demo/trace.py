"""Arrivals: when a request comes, and how many tokens go in and come out.

Out come endless `Arrival`s, either generated or read from a CSV `TIMESTAMP,ContextTokens,GeneratedTokens`.

The generator has the shape of a production service: arrivals are Poisson around a rate that follows the hour of the day
and a Gamma-distributed level that changes every 20 s (real counts per minute scatter many times wider than Poisson's),
tokens are log-normal with a weak correlation. Means are those of the article's bill: 6,000 tokens in and 800 out cost
$18.40 per 1,000 requests on GPT-4.1. The same seed gives the same arrivals, in every process.
"""

import csv
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

DAY = 86_400.0
LEVEL_SECONDS = 20.0
LEVEL_SHAPE = 20.0  # variance 1/20: the index of dispersion of a real hour, 16 per minute at 5.5 requests/s
DIURNAL = 0.1  # little, so that a demo at night looks like one by day

CONTEXT_MEAN, CONTEXT_SIGMA, CONTEXT_MOST = 6_000, 0.55, 30_000
GENERATED_MEAN, GENERATED_SIGMA, GENERATED_MOST = 800, 0.5, 4_000
CORRELATION = 0.3

SPEED_OF_A_RECORDED_TRACE = 8.0


@dataclass(frozen=True, slots=True)
class Arrival:
    gap: float
    """Seconds after the one before."""
    context_tokens: int
    generated_tokens: int


class TraceIsUnreadable(Exception):
    pass


def generate(*, seed: int, rate: float = 40.0, second_of_day: float = 0.0) -> Iterator[Arrival]:
    dice = random.Random(seed)
    now = last = second_of_day
    level_ends_at = now
    level = 1.0
    while True:
        if now >= level_ends_at:
            level = dice.gammavariate(LEVEL_SHAPE, 1 / LEVEL_SHAPE)
            level_ends_at += LEVEL_SECONDS
        step = dice.expovariate(rate * level * diurnal(now))
        if now + step > level_ends_at:
            now = level_ends_at  # memoryless: the wait starts anew under the next level
            continue
        now += step
        context, generated = tokens(dice)
        yield Arrival(now - last, context, generated)
        last = now


def diurnal(second_of_day: float) -> float:
    """1 on average; lowest at four in the morning."""
    return 1 - DIURNAL * math.cos(2 * math.pi * (second_of_day - DAY / 6) / DAY)


def tokens(dice: random.Random) -> tuple[int, int]:
    common = dice.gauss(0, 1)
    own = dice.gauss(0, 1)
    other = CORRELATION * common + math.sqrt(1 - CORRELATION**2) * own
    return (
        log_normal(common, CONTEXT_MEAN, CONTEXT_SIGMA, CONTEXT_MOST),
        log_normal(other, GENERATED_MEAN, GENERATED_SIGMA, GENERATED_MOST),
    )


def log_normal(z: float, mean: float, sigma: float, most: int) -> int:
    return min(most, max(1, round(mean * math.exp(sigma * z - sigma**2 / 2))))


def read(file: Path) -> list[Arrival]:
    """One pass of a recorded trace; its first request comes at once."""
    arrivals: list[Arrival] = []
    last: datetime | None = None
    with file.open(newline="") as lines:
        rows = csv.DictReader(lines)
        for number, row in enumerate(rows, start=2):
            try:
                at = datetime.fromisoformat(row["TIMESTAMP"].strip()[:26])  # Python takes microseconds, not 100 ns
                gap = max(0.0, (at - (last or at)).total_seconds())
                arrivals.append(Arrival(gap, int(row["ContextTokens"]), int(row["GeneratedTokens"])))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise TraceIsUnreadable(f"{file}, line {number}: {error}") from error
            last = at
    if not arrivals:
        raise TraceIsUnreadable(f"{file} holds no request")
    return arrivals


def replay(arrivals: list[Arrival], *, speed: float) -> Iterator[Arrival]:
    """The trace over and over, `speed` times as fast; clocks and latencies stay real."""
    mean_gap = sum(arrival.gap for arrival in arrivals) / len(arrivals)
    first = True
    while True:
        for number, arrival in enumerate(arrivals):
            gap = arrival.gap if number or first else mean_gap  # between the last request and the first again
            yield Arrival(gap / speed, arrival.context_tokens, arrival.generated_tokens)
            first = False


def arrivals(*, file: Path | None, speed: float | None, seed: int, second_of_day: float) -> Iterator[Arrival]:
    if file is not None:
        return replay(read(file), speed=speed or SPEED_OF_A_RECORDED_TRACE)
    return generate(seed=seed, rate=40.0 * (speed or 1.0), second_of_day=second_of_day)
