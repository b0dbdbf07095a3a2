"""The simulated providers over real HTTP: latency from tokens, usage in the answer, and what load does to GPT-5."""

import asyncio
import json
import random
import statistics

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
            timeout=30,
            limits=httpx2.Limits(max_connections=200),
        )
        return self

    async def __aexit__(self, *_):
        await self.http.aclose()
        self.server.close()

    async def ask(self, model, *, context=6000, generated=800, timeout=None, **more):
        metadata = {"context_tokens": str(context), "generated_tokens": str(generated)}
        body = {"model": model, "messages": PROMPT, "metadata": metadata, **more}
        async with asyncio.timeout(timeout):
            return await self.http.post("/openai/v1/chat/completions", json=body)


async def timed(running, model, **more):
    clock = asyncio.get_running_loop().time
    began = clock()
    answer = await running.ask(model, **more)
    return clock() - began, answer


def quantiles(model, number=4000):
    dice = random.Random(3)
    from demo import trace

    arrivals = trace.generate(seed=5)
    taken = sorted(
        providers.think(providers.CHARACTERS[model], a.context_tokens, a.generated_tokens, dice).seconds
        for a, _ in zip(arrivals, range(number), strict=False)
    )
    return taken[number // 2], taken[number * 95 // 100]


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


async def test_latency_grows_with_the_tokens():
    async with Running() as running:
        short = [await timed(running, "gemini-2.5-flash-lite", context=200, generated=20) for _ in range(5)]
        long = [await timed(running, "gemini-2.5-flash-lite", context=9000, generated=1500) for _ in range(5)]

    assert statistics.median(s for s, _ in short) < 0.12
    assert statistics.median(s for s, _ in long) > 0.25


async def test_baseline_and_goal_resemble_the_article():
    before, before_p95 = quantiles("gpt-4.1")
    after, after_p95 = quantiles("gemini-2.5-flash-lite")

    assert before == pytest.approx(0.42, rel=0.1)
    assert after == pytest.approx(0.19, rel=0.1)
    assert before_p95 < 1.2
    assert after_p95 < 0.6


async def test_gpt_5_alone_stays_below_its_time_out():
    median, _ = quantiles("gpt-5")

    assert 1.0 < median < 1.6


async def test_under_load_a_rising_share_of_gpt_5_calls_takes_more_than_two_seconds():
    async def call():
        try:
            answer = await running.ask("gpt-5", timeout=2)
        except TimeoutError:
            return "timeout"
        return "fine" if answer.status_code == 200 else answer.json()["error"]["code"]

    async with Running() as running:
        alone = [await call() for _ in range(2)]
        together = await asyncio.gather(*(call() for _ in range(24)))

    assert alone == ["fine", "fine"]
    assert together.count("timeout") >= 8
    assert "out_of_memory" in together
    assert together.count("fine") <= 8


async def test_a_caller_who_gives_up_does_not_free_the_slot():
    async with Running() as running:
        with pytest.raises(TimeoutError):
            await running.ask("gpt-5", timeout=0.2)

        assert running.providers.machines["gpt-5"].busy == 1


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
