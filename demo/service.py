"""A small service, as a user of Changeover would write it: ask the flag, call the model, report what happened.

`python -m demo.service` plays its part of the trace. Per request it asks the control plane which variant serves, with
the request's own id as subject of the split, calls the provider with that variant's time-out and attempts, and reports
every attempt. What failed, has a field missing or took longer than a clerk waits goes to the clerk: a handoff.
"""

import argparse
import asyncio
import json
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2

import changeover
from controlplane.parentage import die_with_parent
from demo import calling, trace
from demo.calling import Attempt
from demo.saying import say
from demo.trace import Arrival

NAMES = ("invoices", "claims")
MOST_IN_FLIGHT = 400
MOST_ASKING = 32
MOST_LAG = 5.0
MOST_QUEUED = 100_000  # twenty minutes of reports while the control plane is away


class Service:
    def __init__(self, *, name: str, client: changeover.Client, http: httpx2.AsyncClient, providers: str) -> None:
        self.name = name
        self.client = client
        self.http = http
        self.providers = providers
        self.asking = ThreadPoolExecutor(MOST_ASKING, thread_name_prefix="ask")
        self.last: dict[str, changeover.Resolved] = {}
        self.is_answered = True
        self.requests = self.failed = self.shed = self.unserved = 0
        self.by_variant: dict[str, int] = {}
        self.first_bad: dict[str, str] = {}
        self.in_flight: set[asyncio.Task[None]] = set()

    async def play(self, arrivals: Iterator[tuple[str, Arrival]]) -> None:
        due = time.monotonic()
        for route, arrival in arrivals:
            due += arrival.gap
            now = time.monotonic()
            if now - due > MOST_LAG:
                due = now  # the machine slept: go on from here, do not make up for it in one burst
            await asyncio.sleep(max(0.0, due - now))
            if len(self.in_flight) >= MOST_IN_FLIGHT:
                self.shed += 1
                continue
            task = asyncio.create_task(self.serve(route, arrival))
            self.in_flight.add(task)
            task.add_done_callback(self.in_flight.discard)

    async def serve(self, route: str, arrival: Arrival) -> None:
        resolved = await self.choose(route, f"r-{uuid.uuid4().hex}")
        if resolved is None:
            self.unserved += 1
            return
        attempts = await calling.ask(self.http, self.providers, resolved.config, arrival)
        self.report(resolved, attempts)

    async def choose(self, route: str, request_id: str) -> changeover.Resolved | None:
        """What the flag says for this request. While nobody answers the last choice serves, outside the split."""
        loop = asyncio.get_running_loop()
        resolved = await loop.run_in_executor(
            self.asking, lambda: self.client.resolve(route, request_id, service=self.name)
        )
        is_answered = "model" in resolved.config
        if is_answered != self.is_answered:
            why = f"the flag API does not answer ({resolved.error_details}); the last known variant serves."
            say(f"{self.name}: {'the flag API answers again.' if is_answered else why}")
        self.is_answered = is_answered
        if is_answered:
            self.last[route] = resolved
            return resolved
        last = self.last.get(route)
        return last and replace(last, request_id=request_id, assigned_by="fallback")

    def report(self, resolved: changeover.Resolved, attempts: list[Attempt]) -> None:
        for number, attempt in enumerate(attempts, start=1):
            tokens = attempt.tokens
            self.client.report(
                resolved,
                at=datetime.fromtimestamp(attempt.began, UTC),
                latency_ms=attempt.seconds * 1000,
                attempt=number,
                final=number == len(attempts),
                error=attempt.read.error,
                input_tokens=tokens["input_tokens"],
                cached_input_tokens=tokens["cached_input_tokens"],
                output_tokens=tokens["output_tokens"],
            )
        needs_clerk = calling.needs_clerk(attempts)
        self.client.outcome(
            resolved, "handoff", int(needs_clerk), at=datetime.fromtimestamp(calling.ended(attempts), UTC)
        )
        variant = resolved.variant or ""
        self.requests += 1
        self.failed += attempts[-1].read.error is not None
        self.by_variant[variant] = self.by_variant.get(variant, 0) + 1
        if needs_clerk:
            self.first_bad.setdefault(variant, datetime.now(UTC).isoformat())

    def state(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "at": datetime.now(UTC).isoformat(),
            "requests": self.requests,
            "failed": self.failed,
            "shed": self.shed,
            "unserved": self.unserved,
            "by_variant": self.by_variant,
            "first_bad": self.first_bad,
            "snapshot": self.client.version,
            "reports": self.client.counts,
        }

    async def keep_state(self, file: Path) -> None:
        while True:
            draft = file.with_suffix(".draft")
            draft.write_text(json.dumps(self.state()))
            draft.replace(file)
            await asyncio.sleep(0.5)


def parts(arrivals: Iterator[Arrival], *, service: str, route: str) -> Iterator[tuple[str, Arrival]]:
    """The part of the trace that this service plays: both read the same one, so together they play it whole.

    Of each twenty requests invoices serves fifteen and claims five, one of them on a route of its own.
    """
    waited = 0.0
    for number, arrival in enumerate(arrivals):
        waited += arrival.gap
        place = number % 20
        if (place % 4 == 3) != (service == "claims"):
            continue
        of = "claim-triage" if place == 19 else route
        yield of, Arrival(waited, arrival.context_tokens, arrival.generated_tokens)
        waited = 0.0


async def run(arguments: argparse.Namespace) -> None:
    demo = json.loads((arguments.data / "demo.json").read_text())
    keys = json.loads((arguments.data / "demo" / "keys.json").read_text())
    now = datetime.now(UTC)
    arrivals = trace.arrivals(
        file=arguments.trace,
        speed=arguments.speed,
        seed=arguments.seed,
        second_of_day=float(now.hour * 3600 + now.minute * 60),  # both services begin in the same minute, or nearly
    )
    client = changeover.Client(
        arguments.url,
        keys[arguments.name],
        name=arguments.name,
        remote=True,
        timeout_seconds=3,
        max_queued=MOST_QUEUED,
    )
    limits = httpx2.Limits(max_connections=MOST_IN_FLIGHT + 8, max_keepalive_connections=64)
    async with httpx2.AsyncClient(limits=limits, timeout=60, trust_env=False) as http:
        service = Service(name=arguments.name, client=client, http=http, providers=arguments.providers)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(service.keep_state(arguments.data / "demo" / f"{arguments.name}.json"))
            tasks.create_task(service.play(parts(arrivals, service=arguments.name, route=demo["route"])))


def main() -> None:
    die_with_parent()
    parser = argparse.ArgumentParser("python -m demo.service")
    parser.add_argument("--name", choices=NAMES, required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--providers", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--trace", type=Path)
    parser.add_argument("--speed", type=float)
    parser.add_argument("--seed", type=int, default=2511)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
