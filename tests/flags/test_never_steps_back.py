"""Many writers, many readers, two server processes: a reader's version never falls, and the newest arrives."""

import json
import threading
import time
from pathlib import Path

import httpx
import pytest
from django.db import connection

from apps.flags import queries, services
from tests.flags.doors import make_key
from tests.flags.make_flags import ALICE, NOW, make_flag
from tests.processes import Server, running_server

WRITERS, WRITES, READERS = 8, 5, 6


@pytest.fixture
def other_server(server: Server, static_files: Path, tmp_path: Path):
    with running_server(tmp_path / "other", static_files) as other:
        yield other


def test_a_readers_version_never_falls(server: Server, other_server: Server):
    environment = "busy"
    for number in range(WRITERS):
        make_flag(f"flag-{number}", environment=environment)
    key = make_key(environment)
    done = threading.Event()
    seen: list[list[int]] = []
    failed: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for turn in range(WRITES):
                services.update_flag(
                    environment=environment, key=f"flag-{number}", by=ALICE, because="", now=NOW,
                    metadata={"turn": turn},
                )  # fmt: skip
        except BaseException as fault:  # the test's own edge: told below
            failed.append(fault)
        finally:
            connection.close()

    def read(url: str) -> None:
        versions: list[int] = []
        seen.append(versions)
        with httpx.Client(base_url=url, headers=key, timeout=10) as client:
            while not done.is_set():
                answer = client.get("/flagd/flags.json")
                if answer.status_code == 200:
                    versions.append(answer.json()["metadata"]["revision"])
                bulk = client.post("/ofrep/v1/evaluate/flags", json={})
                if bulk.status_code == 200:
                    versions.append(bulk.json()["metadata"]["revision"])
                time.sleep(0.01)

    urls = [(server.url, other_server.url)[number % 2] for number in range(READERS)]
    readers = [threading.Thread(target=read, args=(url,)) for url in urls]
    writers = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for thread in readers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    newest = queries.snapshot(environment)
    end = time.monotonic() + 5
    while time.monotonic() < end and not all(versions and versions[-1] == newest.version for versions in seen):
        time.sleep(0.05)
    done.set()
    for thread in readers:
        thread.join()

    assert failed == []
    assert newest.version == WRITERS * (WRITES + 1)
    for versions in seen:
        assert versions == sorted(versions)
        assert versions[-1] == newest.version
    bodies = {httpx.get(f"{url}/flagd/flags.json", headers=key).content for url in (server.url, other_server.url)}
    assert bodies == {newest.body}
    turns = {flag["metadata"]["turn"] for flag in json.loads(newest.body)["flags"].values()}
    assert turns == {WRITES - 1}
