"""Nothing is counted twice, nothing is lost."""

from datetime import timedelta

import pytest

from apps.core.actors import person
from apps.flags import queries as flag_queries
from apps.flags import services as flags
from apps.telemetry import queries, writing
from apps.telemetry.domain.batch import Client, Exposure
from apps.telemetry.memory import WriterMemory
from apps.telemetry.models import LedgerLine, RequestSum, Window
from tests.telemetry.make_telemetry import NOW, ROUTE, call, count, make_environment, make_route, outcome, sent

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def environment_with_a_route(db):
    make_route(now=NOW - HOUR)


def counted():
    return sum(Window.objects.values_list("calls", flat=True))


def test_the_same_batch_sent_five_times_counts_once():
    batch = sent(call(), call(), batch_id="again")

    receipts = [count(batch)[0] for _ in range(5)]

    assert [(one.accepted, one.duplicates) for one in receipts] == [(2, 0)] + [(0, 2)] * 4
    assert counted() == 2


def test_the_same_batch_five_times_in_one_group_counts_once():
    receipts = count(*[sent(call(id="c-1"), batch_id="again")] * 5)

    assert sorted((one.accepted, one.duplicates) for one in receipts) == [(0, 1)] * 4 + [(1, 0)]
    assert counted() == 1


def test_the_same_call_in_two_batches_counts_once():
    first = count(sent(call(id="c-1"), call(id="c-2")))
    second = count(sent(call(id="c-2"), call(id="c-3")))

    assert [(one.accepted, one.duplicates) for one in first + second] == [(2, 0), (1, 1)]
    assert counted() == 3


def test_the_same_call_in_two_batches_of_a_group_counts_once():
    receipts = count(sent(call(id="c-1")), sent(call(id="c-1")))

    assert [(one.accepted, one.duplicates) for one in receipts] == [(1, 0), (0, 1)]
    assert counted() == 1


def test_the_same_call_told_again_with_another_moment_counts_once():
    writer = WriterMemory()
    first = [call(id="c-1", at="2026-11-24T02:59:50Z"), call(id="c-2", at="2026-11-24T02:58:00Z")]
    again = [call(id="c-1", at="2026-11-24T02:59:55Z"), call(id="c-3"), call(id="c-2", at="2026-11-24T02:57:00Z")]

    receipts = count(sent(*first), writer=writer) + count(sent(*again), writer=writer)
    in_a_group = count(sent(call(id="c-4", at="2026-11-24T02:59:50Z")), sent(call(id="c-4")), writer=writer)
    elsewhere = count(sent(call(id="c-1", route="mystery")), writer=writer)

    assert [(one.accepted, one.duplicates) for one in receipts] == [(2, 0), (1, 2)]
    assert [(one.accepted, one.duplicates) for one in in_a_group] == [(1, 0), (0, 1)]
    assert elsewhere[0].accepted == 1
    assert counted() == 5


def test_a_call_that_was_not_written_is_new_when_it_comes_again(monkeypatch):
    writer = WriterMemory()
    with monkeypatch.context() as broken:
        broken.setattr(writing, "number", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            count(sent(call(id="c-1", at="2026-11-24T02:59:50Z")), writer=writer)

    (receipt,) = count(sent(call(id="c-1", at="2026-11-24T02:59:55Z")), writer=writer)

    assert receipt.accepted == 1


def test_an_id_is_free_again_after_its_hours():
    writer = WriterMemory()
    count(sent(call(id="c-1")), writer=writer)
    later = NOW + timedelta(hours=2)

    (receipt,) = count(sent(call(id="c-1", at=later.isoformat())), writer=writer, now=later)

    assert receipt.accepted == 1


def test_the_same_call_twice_in_one_batch_counts_once():
    (receipt,) = count(sent(call(id="c-1", request_id="r", final=True), call(id="c-1", request_id="r", final=True)))

    assert (receipt.accepted, receipt.duplicates) == (1, 1)
    assert RequestSum.objects.get().attempts == 1


def test_ids_are_of_a_route_and_an_environment():
    make_environment("staging")
    count(sent(call(id="c-1")))

    others = count(sent(call(id="c-1", route="other")), sent(call(id="c-1"), environment="staging"))

    assert [one.accepted for one in others] == [1, 1]


def test_the_same_batch_id_in_two_environments_is_two_batches():
    make_environment("staging")

    receipts = count(sent(call(), batch_id="b"), sent(call(), batch_id="b", environment="staging"))

    assert [one.accepted for one in receipts] == [1, 1]


def test_an_outcome_and_a_call_may_share_an_id():
    (receipt,) = count(sent(call(id="x"), outcomes=[outcome(id="x")]))
    (again,) = count(sent(outcomes=[outcome(id="x")]))

    assert (receipt.accepted, receipt.accepted_outcomes) == (1, 1)
    assert (again.accepted_outcomes, again.duplicate_outcomes) == (0, 1)


def test_many_calls_with_a_few_repeats_are_told_apart():
    count(sent(*(call(id=f"c-{n}") for n in range(0, 500, 50))))

    (receipt,) = count(sent(*(call(id=f"c-{n}") for n in range(500))))

    assert (receipt.accepted, receipt.duplicates) == (490, 10)
    assert counted() == 500


def test_a_route_that_nobody_made_is_kept_and_named():
    (receipt,) = count(sent(call(route="mystery"), call(route="mystery"), call()))
    count(sent(call(route="mystery")))

    assert receipt.unassigned == {"mystery": 2}
    assert receipt.accepted == 3
    (told,) = queries.unassigned("production")
    assert (told.name, told.calls) == ("mystery", 3)
    assert queries.windows("production", "mystery", NOW - HOUR, NOW)[0].calls == 3


def test_a_new_route_is_known_at_the_next_group():
    writer = WriterMemory()
    assert count(sent(call(route="new")), writer=writer)[0].unassigned == {"new": 1}

    make_route("new")

    assert count(sent(call(route="new")), writer=writer)[0].unassigned == {}


def test_a_call_finds_the_split_of_a_snapshot_that_was_published_a_moment_ago():
    writer = WriterMemory()
    count(sent(call()), writer=writer)

    published = flags.take_hold(
        environment="production", key=ROUTE, holder="rollout r-1", trial="r-1", by=person("alice"), because="", now=NOW
    )
    count(sent(call(snapshot=published.version)), writer=writer)

    assert RequestSum.objects.order_by("id").last().trial == "r-1"
    assert LedgerLine.objects.order_by("id").last().trial == "r-1"


def test_token_histories_survive_a_restart():
    count(sent(*(call(input_tokens=1000, output_tokens=100) for _ in range(3))))

    count(sent(call(error="timeout", input_tokens=None, output_tokens=None)), writer=WriterMemory())

    assert LedgerLine.objects.get(rule="usual_call").estimated_nano == 1000 * 100 + 100 * 400


def test_freshness_is_the_newest_commit():
    count(sent(call()), now=NOW)
    count(sent(call()), now=NOW + HOUR)

    assert queries.freshness("production", ROUTE) == NOW + HOUR
    assert queries.freshness("production", "other") is None


def test_clients_and_exposures_are_handed_down_once():
    batch = sent(call(), batch_id="again")
    batch.batch.client = Client("invoices", "changeover-python/1.0", 1)
    batch.batch.exposures = [Exposure(ROUTE, "flash-lite", NOW, 31, 1, "split", ["r-1"])]

    count(batch)
    count(batch)

    (client,) = flag_queries.clients("production")
    (exposure,) = flag_queries.exposures("production", ROUTE)
    assert (client.name, client.snapshot, client.seen_at) == ("invoices", 1, NOW)
    assert (exposure.variant, exposure.count) == ("flash-lite", 31)


def test_a_failed_group_leaves_nothing_and_its_number_is_not_used_again(monkeypatch):
    writer = WriterMemory()
    monkeypatch.setattr(writing, "write", None)
    with pytest.raises(TypeError):
        count(sent(call(), batch_id="b"), writer=writer)
    monkeypatch.undo()

    (receipt,) = count(sent(call(), batch_id="b"), writer=writer)

    assert receipt.accepted == 1
    assert writer.seq == 2
