"""Sums of groups that come in a crowd wait, and are then laid out as one: nothing is lost, and nothing comes twice."""

import queue
import threading
from datetime import timedelta

import pytest
from django.db import IntegrityError, OperationalError

from apps.core import metrics
from apps.flags import services as flags
from apps.telemetry import gathering, keeping, queries
from apps.telemetry.domain.gathering import EVERY
from apps.telemetry.domain.sums import Sums
from apps.telemetry.group_commit import GroupCommit
from apps.telemetry.memory import WriterMemory
from apps.telemetry.models import GroupSums, LedgerLine, RequestSum, Window
from apps.telemetry.queries.waiting import with_waiting
from tests.telemetry.make_telemetry import ALICE, NOW, ROUTE, call, count, make_route, outcome, sent

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
MOMENT = timedelta(seconds=0.1)
PATIENCE = 60  # seconds, of a machine that has more to do


@pytest.fixture(autouse=True)
def a_crowd_is_two_calls(db, monkeypatch):
    monkeypatch.setattr("apps.telemetry.domain.gathering.CROWD", 2)
    make_route(now=NOW - 2 * HOUR)
    taken = {"holder": "rollout r-1", "trial": "r-1", "by": ALICE, "because": ""}
    flags.take_hold(environment="production", key=ROUTE, now=NOW - HOUR, **taken)


@pytest.fixture
def writer():
    """Three groups of two calls: the first is in rows, the others wait."""
    writer = WriterMemory()
    for n in range(3):
        count(sent(call(), call(variant="gpt-4.1", error="timeout")), writer=writer, now=NOW + n * MOMENT)
    return writer


def calls_in_rows():
    return sum(Window.objects.values_list("calls", flat=True))


def calls_seen():
    return sum(row.calls for row in queries.windows("production", ROUTE, NOW - HOUR, NOW + HOUR))


def requests_unread():
    return sum(one.requests for one in queries.unread("test", queries.shard_of("production", ROUTE)).increments)


def test_groups_of_a_crowd_wait_and_are_laid_out_as_one(writer):
    assert (calls_in_rows(), GroupSums.objects.count()) == (2, 2)

    count(sent(call()), writer=writer, now=NOW + EVERY)

    assert (calls_in_rows(), GroupSums.objects.count()) == (7, 0)
    assert Window.objects.count() == 4  # two variants, twice
    assert sum(RequestSum.objects.values_list("requests", flat=True)) == 7


def test_a_late_call_that_waited_is_told_once():
    told = metrics.late.labels("production")
    before, writer, at = told._value.get(), WriterMemory(), (NOW - HOUR).isoformat()

    for n in range(3):
        count(sent(call(at=at), call(at=at)), writer=writer, now=NOW + n * MOMENT)
    count(sent(call(at=at)), writer=writer, now=NOW + EVERY)

    assert told._value.get() - before == 7


def test_few_calls_never_wait():
    writer = WriterMemory()
    for _ in range(2):
        count(sent(call()), writer=writer)

    assert (calls_in_rows(), GroupSums.objects.count()) == (2, 0)


def test_money_does_not_wait(writer):
    assert sum(LedgerLine.objects.values_list("calls", flat=True)) == 6


def test_who_looks_sees_what_waits(writer):
    count(sent(outcomes=[outcome(), outcome(value=0)]), writer=writer, now=NOW + 3 * MOMENT)

    row, other = sorted(
        queries.windows("production", ROUTE, NOW - HOUR, NOW + HOUR), key=lambda row: row.variant, reverse=True
    )

    assert (row.variant, row.calls, row.errors, row.requests, row.latency.count) == ("gpt-4.1", 3, 3, 3, 3)
    assert (other.calls, other.errors, other.input_tokens, other.outcomes) == (3, 0, 3000, {"handoff": (2, 1.0)})
    assert queries.windows("production", "another", NOW - HOUR, NOW + HOUR) == []
    assert queries.windows("production", ROUTE, NOW + HOUR, NOW + 2 * HOUR) == []


def test_what_is_laid_out_while_somebody_reads_is_not_counted_twice(writer):
    def read():
        before = calls_in_rows()
        gathering.finish(writer=writer, now=NOW + 3 * MOMENT)
        return before

    found, waiting = with_waiting(read)

    assert (found, waiting.windows) == (6, {})


def test_after_the_last_group_the_rest_is_laid_out(writer):
    gathering.finish(writer=writer, now=NOW + 4 * MOMENT)
    gathering.finish(writer=writer, now=NOW + 5 * MOMENT)

    assert (calls_in_rows(), GroupSums.objects.count(), requests_unread()) == (6, 0, 6)


def test_what_a_dead_writer_left_is_laid_out_by_another(writer):
    other = WriterMemory()
    gathering.finish(writer=other, now=NOW + gathering.ABANDONED)
    assert calls_in_rows() == 2  # it may still be alive

    gathering.finish(writer=other, now=NOW + gathering.ABANDONED + HOUR)

    assert (calls_in_rows(), GroupSums.objects.count(), requests_unread()) == (6, 0, 6)


def test_a_writer_that_was_taken_for_dead_counts_nothing_twice(writer):
    gathering.lay_out_abandoned(now=NOW + HOUR)
    late = sent(call())

    with pytest.raises(IntegrityError):
        count(late, writer=writer, now=NOW + HOUR)
    count(late, writer=writer, now=NOW + HOUR)  # as the group commit does

    assert (calls_in_rows(), calls_seen(), requests_unread()) == (7, 7, 7)


@pytest.mark.parametrize("later", [3 * MOMENT, EVERY], ids=["that waits", "that lays out"])
def test_a_group_that_fails_leaves_what_was_gathered_as_it_was(writer, later, monkeypatch):
    def fail(*_):
        raise OperationalError

    again = sent(call(), call())
    with monkeypatch.context() as patched:
        patched.setattr(keeping, "keep", fail)
        with pytest.raises(OperationalError):
            count(again, writer=writer, now=NOW + later)
    assert calls_seen() == 6

    count(again, writer=writer, now=NOW + later)
    assert calls_seen() == 8
    gathering.finish(writer=writer, now=NOW + HOUR)

    assert (calls_in_rows(), calls_seen(), requests_unread()) == (8, 8, 8)


def test_a_clock_that_is_set_back_keeps_nothing_waiting(writer):
    count(sent(call()), writer=writer, now=NOW - HOUR)

    assert (calls_in_rows(), GroupSums.objects.count()) == (7, 0)


def test_packed_sums_are_the_same_sums(writer):
    kept = writer.gathering.sums

    assert kept.windows
    assert Sums.unpack(kept.pack()) == kept


class Finishing:
    """A group commit whose groups need nothing but to be finished."""

    def __init__(self, faults=0):
        self.finished = queue.Queue()
        self.faults = faults
        self.commits = GroupCommit(
            lambda items: items, self.finish, max_waiting=9, max_bytes=9, max_group=9, max_group_bytes=9
        )

    def finish(self):
        self.faults -= 1
        self.finished.put(self.faults < 0)
        if self.faults >= 0:
            raise OperationalError

    def write(self):
        written = threading.Event()
        self.commits.offer("item", 1, lambda _: written.set())
        assert written.wait(PATIENCE)


@pytest.mark.parametrize("faults", [0, 1])
def test_the_rest_is_done_at_the_start_after_a_pause_and_at_the_end(faults, monkeypatch):
    monkeypatch.setattr("apps.telemetry.group_commit.PAUSE", 0.01)
    finishing = Finishing(faults)
    told = [False] * faults + [True]

    finishing.commits.start()
    assert [finishing.finished.get(timeout=PATIENCE) for _ in told] == told
    finishing.write()
    assert finishing.finished.get(timeout=PATIENCE)
    finishing.commits.stop()

    assert finishing.finished.get(timeout=PATIENCE)
