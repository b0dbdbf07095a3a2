"""A service asks the flag for each request, retries within bounds, and reports every attempt."""

import asyncio
from collections import Counter

import httpx2
import pytest

import changeover
from demo import providers, service, trace, web

pytestmark = pytest.mark.asyncio

ROUTE = "invoice-extraction"


class Running:
    def __init__(self, plane, answer=None):
        self.plane = plane
        self.answer = answer or providers.Providers(seed=1).answer

    async def __aenter__(self):
        self.server = await web.listen(self.answer)
        self.http = httpx2.AsyncClient(timeout=60, trust_env=False)
        self.client = changeover.Client(self.plane.url, "key", name="invoices", remote=True, flush_seconds=0.05)
        self.service = service.Service(
            name="invoices",
            client=self.client,
            http=self.http,
            providers=f"http://127.0.0.1:{web.port_of(self.server)}",
        )
        return self

    async def __aexit__(self, *_):
        await self.http.aclose()
        await asyncio.to_thread(self.client.close)
        self.server.close()

    async def serve(self, number=1, *, context=400, generated=20):
        arrivals = ((ROUTE, trace.Arrival(0, context, generated)) for _ in range(number))
        await self.service.play(arrivals)
        await asyncio.gather(*self.service.in_flight)

    async def report(self):
        assert await asyncio.to_thread(self.client.flush, 60)


def calls_of(plane):
    return [call for batch in plane.batches for call in batch["calls"]]


def outcomes_of(plane):
    return [outcome for batch in plane.batches for outcome in batch["outcomes"]]


async def hang(_request):
    await asyncio.sleep(30)


async def fail(_request):
    return providers.refusal(500, "out_of_memory", providers.OUT_OF_MEMORY)


async def garble(_request):
    thought = providers.Thought(0, 0, 400, 20, 0, fails=False, garbled=True)
    return web.answer_json(providers.completion("gpt-4.1", thought))


async def test_each_request_asks_with_its_own_id_which_its_calls_carry(plane):
    async with Running(plane) as running:
        await running.serve(3)
        await running.report()

    keys = [context["targetingKey"] for context in plane.asked]
    calls = calls_of(plane)
    assert len(set(keys)) == 3
    assert {call["request_id"] for call in calls} == set(keys)
    assert plane.asked[0]["service"] == "invoices"


async def test_a_call_says_what_it_cost_and_how_its_variant_was_chosen(plane):
    async with Running(plane) as running:
        await running.serve()
        await running.report()

    (call,) = calls_of(plane)
    assert call["route"] == ROUTE
    assert (call["provider"], call["model"]) == ("openai", "gpt-4.1")
    assert (call["input_tokens"], call["output_tokens"], call.get("error")) == (400, 20, None)
    assert (call["snapshot"], call["assigned"], call["assigned_by"]) == (412, "gpt-4.1", "split")
    assert call["attempt"] == 1
    assert call["final"] is True
    assert call["latency_ms"] > 50
    assert plane.batches[0]["client"]["name"] == "invoices"
    assert plane.batches[0]["client"]["snapshot"] == 412


async def test_a_good_answer_is_an_outcome_too(plane):
    async with Running(plane) as running:
        await running.serve()
        await running.report()

    (outcome,) = outcomes_of(plane)
    assert (outcome["name"], outcome["value"]) == ("handoff", 0)
    assert (outcome["snapshot"], outcome["assigned"], outcome["assigned_by"]) == (412, "gpt-4.1", "split")


async def test_a_time_out_is_retried_as_often_as_the_variant_allows_and_no_more(plane):
    plane.value |= {"timeout_ms": 50, "max_attempts": 3}
    async with Running(plane, hang) as running:
        await running.serve()
        await running.report()

    calls = calls_of(plane)
    assert [call["attempt"] for call in calls] == [1, 2, 3]
    assert [call["error"] for call in calls] == ["timeout"] * 3
    assert [call["final"] for call in calls] == [False, False, True]
    assert not any("input_tokens" in call or "output_tokens" in call for call in calls)
    assert all(45 < call["latency_ms"] < 25_000 for call in calls), "the provider answers after thirty seconds"
    assert outcomes_of(plane)[0]["value"] == 1


@pytest.mark.parametrize(("answer", "error"), [(fail, "out_of_memory"), (garble, "invalid_output")])
async def test_failures_have_a_class(plane, answer, error):
    async with Running(plane, answer) as running:
        await running.serve()
        await running.report()

    assert [call["error"] for call in calls_of(plane)] == [error, error]
    assert running.service.failed == 1
    assert "gpt-4.1" in running.service.first_bad


async def test_an_answer_with_a_missing_field_goes_to_the_clerk(plane):
    async def unsure(_request):
        thought = providers.Thought(0, 0, 400, 20, 0, unsure=True)
        return web.answer_json(providers.completion("gpt-4.1", thought))

    async with Running(plane, unsure) as running:
        await running.serve()
        await running.report()

    assert "error" not in calls_of(plane)[0]
    assert outcomes_of(plane)[0]["value"] == 1


async def test_an_answer_that_is_not_what_was_asked_for_is_billed_all_the_same(plane):
    async with Running(plane, garble) as running:
        await running.serve()
        await running.report()

    assert [call["input_tokens"] for call in calls_of(plane)] == [400, 400]


async def test_a_report_is_kept_until_the_door_takes_it_and_counts_once(plane):
    plane.telemetry_statuses = [503, 429]
    async with Running(plane) as running:
        await running.serve()
        await running.report()
        counts = running.client.counts

    batches = [batch for batch in plane.batches if batch["calls"]]
    assert len(batches) >= 2
    assert len({batch["batch_id"] for batch in batches}) == 1
    assert counts["sent_calls"] == 1
    assert counts["dropped"] == 0


async def test_all_attempts_of_a_request_travel_in_one_batch(plane):
    plane.value |= {"timeout_ms": 20, "max_attempts": 3}
    async with Running(plane, hang) as running:
        await running.serve(5)
        await running.report()

    for batch in plane.batches:
        attempts = Counter(call["request_id"] for call in batch["calls"])
        assert set(attempts.values()) <= {3}
    assert len(calls_of(plane)) == 15


async def test_the_control_plane_counts_its_own_exposures_so_the_service_tells_none(plane):
    async with Running(plane) as running:
        await running.serve(3)
        await running.report()

    assert not any(batch["exposures"] for batch in plane.batches)


async def test_when_the_flag_api_is_away_the_last_choice_serves_and_is_no_part_of_the_split(plane):
    async with Running(plane) as running:
        await running.serve()
        plane.flag_status = 503
        await running.serve()
        await running.report()

    calls = calls_of(plane)
    assert [call["assigned_by"] for call in calls] == ["split", "fallback"]


async def test_before_the_first_answer_of_the_flag_api_nothing_is_served(plane):
    plane.flag_status = 503
    async with Running(plane) as running:
        await running.serve()

        await running.report()

    assert running.service.unserved == 1
    assert not calls_of(plane)


async def test_the_two_services_play_the_whole_trace_between_them():
    def played(name):
        arrivals = (trace.Arrival(1.0, number, 1) for number in range(200))
        return list(service.parts(arrivals, service=name, route=ROUTE))

    invoices, claims = played("invoices"), played("claims")

    numbers = sorted(arrival.context_tokens for _, arrival in invoices + claims)
    assert numbers == list(range(200))
    assert len(invoices) == 150
    assert {route for route, _ in invoices} == {ROUTE}
    assert [route for route, _ in claims].count("claim-triage") == 10
    assert sum(arrival.gap for _, arrival in claims) == pytest.approx(200)
