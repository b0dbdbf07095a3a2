"""How long the simulated providers take, and what load does to GPT-5: by a clock that nobody waits for."""

import asyncio
import json
import random
import statistics

import pytest

from demo import providers, trace, web


class QuickClock(asyncio.SelectorEventLoop):
    """Where everybody sleeps, it is at once the moment at which the first of them wakes."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        look = self._selector.select

        def skip(timeout):
            self.now += timeout or 0.0
            return look(timeout and 0)

        self._selector.select = skip

    def time(self):
        return self.now


def run(story):
    with asyncio.Runner(loop_factory=QuickClock) as runner:
        return runner.run(story)


async def ask(simulated, model, *, context=6000, generated=800):
    metadata = {"context_tokens": str(context), "generated_tokens": str(generated)}
    body = {"model": model, "messages": [], "metadata": metadata}
    return await simulated.answer(web.Request("POST", "/v1/chat/completions", {}, json.dumps(body).encode()))


async def seconds(simulated, model, **tokens):
    clock = asyncio.get_running_loop().time
    began = clock()
    await ask(simulated, model, **tokens)
    return clock() - began


def quantiles(model, number=4000):
    dice = random.Random(3)
    arrivals = trace.generate(seed=5)
    taken = sorted(
        providers.think(providers.CHARACTERS[model], a.context_tokens, a.generated_tokens, dice).seconds
        for a, _ in zip(arrivals, range(number), strict=False)
    )
    return taken[number // 2], taken[number * 95 // 100]


def test_latency_grows_with_the_tokens():
    async def median(**tokens):
        simulated = providers.Providers(seed=1)
        return statistics.median([await seconds(simulated, "gemini-2.5-flash-lite", **tokens) for _ in range(5)])

    assert run(median(context=200, generated=20)) < 0.12
    assert run(median(context=9000, generated=1500)) > 0.25


def test_baseline_and_goal_resemble_the_article():
    before, before_p95 = quantiles("gpt-4.1")
    after, after_p95 = quantiles("gemini-2.5-flash-lite")

    assert before == pytest.approx(0.42, rel=0.1)
    assert after == pytest.approx(0.19, rel=0.1)
    assert before_p95 < 1.2
    assert after_p95 < 0.6


def test_gpt_5_alone_stays_below_its_time_out():
    median, _ = quantiles("gpt-5")

    assert 1.0 < median < 1.6


def test_under_load_a_rising_share_of_gpt_5_calls_takes_more_than_two_seconds():
    simulated = providers.Providers(seed=1)

    async def call():
        try:
            async with asyncio.timeout(2):
                answer = await ask(simulated, "gpt-5")
        except TimeoutError:
            return "timeout"
        return "fine" if answer.status == 200 else json.loads(answer.body)["error"]["code"]

    async def story():
        alone = [await call() for _ in range(2)]
        return alone, await asyncio.gather(*(call() for _ in range(24)))

    alone, together = run(story())

    assert alone == ["fine", "fine"]
    assert together.count("timeout") >= 8
    assert "out_of_memory" in together
    assert together.count("fine") <= 8


def test_a_caller_who_gives_up_does_not_free_the_slot():
    simulated = providers.Providers(seed=1)

    async def story():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await ask(simulated, "gpt-5")
        return simulated.machines["gpt-5"].busy

    assert run(story()) == 1
