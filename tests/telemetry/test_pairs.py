"""A pair is a live answer and its shadow: both legs in one row, however they came."""

import itertools
from datetime import timedelta

import pytest

from apps.access import services as access
from apps.core.actors import WORKER
from apps.telemetry import keeping, queries
from apps.telemetry.models import Pair, RawCalls
from tests.telemetry.make_telemetry import NOW, ROUTE, call, count, make_environment, make_route, outcome, sent

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def environment_with_a_route(db):
    make_route(now=NOW - HOUR)


LEGS = [
    call(id="l-1", pair_id="p-1", variant="gpt-4.1", model="gpt-4.1", provider="openai", error="timeout",
         at="2026-11-24T02:59:40Z", latency_ms=2000, cost_usd="0.001"),
    call(id="l-2", pair_id="p-1", variant="gpt-4.1", model="gpt-4.1", provider="openai",
         at="2026-11-24T02:59:43Z", latency_ms=1500, cost_usd="0.002", output_tokens=70),
    call(id="s-1", pair_id="p-1", arm="shadow", at="2026-11-24T02:59:40Z", latency_ms=800, output_tokens=90),
]  # fmt: skip


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("apart", [True, False])
def test_legs_in_any_order_and_any_grouping_make_the_same_pair(order, apart):
    calls = [LEGS[n] for n in order]

    for told in [[one] for one in calls] if apart else [calls]:
        count(sent(*told))

    pair = Pair.objects.get()
    assert (pair.live_variant, pair.live_error, pair.live_output_tokens) == ("gpt-4.1", "", 70)
    assert (pair.live_calls, pair.live_nano) == (2, 3_000_000)
    assert pair.live_ended_at - pair.live_began_at == timedelta(seconds=4.5)
    assert (pair.shadow_variant, pair.shadow_calls, pair.shadow_output_tokens) == ("flash-lite", 1, 90)
    assert pair.shadow_nano == 1000 * 100 + 90 * 400


def test_a_leg_that_comes_twice_is_added_once():
    count(sent(LEGS[2]), sent(LEGS[2]))

    assert Pair.objects.get().shadow_calls == 1


def test_an_outcome_named_grade_grades_the_pair_of_its_request():
    count(sent(*LEGS))

    count(sent(outcomes=[outcome(name="grade", value=0.5, request_id="p-1"), outcome(request_id="p-1", value=0)]))

    assert Pair.objects.get().grade == 0.5


def test_a_grade_may_come_before_its_legs():
    count(sent(outcomes=[outcome(name="grade", value=1, request_id="p-1")]))
    count(sent(*LEGS))

    assert (Pair.objects.get().grade, Pair.objects.get().live_calls) == (1.0, 2)


def test_pairs_stay_when_single_calls_are_not_kept(settings):
    settings.RAW_HOURS = 0
    count(sent(*LEGS))

    keeping.forget_old(NOW + timedelta(days=2))

    assert not RawCalls.objects.exists()
    assert Pair.objects.count() == 1
    assert [pair.pair_id for pair in queries.pairs("production", ROUTE, NOW - HOUR, NOW + HOUR)] == ["p-1"]


def test_calls_of_no_pair_leave_none():
    count(sent(call()))

    assert not Pair.objects.exists()


def test_the_answer_has_both_legs_or_says_which_is_missing(client):
    count(sent(LEGS[0], LEGS[1], call(pair_id="p-2", arm="shadow")), sent(LEGS[2]))
    _, key = access.create_key(environment=make_environment(), name="r", scopes=["manage:read"], by=WORKER, now=NOW)
    asked = {"environment": "production", "route": ROUTE, "from": "2026-11-24T02:00:00Z", "to": "2026-11-24T04:00:00Z"}

    told = client.get("/api/v1/pairs/", asked, headers={"authorization": f"Bearer {key}"}).json()["results"]

    pairs = {pair["pair_id"]: pair for pair in told}
    assert pairs["p-1"]["live"]["cost_usd"] == "0.003000"
    assert pairs["p-1"]["live"]["latency_ms"] == 4500
    assert pairs["p-1"]["shadow"]["variant"] == "flash-lite"
    assert (pairs["p-2"]["live"], pairs["p-2"]["grade"]) == (None, None)
