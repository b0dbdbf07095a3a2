"""Fifty writers on one flag, many readers, three server processes: a reader that goes from one process to the other
never sees an older version after a newer one, no write is lost, and the newest arrives."""

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from django.db import connection

from apps.flags import queries, services
from tests.flags.doors import make_key
from tests.flags.make_flags import ALICE, NOW, make_flag
from tests.processes import Server, eventually, running_server

WRITERS, READERS = 50, 20
PLACE, FLAG = "busy", "new-parser"
DOORS = [("GET", "/flagd/flags.json"), ("POST", "/ofrep/v1/evaluate/flags")]


@pytest.fixture
def servers(server: Server, static_files: Path, tmp_path: Path) -> Iterator[list[Server]]:
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(running_server(tmp_path / name, static_files)) for name in ("second", "third")]
        yield [server, *others]


class Reader(threading.Thread):
    """Asks one process after the other, as a client behind a balancer does, with the tag that it has."""

    def __init__(self, urls: list[str], key: dict[str, str], number: int) -> None:
        super().__init__()
        first = number % len(urls)
        self.urls = itertools.cycle(urls[first:] + urls[:first])
        self.method, self.path = DOORS[number % len(DOORS)]
        self.key = key
        self.seen: list[int] = []
        self.stopped = False

    def run(self) -> None:
        tag: dict[str, str] = {}
        with httpx.Client(headers=self.key, timeout=60) as client:
            while not self.stopped:
                answer = client.request(self.method, next(self.urls) + self.path, headers=tag)
                if answer.status_code == 200:
                    tag = {"If-None-Match": answer.headers["etag"]}
                    self.seen.append(answer.json()["metadata"]["revision"])
                time.sleep(0.01)


def write(failed: list[BaseException], number: int) -> None:
    said = {"by": ALICE, "because": str(number), "now": NOW}
    try:
        services.update_flag(environment=PLACE, key=FLAG, metadata={"writer": number}, **said)
    except BaseException as fault:  # the test's own edge: told below
        failed.append(fault)
    finally:
        connection.close()


def test_a_readers_version_never_falls(servers: list[Server]):
    make_flag(FLAG, environment=PLACE)
    key = make_key(PLACE)
    failed: list[BaseException] = []
    readers = [Reader([server.url for server in servers], key, number) for number in range(READERS)]
    writers = [threading.Thread(target=write, args=(failed, number)) for number in range(WRITERS)]

    for thread in readers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    newest = queries.snapshot(PLACE)
    try:
        eventually(lambda: all(reader.seen and reader.seen[-1] == newest.version for reader in readers))
    finally:
        for reader in readers:
            reader.stopped = True
        for reader in readers:
            reader.join()

    assert failed == []
    assert newest.version == WRITERS + 1
    for reader in readers:
        assert reader.seen == sorted(reader.seen)
        assert reader.seen[-1] == newest.version
    url = "{}/flagd/flags.json".format
    eventually(lambda: {httpx.get(url(one.url), headers=key).content for one in servers} == {newest.body})
    last = json.loads(newest.body)["flags"][FLAG]["metadata"]["writer"]
    assert queries.flag(PLACE, FLAG).metadata == {"writer": last}
