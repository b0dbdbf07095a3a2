"""The half hour before the demo is one that the simulated model could have had."""

import statistics

import pytest

from changeover import Resolved
from demo import history, providers, trace

VALUE = {"model": "openai/gpt-4.1", "timeout_ms": 2000, "max_attempts": 2}
CHOICE = Resolved("invoice-extraction", "r-1", VALUE, "gpt-4.1", "DEFAULT", None, None, 7, "default")
UNTIL = 1_795_500_000.0


@pytest.fixture(scope="module")
def told():
    return list(history.requests(trace.generate(seed=2), choice=CHOICE, seed=1, until=UNTIL))


def test_it_covers_thirty_minutes_at_about_forty_requests_a_second(told):
    moments = [each.calls[0]["at"] for each in told]

    assert moments == sorted(moments)
    assert 27 < len(told) / history.SECONDS < 55


def test_each_request_ends_with_its_final_call_and_has_one_outcome(told):
    for each in told:
        assert [call["final"] for call in each.calls] == [False] * (len(each.calls) - 1) + [True]
        assert len({call["request_id"] for call in each.calls}) == 1
        assert [outcome["value"] for outcome in each.outcomes] in ([0], [1])


def test_it_has_the_tokens_of_the_trace_that_is_played():
    arrivals = iter([trace.Arrival(1.0, 374, 44), trace.Arrival(1.0, 396, 109)])

    told = list(history.requests(arrivals, choice=CHOICE, seed=1, until=UNTIL))

    assert [each.calls[0]["input_tokens"] for each in told] == [374, 396]


def test_ids_are_unique(told):
    ids = [call["id"] for each in told for call in each.calls]

    assert len(ids) == len(set(ids))


def test_it_says_which_variant_was_assigned_and_how(told):
    call = told[0].calls[0]

    assert (call["assigned"], call["assigned_by"], call["snapshot"]) == ("gpt-4.1", "default", 7)


def test_its_latencies_and_money_are_those_of_the_simulated_model(told):
    finals = [each.calls[-1] for each in told if each.calls[-1]["error"] is None]
    cost = statistics.mean((call["input_tokens"] * 2 + call["output_tokens"] * 8) / 1e6 for call in finals)

    assert statistics.median(call["latency_ms"] for call in finals) == pytest.approx(420, rel=0.1)
    assert 1000 * cost == pytest.approx(18.40, rel=0.03)


def test_a_few_requests_fail_at_first_and_hardly_one_at_last(told):
    retried = sum(len(each.calls) == 2 for each in told) / len(told)
    failed = sum(each.calls[-1]["error"] is not None for each in told) / len(told)

    assert 0.001 < retried < 0.01
    assert failed < 0.0005


@pytest.mark.parametrize(
    ("thought", "error", "seconds", "has_usage"),
    [
        (providers.Thought(0.4, 0.1, 10, 5, 0, False, False), None, 0.404, True),
        (providers.Thought(0.4, 0.1, 10, 5, 0, True, False), "provider_error", 0.004, False),
        (providers.Thought(0.4, 0.1, 10, 5, 0, False, True), "invalid_output", 0.404, True),
        (providers.Thought(2.4, 0.1, 10, 5, 0, False, False), "timeout", 2.0, False),
    ],
    ids=["fine", "fails", "garbled", "too slow"],
)
def test_what_an_attempt_would_have_seen(thought, error, seconds, has_usage):
    attempt = history.attempt(thought, UNTIL, 2.0)

    assert attempt.read.error == error
    assert attempt.seconds == pytest.approx(seconds)
    assert (attempt.read.usage is not None) == has_usage
