"""The sender: some connections kept open, each with one body under way; as fast as answers come, or at a pace."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from bench.flags.servers import Served
from bench.telemetry.bodies import Template

CONNECTIONS = 16
numbers = count(1)  # of bodies, over all loads of a run


@dataclass(frozen=True, slots=True)
class Measured:
    items: int
    seconds: float
    latencies: list[float]  # seconds, of each body: from the moment at which it was due
    cpu: float  # of the server, in seconds

    @property
    def rate(self) -> float:
        return self.items / self.seconds

    @property
    def p99_ms(self) -> float:
        return statistics.quantiles(self.latencies, n=100)[98] * 1000

    @property
    def cpu_us(self) -> float:
        return self.cpu / self.items * 1e6


def send(served: Served, secret: str, templates: Sequence[Template], bodies: int, pace: float = 0) -> Measured:
    """`pace`: bodies a second, 0 for as fast as it goes."""
    cpu = served.cpu()
    began = time.perf_counter()
    latencies = asyncio.run(load(served.port, secret, templates, bodies, pace))
    seconds = time.perf_counter() - began
    return Measured(bodies * templates[0].items, seconds, latencies, served.cpu() - cpu)


async def load(port: int, secret: str, templates: Sequence[Template], bodies: int, pace: float) -> list[float]:
    latencies: list[float] = []
    began = time.perf_counter()
    due = ((n, began + n / pace if pace else 0.0) for n in range(bodies))
    await asyncio.gather(*(connection(port, secret, templates, due, latencies) for _ in range(CONNECTIONS)))
    return latencies


async def connection(
    port: int, secret: str, templates: Sequence[Template], due: Iterator[tuple[int, float]], latencies: list[float]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for n, moment in due:
        if moment > time.perf_counter():
            await asyncio.sleep(moment - time.perf_counter())
        template = templates[n % len(templates)]
        body = template.body_of(next(numbers))
        began = moment or time.perf_counter()
        head = f"POST {template.path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {secret}\r\n"
        writer.write(f"{head}content-type: {template.kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        said = await reader.readexactly(int(length or 0))
        if not answer.startswith((b"HTTP/1.1 20",)):
            raise RuntimeError(f"{answer.decode()}{said.decode(errors='replace')}")
        latencies.append(time.perf_counter() - began)
    writer.close()
