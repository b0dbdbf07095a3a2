"""The simulated providers over real HTTP: who is known, and the usage in the answer."""

import json
import random

import httpx2
import pytest

from demo import providers, web

pytestmark = pytest.mark.asyncio

PROMPT = [{"role": "user", "content": "Which fields?"}]


class Running:
    async def __aenter__(self):
        self.providers = providers.Providers(seed=1)
        self.server = await web.listen(self.providers.answer)
        self.http = httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{web.port_of(self.server)}",
            timeout=60,
            limits=httpx2.Limits(max_connections=200),
        )
        return self

    async def __aexit__(self, *_):
        await self.http.aclose()
        self.server.close()

    async def ask(self, model, *, context=6000, generated=800, **more):
        metadata = {"context_tokens": str(context), "generated_tokens": str(generated)}
        body = {"model": model, "messages": PROMPT, "metadata": metadata, **more}
        return await self.http.post("/openai/v1/chat/completions", json=body)


async def test_usage_counts_what_was_asked_and_answered():
    async with Running() as running:
        answer = await running.ask("gpt-4.1", context=1200, generated=90)

    assert answer.status_code == 200
    assert answer.json()["usage"]["prompt_tokens"] == 1200
    assert answer.json()["usage"]["completion_tokens"] == 90
    assert set(json.loads(answer.json()["choices"][0]["message"]["content"])) >= {"supplier", "total"}


async def test_gpt_5_thinks_two_thousand_tokens_that_stand_in_its_output():
    async with Running() as running:
        usage = (await running.ask("gpt-5", context=500, generated=100)).json()["usage"]

    assert usage["completion_tokens"] == 2100
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 2000


async def test_a_stream_ends_with_the_usage_when_it_was_asked_for():
    async with Running() as running:
        answer = await running.ask("gpt-4.1", stream=True, stream_options={"include_usage": True}, generated=50)

    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["usage"]["completion_tokens"] == 50
    text = "".join(
        json.loads(event)["choices"][0]["delta"].get("content", "")
        for event in events[:-2]
        if json.loads(event)["choices"]
    )
    assert json.loads(text)["currency"] == "EUR"


@pytest.mark.parametrize(("model", "status"), [("gpt-4.1", 200), ("openai/gpt-4.1", 200), ("llama-7", 404)])
async def test_models_are_known_by_name(model, status):
    async with Running() as running:
        assert (await running.ask(model, generated=1)).status_code == status


async def test_a_body_that_is_no_request_is_400():
    async with Running() as running:
        assert (await running.http.post("/v1/chat/completions", content=b"{")).status_code == 400
        assert (await running.http.get("/elsewhere")).status_code == 404


async def test_the_same_seed_gives_the_same_luck():
    character = providers.CHARACTERS["gpt-4.1"]

    first = [providers.think(character, 100, 10, random.Random(4)) for _ in range(3)]

    assert first == [providers.think(character, 100, 10, random.Random(4)) for _ in range(3)]
