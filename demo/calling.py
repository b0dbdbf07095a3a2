"""One call of a model by a service: what was asked, what came back, and whether a clerk has to take over."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2

from demo.trace import Arrival

PATIENCE_MS = 1_200.0  # of the clerk who waits for the fields of an invoice
NAMED_ERRORS = {"out_of_memory", "rate_limited"}


@dataclass(frozen=True, slots=True)
class Read:
    """What an answer of the provider says."""

    error: str | None
    usage: dict[str, Any] | None = None
    is_complete: bool = False
    """Whether the answer has all the fields."""


@dataclass(frozen=True, slots=True)
class Attempt:
    began: float
    seconds: float
    read: Read

    @property
    def tokens(self) -> dict[str, int | None]:
        """None is "nobody told", which is not zero: such a call is estimated, never free."""
        usage = self.read.usage or {}
        return {
            "input_tokens": usage.get("prompt_tokens"),
            "cached_input_tokens": (usage.get("prompt_tokens_details") or {}).get("cached_tokens"),
            "output_tokens": usage.get("completion_tokens"),
        }


async def ask(http: httpx2.AsyncClient, providers: str, config: Mapping[str, Any], arrival: Arrival) -> list[Attempt]:
    """As often as the variant allows, not once more: retries without bound blew the article's budget."""
    attempts: list[Attempt] = []
    for _ in range(int(config.get("max_attempts") or 1)):
        attempts.append(await ask_once(http, providers, config, arrival))
        if attempts[-1].read.error is None:
            break
    return attempts


async def ask_once(http: httpx2.AsyncClient, providers: str, config: Mapping[str, Any], arrival: Arrival) -> Attempt:
    provider, _, model = config["model"].partition("/")
    began, clock = time.time(), time.perf_counter()
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "Which fields does this document have? Answer in JSON."}],
        "metadata": {
            "context_tokens": str(arrival.context_tokens),
            "generated_tokens": str(arrival.generated_tokens),
        },
    }
    try:
        async with asyncio.timeout(config["timeout_ms"] / 1000):
            read = read_answer(await http.post(f"{providers}/{provider}/v1/chat/completions", json=body))
    except TimeoutError:
        read = Read("timeout")
    except httpx2.HTTPError:
        read = Read("connection")
    return Attempt(began, time.perf_counter() - clock, read)


def read_answer(answer: httpx2.Response) -> Read:
    if answer.status_code == 429:
        return Read("rate_limited")
    try:
        body = answer.json()
        if answer.status_code >= 400:
            code = body["error"]["code"]
            return Read(code if code in NAMED_ERRORS else "provider_error")
        usage = body["usage"]
        text = body["choices"][0]["message"]["content"]
    except (ValueError, KeyError, TypeError, IndexError):
        return Read("provider_error")
    try:
        fields = json.loads(text)
    except ValueError:
        return Read("invalid_output", usage)
    return Read(None, usage, is_complete=all(value is not None for value in fields.values()))


def ended(attempts: Sequence[Attempt]) -> float:
    return attempts[-1].began + attempts[-1].seconds


def needs_clerk(attempts: Sequence[Attempt]) -> bool:
    """A handoff: the request failed, a field is missing, or it took longer than the clerk waits."""
    last = attempts[-1].read
    is_late = (ended(attempts) - attempts[0].began) * 1000 > PATIENCE_MS
    return is_late or last.error is not None or not last.is_complete
