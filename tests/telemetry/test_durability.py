"""What was answered is there, whatever happens to the server or to its database; what was not is sent once more."""

import contextlib
import json
import os
import signal
import threading
import time
from collections import Counter
from datetime import timedelta
from http.client import HTTPException
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.utils import timezone

from apps.access import services as access
from apps.core.actors import WORKER
from apps.telemetry import gathering
from apps.telemetry.models import Batch, LedgerLine, Window
from tests import postgres
from tests.processes import running_server
from tests.telemetry.make_otlp import SECOND, span, traces
from tests.telemetry.make_telemetry import batch, call, make_environment, make_route

pytestmark = [pytest.mark.serial, pytest.mark.django_db(transaction=True)]
DOORS = {"native": "/api/v1/telemetry", "otlp": "/otlp/v1/traces"}
ITEMS = 20  # calls or spans of one body
PATIENCE = 60  # seconds, of a machine that has more to do
OTHERS = """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND state <> 'idle'
    AND pid <> pg_backend_pid()"""


def body_for(door):
    """Calls of now, that nobody has sent before."""
    at = timezone.now() - timedelta(seconds=1)
    if door == "native":
        return json.dumps(batch(*(call(at=at.isoformat()) for _ in range(ITEMS))))
    begin = int(at.timestamp() * SECOND)
    moments = {"startTimeUnixNano": str(begin), "endTimeUnixNano": str(begin + SECOND // 2)}
    return traces(*(span(**moments) for _ in range(ITEMS)))


class Sender(threading.Thread):
    """A client that keeps a body until it is answered, and says what it heard."""

    def __init__(self, server, door, key, done):
        super().__init__(daemon=True)
        self.server, self.door, self.done = server, door, done
        self.headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        self.answered = 0
        self.heard = Counter()
        self.retry_after = set()
        self.waiting = None

    def run(self):
        while not self.done.is_set():
            self.waiting = self.waiting or body_for(self.door)
            self.send()

    def send(self):
        try:
            status, headers, _ = self.server.request("POST", DOORS[self.door], self.waiting, self.headers)
        except (OSError, HTTPException):
            self.heard["gone"] += 1
            self.done.wait(0.1)
            return
        self.heard[status] += 1
        if status in (200, 202):
            self.answered += 1
            self.waiting = None
        else:
            self.retry_after.add(headers.get("retry-after"))
            self.done.wait(0.1)


@pytest.fixture
def key():
    make_route(now=timezone.now() - timedelta(hours=1))
    environment = make_environment()
    scopes = ["telemetry:write"]
    return access.create_key(environment=environment, name="t", scopes=scopes, by=WORKER, now=timezone.now())[1]


@pytest.fixture
def senders(fresh_server, key):
    done = threading.Event()
    started = [Sender(fresh_server, door, key, done) for door in ("native", "native", "otlp", "otlp")]
    yield started
    stop(started)


def start(senders, answered):
    """What they heard before the key ring knew their key is forgotten."""
    for sender in senders:
        sender.start()
    until(senders, answered)
    for sender in senders:
        sender.heard.clear()


def until(senders, answered):
    """Each has so many answers."""
    deadline = time.monotonic() + PATIENCE
    while any(sender.answered < answered for sender in senders) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert all(sender.answered >= answered for sender in senders), [sender.heard for sender in senders]


def stop(senders):
    for sender in senders:
        sender.done.set()
    for sender in senders:
        if sender.ident:
            sender.join(PATIENCE)


def wait_for_the_last_commit():
    """A session of a killed server ends once PostgreSQL has noticed, and commits before what it was told to."""
    deadline = time.monotonic() + PATIENCE
    with connection.cursor() as cursor:
        while connection.vendor == "postgresql" and time.monotonic() < deadline:
            cursor.execute(OTHERS)
            if cursor.fetchone() == (0,):
                return
            time.sleep(0.02)


def counted():
    while gathering.lay_out_abandoned(now=timezone.now() + timedelta(minutes=1)):
        pass
    windows, lines = (sum(model.objects.values_list("calls", flat=True)) for model in (Window, LedgerLine))
    assert windows == lines
    return windows


@contextlib.contextmanager
def commits_held(senders):
    """Whoever writes calls gets no further while this lasts: on PostgreSQL in the middle of its transaction. Gives how
    many calls are there until then."""
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"LOCK TABLE {LedgerLine._meta.db_table} IN SHARE MODE")
        else:  # where there is one writer at a time
            cursor.execute(f"UPDATE {Batch._meta.db_table} SET at = at")
        before, since = None, 0
        while since < 10:  # looks after which nobody heard anything more
            time.sleep(0.02)
            now = [(sender.answered, sender.heard.total()) for sender in senders]
            before, since = now, since + 1 if now == before else 0
        yield sum(LedgerLine.objects.values_list("calls", flat=True))


@pytest.mark.parametrize("is_held", [False, True], ids=["anywhere", "before its commit"])
def test_a_killed_server_loses_nothing_that_it_took_and_counts_once_what_is_sent_again(
    fresh_server, senders, static_files, tmp_path, is_held
):
    start(senders, 10)
    with commits_held(senders) if is_held else contextlib.nullcontext() as held:
        os.killpg(fresh_server.process.pid, signal.SIGKILL)
        stop(senders)
    wait_for_the_last_commit()
    taken = sum(sender.answered for sender in senders)
    under_way = [sender for sender in senders if sender.waiting]
    assert taken * ITEMS <= counted() <= (taken + len(under_way)) * ITEMS
    assert held in (None, counted())

    with running_server(tmp_path / "again", static_files) as again:
        for sender in under_way:
            sender.server = again
            while sender.waiting:
                sender.send()

    assert counted() == (taken + len(under_way)) * ITEMS


@pytest.fixture
def durable_commits(transactional_db):
    """The tests' server answers before it has written, for speed."""
    with connection.cursor() as cursor:
        cursor.execute(f'ALTER DATABASE "{connection.settings_dict["NAME"]}" SET synchronous_commit = on')
    yield
    connection.close()


@pytest.mark.postgres
@pytest.mark.skipif("TEST_DATABASE_URL" in os.environ, reason="that server is not ours to crash")
def test_a_database_that_crashes_under_load_loses_nothing_and_doubles_nothing(durable_commits, senders):
    start(senders, 5)
    with connection.cursor() as cursor:
        cursor.execute("SHOW data_directory")
        (folder,) = cursor.fetchone()
    connection.close()

    postgres.crash(Path(folder))

    until(senders, max(sender.answered for sender in senders) + 5)
    stop(senders)
    for sender in senders:
        while sender.waiting:
            sender.send()
    heard = sum((sender.heard for sender in senders), Counter())
    assert heard[503] > 0
    assert set(heard) <= {200, 202, 503}  # exporters drop what is answered by anything else
    assert set().union(*(sender.retry_after for sender in senders)) <= {"1", "2", None}
    assert counted() == sum(sender.answered for sender in senders) * ITEMS
