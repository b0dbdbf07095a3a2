"""What goes, and what is drawn together without anybody noticing."""

import random
from datetime import timedelta

import pytest

from apps.core.actors import person
from apps.flags import services as flags
from apps.telemetry import queries, services
from apps.telemetry.memory import WriterMemory
from apps.telemetry.models import (
    Batch,
    CallId,
    CallMinute,
    Cursor,
    LedgerLine,
    OutcomeSum,
    RequestSum,
    Window,
    Writer,
)
from tests.telemetry.make_telemetry import NOW, ROUTE, call, count, make_route, outcome, sent

pytestmark = pytest.mark.django_db
SHARD = queries.shard_of("production", ROUTE)
HOUR = timedelta(hours=1)
SINCE = NOW - 12 * HOUR


@pytest.fixture(autouse=True)
def route(db):
    make_route(now=NOW - 24 * HOUR)


def hold_for_a_trial():
    flags.take_hold(
        environment="production",
        key=ROUTE,
        holder="r",
        trial="r-1",
        by=person("alice"),
        because="",
        now=NOW - 20 * HOUR,
    )


def busy_hours(chance, groups=12):
    """Commit groups that each bring calls of the same few windows."""
    writer = WriterMemory()
    for _ in range(groups):
        began = [NOW - 2 * HOUR + timedelta(seconds=chance.randrange(0, 1200)) for _ in range(30)]
        calls = [call(at=at.isoformat(), variant=chance.choice(["gpt-4.1", "flash-lite"])) for at in began]
        told = [outcome(at=at.isoformat(), value=chance.choice([0, 1])) for at in began[:5]]
        count(sent(*calls, outcomes=told), writer=writer, now=NOW - HOUR)


def everything_asked(steps=("1m", "1h", "all")):
    asked = []
    for step in steps:
        for row in queries.windows("production", ROUTE, SINCE, NOW, step):
            asked.append((row.since, row.variant, row.calls, row.requests, row.latency.pack(), row.outcomes))
        for row in queries.requests("production", ROUTE, SINCE, NOW, step):
            asked.append((row.since, row.variant, row.n, row.cost_nano, row.latency.pack(), row.cost.pack()))
        asked.extend(queries.outcomes("production", ROUTE, SINCE, NOW, step))
        asked.extend(queries.spend("production", SINCE, NOW, by=("variant", "rule"), step=step))
    asked.append(queries.baseline("production", ROUTE, "gpt-4.1", SINCE, NOW))
    return asked


def look(reader="judge"):
    found = queries.unread(reader, SHARD)
    services.save_cursor(reader=reader, shard=SHARD, cursor=found.cursor)
    return sum(one.requests for one in found.increments)


def rows():
    return [model.objects.count() for model in (Window, LedgerLine, RequestSum, OutcomeSum)]


def test_drawing_rows_together_changes_no_answer():
    busy_hours(random.Random(1))
    before, many = everything_asked(), rows()

    services.forget_old(now=NOW)

    assert everything_asked() == before
    assert all(few < of for few, of in zip(rows(), many, strict=True))
    assert rows() == rows_of_keys()
    services.forget_old(now=NOW)
    assert everything_asked() == before


def rows_of_keys():
    return [
        Window.objects.values("variant", "arm", "starts_at").distinct().count(),
        LedgerLine.objects.values("minute", "variant", "rule").distinct().count(),
        RequestSum.objects.values("assigned", "starts_at").distinct().count(),
        OutcomeSum.objects.values("assigned", "name", "starts_at").distinct().count(),
    ]


def test_late_calls_are_drawn_to_the_rows_that_are_there():
    busy_hours(random.Random(2), groups=3)
    services.forget_old(now=NOW)
    busy_hours(random.Random(3), groups=3)
    before = everything_asked()

    services.forget_old(now=NOW)

    assert everything_asked() == before
    assert rows() == rows_of_keys()


def test_rows_of_a_quiet_time_only_are_drawn_together():
    count(sent(call()), now=NOW)
    count(sent(call()), now=NOW)

    services.forget_old(now=NOW + timedelta(minutes=5))
    soon = Window.objects.count()
    services.forget_old(now=NOW + timedelta(minutes=25))

    assert (soon, Window.objects.count()) == (2, 1)


def test_what_a_judge_has_not_read_is_left_alone():
    hold_for_a_trial()
    busy_hours(random.Random(4))
    before = RequestSum.objects.count()

    services.forget_old(now=NOW)

    assert RequestSum.objects.count() == before
    assert look() == 360


def test_what_one_of_two_judges_has_not_read_is_left_alone():
    hold_for_a_trial()
    count(sent(call()))
    look("judge")
    look("other")
    busy_hours(random.Random(5))
    look("judge")
    before = RequestSum.objects.count()

    services.forget_old(now=NOW)

    assert RequestSum.objects.count() == before
    assert look("other") == 360


def test_what_all_judges_have_read_is_drawn_together_and_never_read_again():
    hold_for_a_trial()
    busy_hours(random.Random(6))
    look()
    before, asked = RequestSum.objects.count(), everything_asked()

    services.forget_old(now=NOW)

    assert RequestSum.objects.count() < before
    assert everything_asked() == asked
    assert look() == 0


def test_after_two_days_minutes_are_fine_enough():
    busy_hours(random.Random(7))
    before = everything_asked()

    services.forget_old(now=NOW + 24 * HOUR)
    fine = rows()
    for hours in (48, 60, 72):
        services.forget_old(now=NOW + hours * HOUR)

    assert everything_asked() == before
    assert Window.objects.count() <= 21 * 2 < fine[0]
    assert RequestSum.objects.count() <= 21 * 2 < fine[2]
    assert all(window.starts_at.second == 0 for window in Window.objects.all())


def test_minutes_become_hours_and_hours_go_while_money_stays(settings):
    settings.WINDOWS_MINUTES_DAYS, settings.WINDOWS_HOURS_DAYS = 3, 5
    busy_hours(random.Random(8), groups=3)
    before = everything_asked(("1h", "all"))
    money = queries.spend("production", SINCE, NOW, by=("variant", "rule"), step="1m")

    for day in range(1, 6):
        services.forget_old(now=NOW + day * 24 * HOUR)
    hours, asked = rows(), everything_asked(("1h", "all"))
    for day in range(6, 9):
        services.forget_old(now=NOW + day * 24 * HOUR)

    assert asked == before
    assert (hours[0], hours[2], hours[3]) == (2, 2, 1)
    assert (Window.objects.count(), RequestSum.objects.count(), OutcomeSum.objects.count()) == (0, 0, 0)
    assert queries.spend("production", SINCE, NOW, by=("variant", "rule"), step="1m") == money


def test_call_ids_go_two_hours_after_the_last_arrival_of_their_minute(settings):
    settings.DEDUPE_HOURS = 2
    first = call(id="c-1")
    count(sent(first))
    count(sent(call(id="c-2")), now=NOW + HOUR)

    services.forget_old(now=NOW + timedelta(hours=2, minutes=59))
    still_known = count(sent(first), now=NOW + timedelta(hours=2, minutes=59))[0]
    services.forget_old(now=NOW + timedelta(hours=6))

    assert still_known.duplicates == 1
    assert (CallId.objects.count(), CallMinute.objects.count()) == (0, 0)


def test_batch_keys_stay_for_49_hours():
    count(sent(call(), batch_id="b"))

    services.forget_old(now=NOW + 48 * HOUR)
    known = Batch.objects.count()
    services.forget_old(now=NOW + 50 * HOUR)

    assert (known, Batch.objects.count()) == (1, 0)


def test_a_batch_counts_once_even_when_its_calls_are_forgotten():
    batch = sent(call(), batch_id="b")
    count(batch)
    services.forget_old(now=NOW + 24 * HOUR)

    (again,) = count(batch, now=NOW + 24 * HOUR)

    assert (again.accepted, again.duplicates) == (0, 1)


def test_an_ended_writer_goes_when_it_is_fully_read():
    hold_for_a_trial()
    writer = WriterMemory()
    count(sent(call()), writer=writer)
    look()
    count(sent(call()), writer=writer)

    services.forget_old(now=NOW + 50 * HOUR)
    unread = Writer.objects.count()
    look()
    services.forget_old(now=NOW + 50 * HOUR)

    assert unread == 1
    assert (Writer.objects.count(), Cursor.objects.count()) == (0, 0)
