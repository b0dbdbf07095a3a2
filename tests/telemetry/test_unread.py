"""A look is everything that was committed since the last one, late rows included."""

from datetime import timedelta

import pytest

from apps.core.actors import person
from apps.flags import services as flags
from apps.telemetry import queries, services
from apps.telemetry.memory import WriterMemory
from apps.telemetry.models import Cursor
from tests.telemetry.make_telemetry import NOW, ROUTE, call, count, make_route, outcome, sent

pytestmark = pytest.mark.django_db
SHARD = queries.shard_of("production", ROUTE)


@pytest.fixture(autouse=True)
def trial(db):
    make_route(now=NOW - timedelta(hours=2))
    return flags.take_hold(
        environment="production",
        key=ROUTE,
        holder="rollout r-1",
        trial="r-1",
        by=person("alice"),
        because="",
        now=NOW - timedelta(hours=1),
    )


def look(reader="judge", shard=SHARD):
    """Reads, and remembers how far."""
    found = queries.unread(reader, shard)
    services.save_cursor(reader=reader, shard=shard, cursor=found.cursor)
    return found


def requests_of(found):
    return sum(one.requests for one in found.increments)


def test_each_commit_is_read_once():
    count(sent(call(), call()))
    first = look()
    count(sent(call()))

    second, third = look(), look()

    assert [requests_of(found) for found in (first, second, third)] == [2, 1, 0]
    assert third.cursor == {}


def test_without_a_saved_cursor_the_same_is_read_again():
    count(sent(call()))

    assert requests_of(queries.unread("judge", SHARD)) == 1
    assert requests_of(queries.unread("judge", SHARD)) == 1


def test_each_reader_and_each_shard_reads_for_itself():
    count(sent(call()))

    assert requests_of(look("judge")) == 1
    assert requests_of(look("other")) == 1
    assert requests_of(look("judge", (SHARD + 1) % 16)) == 0


def test_rows_are_summed_by_arm_and_split():
    count(
        sent(
            call(assigned="flash-lite", assigned_by="split"),
            call(variant="gpt-4.1", model="gpt-4.1", provider="openai"),
        )
    )
    count(
        sent(call(assigned="flash-lite", assigned_by="split", error="timeout"), outcomes=[outcome(), outcome(value=0)])
    )

    found = look()

    candidate = next(one for one in found.increments if one.assigned == "flash-lite")
    assert (candidate.requests, candidate.errors, candidate.latency.count, candidate.cost.count) == (2, 1, 1, 2)
    assert (candidate.trial, candidate.environment, candidate.route) == ("r-1", "production", ROUTE)
    assert candidate.first_at <= candidate.last_at
    assert {one.assigned for one in found.increments} == {"flash-lite", "gpt-4.1"}
    (told,) = found.outcomes
    assert (told.name, told.n, told.k, told.zeros) == ("handoff", 2, 1, 1)


def test_calls_of_no_trial_are_not_for_judges():
    count(sent(call(snapshot=1), outcomes=[outcome(snapshot=1)]))

    found = look()

    assert (found.increments, found.outcomes) == ([], [])
    assert len(found.cursor) == 1


def test_two_writers_that_commit_out_of_order_lose_nothing():
    one, two = WriterMemory(), WriterMemory()
    count(sent(call()), writer=two)
    first = look()
    count(sent(call()), writer=one)
    count(sent(call()), writer=two)
    second = look()
    count(sent(call()), writer=one)

    third = look()

    assert [requests_of(found) for found in (first, second, third)] == [1, 2, 1]
    assert Cursor.objects.count() == 2


def test_a_writer_that_starts_anew_is_another_one():
    count(sent(call()), writer=WriterMemory())
    look()

    count(sent(call()), writer=WriterMemory())

    assert requests_of(look()) == 1


def test_late_calls_are_of_the_next_look():
    count(sent(call()))
    look()
    count(sent(call(at="2026-11-24T02:10:00Z")))

    assert requests_of(look()) == 1


def test_a_baseline_takes_split_and_default_requests_of_any_trial():
    count(sent(call(variant="gpt-4.1", snapshot=1), call(variant="gpt-4.1", assigned_by="default")))
    count(sent(call(variant="gpt-4.1", assigned_by="rule"), call(variant="gpt-4.1", arm="shadow"), call()))

    found = queries.baseline("production", ROUTE, "gpt-4.1", NOW - timedelta(days=7), NOW)
    latency, requests, errors, cost, cost_nano = found

    assert (requests, errors, latency.count, cost.count) == (2, 0, 2, 2)
    assert cost_nano == 2 * (1000 * 100 + 100 * 400)
