"""A small service, as a user of Changeover would write it: ask the flag, call the model, report what happened.

`python -m demo.service` plays its part of the trace. Per request it asks the flag API which variant serves (OFREP, with
the request's own id as targeting key), calls the provider with that variant's time-out and attempts, and reports every
attempt. What failed, has a field missing or took longer than a clerk waits goes to the clerk: a handoff.
"""

import argparse
import asyncio
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2

from controlplane.parentage import die_with_parent
from demo import trace
from demo.reporting import Reporter, Told, moment
from demo.saying import say

PATIENCE_MS = 1_200.0  # of the clerk who waits for the fields of an invoice
MOST_IN_FLIGHT = 400
MOST_LAG = 5.0
REFUSED = {"out_of_memory", "rate_limited"}


@dataclass(frozen=True, slots=True)
class Choice:
    """What the flag API said for one request."""

    value: dict[str, Any]
    variant: str
    assigned_by: str | None
    snapshot: int | None

    def instead(self) -> "Choice":
        """The same choice for a request that nobody could ask for: it is no part of the split."""
        return Choice(self.value, self.variant, "fallback", self.snapshot)


class NoChoiceYet(Exception):
    pass


@dataclass
class Flags:
    """OpenFeature Remote Evaluation, one call per request. While nobody answers, the last default serves."""

    http: httpx2.AsyncClient
    url: str
    key: str
    service: str
    last: dict[str, Choice] = field(default_factory=dict)
    is_reachable: bool = True

    async def choose(self, route: str, request_id: str) -> Choice:
        try:
            answer = await self.http.post(
                f"{self.url}/ofrep/v1/evaluate/flags/{route}",
                json={"context": {"targetingKey": request_id, "service": self.service}},
                headers={"authorization": f"Bearer {self.key}"},
                timeout=2,
            )
            answer.raise_for_status()
            choice = read_choice(answer.json())
        except (httpx2.HTTPError, KeyError, TypeError, ValueError) as error:
            if self.is_reachable:
                say(f"{self.service}: the flag API does not answer ({short(error)}); the last known variant serves.")
            self.is_reachable = False
            if route not in self.last:
                raise NoChoiceYet(route) from error
            return self.last[route].instead()
        if not self.is_reachable:
            say(f"{self.service}: the flag API answers again.")
        self.is_reachable = True
        self.last[route] = choice
        return choice


def short(error: Exception) -> str:
    if isinstance(error, httpx2.HTTPStatusError):
        return str(error.response.status_code)
    return type(error).__name__


def read_choice(answer: dict[str, Any]) -> Choice:
    value = answer["value"]
    metadata = answer.get("metadata") or {}
    snapshot = metadata.get("version")
    return Choice(
        value=value,
        variant=answer.get("variant") or value["variant"],
        assigned_by=metadata.get("assigned_by"),
        snapshot=int(snapshot) if snapshot is not None and str(snapshot).isdigit() else None,
    )


@dataclass
class Attempt:
    began: float
    seconds: float
    error: str | None
    usage: dict[str, Any] | None
    is_complete: bool = True
    """Whether the answer has all the fields."""


@dataclass(frozen=True, slots=True)
class Read:
    """What an answer of the provider says."""

    error: str | None
    usage: dict[str, Any] | None = None
    is_complete: bool = False


class Service:
    def __init__(
        self, *, name: str, http: httpx2.AsyncClient, flags: Flags, reporter: Reporter, providers: str
    ) -> None:
        self.name = name
        self.http = http
        self.flags = flags
        self.reporter = reporter
        self.providers = providers
        self.requests = self.failed = self.shed = self.unserved = 0
        self.by_variant: dict[str, int] = {}
        self.first_bad: dict[str, str] = {}
        self.in_flight: set[asyncio.Task[None]] = set()

    async def play(self, arrivals: Iterator[tuple[str, trace.Arrival]]) -> None:
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

    async def serve(self, route: str, arrival: trace.Arrival) -> None:
        request_id = f"r-{uuid.uuid4().hex}"
        try:
            choice = await self.flags.choose(route, request_id)
        except NoChoiceYet:
            self.unserved += 1
            return
        attempts = await self.ask_model(choice, arrival)
        self.note(route, request_id, choice, attempts)

    async def ask_model(self, choice: Choice, arrival: trace.Arrival) -> list[Attempt]:
        """As often as the variant allows, not once more: retries without bound blew the article's budget."""
        attempts: list[Attempt] = []
        for _ in range(int(choice.value.get("max_attempts") or 1)):
            attempts.append(await self.ask_once(choice, arrival))
            if attempts[-1].error is None:
                break
        return attempts

    async def ask_once(self, choice: Choice, arrival: trace.Arrival) -> Attempt:
        provider, _, model = choice.value["model"].partition("/")
        began, clock = time.time(), time.perf_counter()
        try:
            async with asyncio.timeout(choice.value["timeout_ms"] / 1000):
                answer = await self.http.post(
                    f"{self.providers}/{provider}/v1/chat/completions",
                    json={
                        "model": model,
                        "messages": [
                            {"role": "user", "content": "Which fields does this document have? Answer in JSON."}
                        ],
                        "metadata": {
                            "context_tokens": str(arrival.context_tokens),
                            "generated_tokens": str(arrival.generated_tokens),
                        },
                    },
                )
            read = read_answer(answer)
        except TimeoutError:
            read = Read("timeout")
        except httpx2.HTTPError:
            read = Read("connection")
        return Attempt(began, time.perf_counter() - clock, read.error, read.usage, read.is_complete)

    def note(self, route: str, request_id: str, choice: Choice, attempts: list[Attempt]) -> None:
        told = tell(route, request_id, choice, attempts)
        self.reporter.snapshot = choice.snapshot or self.reporter.snapshot
        self.reporter.tell(told)
        self.requests += 1
        self.failed += attempts[-1].error is not None
        self.by_variant[choice.variant] = self.by_variant.get(choice.variant, 0) + 1
        if told.outcomes[0]["value"]:
            self.first_bad.setdefault(choice.variant, datetime.now(UTC).isoformat())

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
            "snapshot": self.reporter.snapshot,
            "reported_calls": self.reporter.sent_calls,
            "unsent_batches": len(self.reporter.unsent),
            "dropped_batches": self.reporter.dropped_batches,
        }

    async def keep_state(self, file: Path) -> None:
        while True:
            draft = file.with_suffix(".draft")
            draft.write_text(json.dumps(self.state()))
            draft.replace(file)
            await asyncio.sleep(0.5)


def tell(route: str, request_id: str, choice: Choice, attempts: list[Attempt]) -> Told:
    """One request in the words of the native batch: every attempt is a call, and the clerk's handoff an outcome."""
    provider, _, model = choice.value["model"].partition("/")
    how = {"variant": choice.variant, "snapshot": choice.snapshot, "assigned": choice.variant}
    if choice.assigned_by:
        how["assigned_by"] = choice.assigned_by
    calls = []
    for number, attempt in enumerate(attempts, start=1):
        usage = attempt.usage or {}
        calls.append(
            {
                "id": f"{request_id}-{number}",
                "at": moment(attempt.began),
                "route": route,
                "provider": provider,
                "model": model,
                "request_id": request_id,
                "attempt": number,
                "latency_ms": round(attempt.seconds * 1000, 3),
                "input_tokens": usage.get("prompt_tokens"),
                "cached_input_tokens": (usage.get("prompt_tokens_details") or {}).get("cached_tokens"),
                "output_tokens": usage.get("completion_tokens"),
                "error": attempt.error,
                "final": number == len(attempts),
                **how,
            }
        )
    last = attempts[-1]
    ended = last.began + last.seconds
    is_late = (ended - attempts[0].began) * 1000 > PATIENCE_MS
    outcome = {
        "id": f"{request_id}-handoff",
        "at": moment(ended),
        "route": route,
        "request_id": request_id,
        "name": "handoff",
        "value": int(is_late or last.error is not None or not last.is_complete),
        **how,
    }
    return Told(calls, [outcome])


def read_answer(answer: httpx2.Response) -> Read:
    if answer.status_code == 429:
        return Read("rate_limited")
    try:
        body = answer.json()
        if answer.status_code >= 400:
            code = body["error"]["code"]
            return Read(code if code in REFUSED else "provider_error")
        usage = body["usage"]
        text = body["choices"][0]["message"]["content"]
    except (ValueError, KeyError, TypeError, IndexError):
        return Read("provider_error")
    try:
        fields = json.loads(text)
    except ValueError:
        return Read("invalid_output", usage)
    return Read(None, usage, is_complete=all(value is not None for value in fields.values()))


def parts(arrivals: Iterator[trace.Arrival], *, service: str, route: str) -> Iterator[tuple[str, trace.Arrival]]:
    """The part of the trace that this service plays: both read the same one, so together they play it whole.

    Of each twenty requests invoices serves fifteen and claims five, one of them on a route of its own.
    """
    waited = 0.0
    for number, arrival in enumerate(arrivals):
        waited += arrival.gap
        place = number % 20
        if (place % 4 == 3) != (service == "claims"):
            continue
        yield (
            "claim-triage" if place == 19 else route,
            trace.Arrival(waited, arrival.context_tokens, arrival.generated_tokens),
        )
        waited = 0.0


async def run(arguments: argparse.Namespace) -> None:
    demo = json.loads((arguments.data / "demo.json").read_text())
    state = arguments.data / "demo"
    state.mkdir(exist_ok=True)
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    arrivals = trace.arrivals(
        file=arguments.trace,
        speed=arguments.speed,
        seed=arguments.seed,
        second_of_day=float(int(datetime.now(UTC).timestamp() - midnight.timestamp()) // 60 * 60),
    )
    limits = httpx2.Limits(max_connections=MOST_IN_FLIGHT + 8, max_keepalive_connections=64)
    async with (
        httpx2.AsyncClient(limits=limits, timeout=60, trust_env=False) as models,
        httpx2.AsyncClient(limits=limits, trust_env=False) as plane,
    ):
        service = Service(
            name=arguments.name,
            http=models,
            flags=Flags(plane, arguments.url, demo["keys"]["read"], arguments.name),
            reporter=Reporter(plane, arguments.url, demo["keys"]["report"], arguments.name),
            providers=arguments.providers,
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(service.reporter.run())
            tasks.create_task(service.keep_state(state / f"{arguments.name}.json"))
            tasks.create_task(service.play(parts(arrivals, service=arguments.name, route=demo["route"])))


def main() -> None:
    die_with_parent()
    parser = argparse.ArgumentParser("python -m demo.service")
    parser.add_argument("--name", choices=["invoices", "claims"], required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--providers", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--trace", type=Path)
    parser.add_argument("--speed", type=float)
    parser.add_argument("--seed", type=int, default=2511)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
