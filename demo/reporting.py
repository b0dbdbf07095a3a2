"""What a service tells the control plane: each second one native batch, kept until the door says that it is durable."""

import asyncio
import uuid
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx2

from demo.saying import say

MOST_CALLS = 2_000
MOST_BATCHES = 600  # ten minutes of silence; the oldest goes first, and the log says so
FINAL = {400, 404, 413, 415, 422}


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Told:
    """All attempts of one request and what became of it: they travel in one batch."""

    calls: list[dict[str, Any]]
    outcomes: list[dict[str, Any]]


@dataclass
class Reporter:
    http: httpx2.AsyncClient
    url: str
    key: str
    service: str
    snapshot: int | None = None
    fresh: list[Told] = field(default_factory=list)
    unsent: deque[dict[str, Any]] = field(default_factory=deque)
    sent_calls: int = 0
    dropped_batches: int = 0
    is_reachable: bool = True

    def tell(self, told: Told) -> None:
        self.fresh.append(told)

    async def run(self, every: float = 1.0) -> None:
        while True:
            await asyncio.sleep(every)
            self.pack()
            await self.send()

    def pack(self) -> None:
        while self.fresh:
            calls: list[dict[str, Any]] = []
            outcomes: list[dict[str, Any]] = []
            while self.fresh and len(calls) < MOST_CALLS:
                told = self.fresh.pop(0)
                calls += told.calls
                outcomes += told.outcomes
            client = {"name": self.service, "sdk": "changeover-demo/1.0", "snapshot": self.snapshot}
            self.unsent.append({"batch_id": str(uuid.uuid4()), "calls": calls, "outcomes": outcomes, "client": client})
        while len(self.unsent) > MOST_BATCHES:
            self.unsent.popleft()
            self.dropped_batches += 1

    async def send(self) -> None:
        """The same batch, with the same id, until it is answered: sent twice it counts once."""
        while self.unsent:
            batch = self.unsent[0]
            try:
                answer = await self.http.post(
                    f"{self.url}/api/v1/telemetry",
                    json=batch,
                    headers={"authorization": f"Bearer {self.key}"},
                    timeout=10,
                )
            except httpx2.HTTPError as error:
                return self.wait_for_better(f"{type(error).__name__}: {error}")
            if answer.status_code in FINAL:
                why = f"{answer.status_code} {answer.text[:300]}"
                say(f"{self.service}: the telemetry door refused a batch for good: {why}")
                self.unsent.popleft()
                continue
            if answer.status_code != 202:
                return self.wait_for_better(f"{answer.status_code} {answer.text[:200]}")
            self.unsent.popleft()
            self.sent_calls += len(batch["calls"])
            if not self.is_reachable:
                say(f"{self.service}: telemetry is accepted again; {len(self.unsent)} batches are on their way.")
            self.is_reachable = True

    def wait_for_better(self, why: str) -> None:
        if self.is_reachable:
            say(f"{self.service}: telemetry is kept here until the door opens again ({why.strip()}).")
        self.is_reachable = False
