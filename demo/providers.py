"""Simulated model providers: an OpenAI-compatible server whose latencies, failures and usage come from tokens and load.

`POST …/v1/chat/completions` with any of the models in `CHARACTERS`. How many tokens the request has is taken from its
`metadata` (`context_tokens`, `generated_tokens`, as text, the way OpenAI's own field wants it), so that a request of
30,000 tokens need not travel as 120 kB; without it, four characters are a token. Usage stands in the answer.

GPT-5 here is what the article met: it thinks 2,000 tokens before each answer, it has few slots, and what does not fit
waits. A client that gives up does not free its slot (providers finish and bill what was asked), so every retry makes
the queue longer; when the queue is full, the model is out of memory. Nobody wrote "bad" on it: latency, time-outs and
cost are measured by the services that call it.
"""

import argparse
import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from controlplane.parentage import die_with_parent
from demo import web

REASONING_TOKENS_OF_GPT_5 = 2_000
OUT_OF_MEMORY = "CUDA out of memory at step 42"


@dataclass(frozen=True, slots=True)
class Character:
    """How a simulated model behaves when nothing is queued."""

    model: str
    first_ms: float
    ms_per_1k_input: float
    ms_per_1k_output: float
    jitter: float = 0.15
    """Sigma of the log-normal factor on every latency."""
    straggles: float = 0.01
    """Share of calls that take two to three times as long."""
    reasoning_tokens: int = 0
    slots: int = 256
    most_waiting: int = 1024
    fails: float = 0.002
    """Share of calls answered by a 500."""
    garbles: float = 0.002
    """Share of answers that are not the JSON that was asked for."""
    unsure: float = 0.003
    """Share of answers in which the total is null: the document cannot be read by a model."""


CHARACTERS = {
    each.model: each
    for each in (
        Character("gpt-4.1", first_ms=95, ms_per_1k_input=12, ms_per_1k_output=380),
        Character(
            "gpt-5",
            first_ms=160,
            ms_per_1k_input=14,
            ms_per_1k_output=400,
            reasoning_tokens=REASONING_TOKENS_OF_GPT_5,
            slots=4,
            most_waiting=12,
        ),
        Character("gemini-2.5-flash-lite", first_ms=55, ms_per_1k_input=4, ms_per_1k_output=165),
    )
}


@dataclass(frozen=True, slots=True)
class Thought:
    """One call as it would go without a queue."""

    seconds: float
    first_token_seconds: float
    input_tokens: int
    output_tokens: int
    """With the reasoning tokens, as providers bill them."""
    reasoning_tokens: int
    fails: bool = False
    garbled: bool = False
    unsure: bool = False


def think(character: Character, context_tokens: int, generated_tokens: int, dice: random.Random) -> Thought:
    output = generated_tokens + character.reasoning_tokens
    factor = dice.lognormvariate(0, character.jitter)
    if dice.random() < character.straggles:
        factor *= dice.uniform(2, 3)
    first = factor * (character.first_ms + character.ms_per_1k_input * context_tokens / 1000) / 1000
    whole = first + factor * character.ms_per_1k_output * output / 1_000_000
    luck = dice.random()
    return Thought(
        seconds=whole,
        first_token_seconds=first,
        input_tokens=context_tokens,
        output_tokens=output,
        reasoning_tokens=character.reasoning_tokens,
        fails=luck < character.fails,
        garbled=character.fails <= luck < character.fails + character.garbles,
        unsure=luck >= 1 - character.unsure,
    )


class OutOfMemory(Exception):
    pass


@dataclass
class Machine:
    """One model with its slots and its queue."""

    character: Character
    dice: random.Random
    busy: int = 0
    waiting: int = 0
    served: int = 0
    free: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.free = asyncio.Semaphore(self.character.slots)

    async def work(self, thought: Thought) -> None:
        if self.waiting >= self.character.most_waiting:
            raise OutOfMemory
        self.waiting += 1
        await self.free.acquire()
        self.waiting -= 1
        self.busy += 1
        try:
            await asyncio.sleep(thought.seconds)
        finally:
            self.busy -= 1
            self.served += 1
            self.free.release()


class Providers:
    def __init__(self, *, seed: int) -> None:
        self.machines = {
            model: Machine(character, random.Random(f"{seed} {model}")) for model, character in CHARACTERS.items()
        }
        self.running: set[asyncio.Task[None]] = set()

    async def answer(self, request: web.Request) -> web.Answer:
        if request.method == "GET" and request.path == "/healthz":
            state = {model: {"busy": m.busy, "waiting": m.waiting} for model, m in self.machines.items()}
            return web.answer_json(state)
        if request.method == "GET" and request.path.endswith("/v1/models"):
            models = [{"id": model, "object": "model", "owned_by": "simulated"} for model in self.machines]
            return web.answer_json({"object": "list", "data": models})
        if request.method != "POST" or not request.path.endswith("/v1/chat/completions"):
            return refusal(404, "not_found", "unknown address")
        try:
            asked = json.loads(request.body)
            machine = self.machines.get(str(asked["model"]).rpartition("/")[2])
            context, generated = tokens_of(asked)
        except (ValueError, KeyError, TypeError, AttributeError):
            return refusal(400, "invalid_request", "the body is not a chat completion request")
        if machine is None:
            return refusal(404, "model_not_found", f"there is no model {asked['model']}")

        thought = think(machine.character, context, generated, machine.dice)
        if thought.fails:
            return refusal(500, "server_error", "the simulated provider had a bad moment")
        # A task of its own: the slot stays taken when the client hangs up.
        working = asyncio.create_task(machine.work(thought))
        self.running.add(working)
        working.add_done_callback(self.forget)
        if asked.get("stream"):
            wants_usage = bool((asked.get("stream_options") or {}).get("include_usage"))
            pieces = stream(asked["model"], thought, working, wants_usage)
            return web.Answer(200, content_type="text/event-stream", pieces=pieces)
        try:
            await asyncio.shield(working)
        except OutOfMemory:
            return refusal(500, "out_of_memory", OUT_OF_MEMORY)
        return web.answer_json(completion(asked["model"], thought))

    def forget(self, working: asyncio.Task[None]) -> None:
        self.running.discard(working)
        if not working.cancelled():
            working.exception()  # whoever asked may be gone: seen here, so that asyncio does not complain


def tokens_of(asked: dict[str, Any]) -> tuple[int, int]:
    metadata = asked.get("metadata") or {}
    characters = sum(len(str(message.get("content") or "")) for message in asked["messages"])
    context = int(metadata.get("context_tokens") or max(1, characters // 4))
    generated = int(metadata.get("generated_tokens") or 200)
    most = asked.get("max_completion_tokens") or asked.get("max_tokens")
    return context, min(generated, int(most)) if most else generated


def content(thought: Thought) -> str:
    if thought.garbled:
        return '{"supplier": "Acme Paper", "total": "1,2'
    total = None if thought.unsure else "1204.50"
    return json.dumps({"supplier": "Acme Paper", "total": total, "currency": "EUR", "due_on": "2026-12-24"})


def usage(thought: Thought) -> dict[str, Any]:
    return {
        "prompt_tokens": thought.input_tokens,
        "completion_tokens": thought.output_tokens,
        "total_tokens": thought.input_tokens + thought.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": thought.reasoning_tokens},
    }


def completion(model: str, thought: Thought) -> dict[str, Any]:
    message = {"role": "assistant", "content": content(thought)}
    return {
        "id": f"chatcmpl-{time.time_ns():x}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage(thought),
    }


async def stream(model: str, thought: Thought, working: asyncio.Task[None], wants_usage: bool) -> AsyncIterator[bytes]:
    """The text in words once the first token is there; the whole takes as long as it takes."""

    def chunk(**fields: Any) -> bytes:
        event = {
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
            "choices": [],
            **fields,
        }
        return b"data: " + json.dumps({"id": "chatcmpl-stream", **event}).encode() + b"\n\n"

    try:
        await asyncio.wait_for(asyncio.shield(working), thought.first_token_seconds)
    except TimeoutError:
        pass
    except OutOfMemory:
        yield b"data: " + refusal(500, "out_of_memory", OUT_OF_MEMORY).body + b"\n\n"
        return
    head, _, rest = content(thought).partition(" ")
    yield chunk(choices=[{"index": 0, "delta": {"role": "assistant", "content": head + " "}, "finish_reason": None}])
    try:
        await asyncio.shield(working)
    except OutOfMemory:
        yield b"data: " + refusal(500, "out_of_memory", OUT_OF_MEMORY).body + b"\n\n"
        return
    yield chunk(choices=[{"index": 0, "delta": {"content": rest}, "finish_reason": None}])
    yield chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
    if wants_usage:
        yield chunk(usage=usage(thought))
    yield b"data: [DONE]\n\n"


def refusal(status: int, code: str, message: str) -> web.Answer:
    return web.answer_json({"error": {"message": message, "type": code, "code": code}}, status)


async def run(port: int, seed: int) -> None:
    server = await web.listen(Providers(seed=seed).answer, port=port)
    await server.serve_forever()


def main() -> None:
    die_with_parent()
    parser = argparse.ArgumentParser("python -m demo.providers")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seed", type=int, default=2511)
    arguments = parser.parse_args()
    asyncio.run(run(arguments.port, arguments.seed))


if __name__ == "__main__":
    main()
