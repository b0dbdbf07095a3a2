"""Flag reads go on without Redis, without the database, and after a restart without both; they say how old they are."""

import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from django.db import connection

from apps.core import refresh
from apps.flags import services
from tests.flags.doors import make_key
from tests.flags.make_flags import ALICE, NOW, make_flag, make_route
from tests.processes import Server, eventually, running_server

pytestmark = pytest.mark.slow
NO_REDIS = {"REDIS_URL": "redis://127.0.0.1:1/0"}
NO_DATABASE = {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none"}
ONE, BULK = "/ofrep/v1/evaluate/flags/new-parser", "/ofrep/v1/evaluate/flags"


@pytest.fixture
def key(transactional_db: None) -> dict[str, str]:
    make_flag(environment="survivor")
    make_route(environment="survivor")
    return make_key("survivor")


def reads(server: Server, key: dict[str, str]) -> dict[str, httpx.Response]:
    with httpx.Client(base_url=server.url, headers=key, timeout=60) as client:
        return {
            "flagd": client.get("/flagd/flags.json"),
            "one": client.post(ONE, json={"context": {"targetingKey": "u"}}),
            "all": client.post(BULK, json={"context": {"targetingKey": "u"}}),
        }


def all_work(answers: dict[str, httpx.Response]) -> bool:
    return all(answer.status_code == 200 for answer in answers.values())


def switch_on(place: str = "survivor") -> None:
    services.update_flag(
        environment=place, key="new-parser", default_variant="on", by=ALICE, because="", now=NOW
    )  # fmt: skip


def test_without_redis_reads_go_on_and_a_change_is_there_at_the_next_look(key, static_files: Path, tmp_path: Path):
    with running_server(tmp_path / "web", static_files, **NO_REDIS) as server:
        eventually(lambda: all_work(reads(server, key)))
        switch_on()

        eventually(lambda: reads(server, key)["one"].json()["value"] is True)

        assert refresh.EVERY_SECONDS == 2
        assert "x-snapshot-age" not in reads(server, key)["one"].headers


@pytest.fixture
def own_database(key: dict[str, str], tmp_path: Path) -> Path:
    """A copy that can be taken away from one server, and from nobody else."""
    if connection.vendor != "sqlite":
        pytest.skip("The database is taken away as a file here.")
    copy = tmp_path / "own.sqlite3"
    connection.ensure_connection()
    target = sqlite3.connect(copy)
    connection.connection.backup(target)
    target.close()
    return copy


@pytest.fixture
def on_its_own(own_database: Path, static_files: Path, tmp_path: Path) -> Iterator[Server]:
    url = f"sqlite:///{own_database}"
    with running_server(tmp_path / "web", static_files, DATABASE_URL=url, **NO_REDIS) as server:
        yield server


def take_away(database: Path) -> None:
    for file in database.parent.glob(f"{database.name}*"):
        file.rename(file.with_name(f"away-{file.name}"))
    database.mkdir()  # nothing can be opened there


def bring_back(database: Path) -> None:
    database.rmdir()
    for file in database.parent.glob(f"away-{database.name}*"):
        file.rename(file.with_name(file.name.removeprefix("away-")))


def test_without_the_database_reads_go_on_and_say_how_old_they_are(on_its_own: Server, own_database: Path, key):
    eventually(lambda: all_work(reads(on_its_own, key)))
    before = reads(on_its_own, key)
    take_away(own_database)
    gone = time.monotonic()

    def all_say_it() -> bool:
        nonlocal answers
        answers = reads(on_its_own, key)
        assert all_work(answers)
        return all("x-snapshot-age" in answer.headers for answer in answers.values())

    answers = before
    eventually(all_say_it)
    since = time.monotonic() - gone

    assert answers["flagd"].headers["etag"] == before["flagd"].headers["etag"]
    assert answers["all"].json() == before["all"].json()
    for answer in answers.values():
        assert 10 <= int(answer.headers["x-snapshot-age"]) < since + 10, "the last look may be a little older"
    ready = httpx.get(f"{on_its_own.url}/readyz", timeout=60)
    assert ready.status_code == 503
    assert ready.json()["parts"]["database"]["ok"] is False
    assert ready.json()["parts"]["flags"]["ok"] is True
    known = key | {"If-None-Match": before["flagd"].headers["etag"]}
    same = httpx.get(f"{on_its_own.url}/flagd/flags.json", headers=known)
    assert (same.status_code, int(same.headers["x-snapshot-age"]) >= 10) == (304, True)

    bring_back(own_database)
    eventually(lambda: "x-snapshot-age" not in reads(on_its_own, key)["one"].headers)


@pytest.mark.parametrize("lost", ["both", "database"])
@pytest.mark.serial  # how long a start takes is told by a process that has the machine to itself
def test_restarted_without_them_a_process_serves_what_the_last_one_served(
    lost: str, key: dict[str, str], static_files: Path, tmp_path: Path
):
    folder = tmp_path / "web"
    began = time.monotonic()
    with running_server(folder, static_files) as server:
        usual = time.monotonic() - began
        eventually(lambda: all_work(reads(server, key)))
        before = reads(server, key)
    for file in (folder / "keys.json", folder / "snapshots" / "survivor.json"):
        assert file.stat().st_mode & 0o777 == 0o600
        assert key["Authorization"].removeprefix("Bearer ") not in file.read_text()
    for file in (folder / "snapshots").glob("*.json"):
        hour_ago = time.time() - 3600
        os.utime(file, (hour_ago, hour_ago))

    began = time.monotonic()
    env = NO_DATABASE | (NO_REDIS if lost == "both" else {})
    with running_server(folder, static_files, **env) as server:
        answers = reads(server, key)
        took = time.monotonic() - began

        assert all_work(answers)
        assert took < usual + 15, "whoever restarts in trouble is not kept waiting for what is away"
        assert answers["flagd"].content == before["flagd"].content
        assert answers["flagd"].headers["etag"] == before["flagd"].headers["etag"]
        assert answers["one"].json() == before["one"].json()
        assert answers["all"].json()["flags"] == before["all"].json()["flags"]
        for answer in answers.values():
            assert 3590 < int(answer.headers["x-snapshot-age"]) < 3700
        assert httpx.post(server.url + ONE, json={}).status_code == 401
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        assert httpx.get(f"{server.url}/readyz", timeout=60).status_code == 503
        with httpx.stream("GET", f"{server.url}/api/v1/changes", headers=key, timeout=60) as stream:
            line = next(line for line in stream.iter_lines() if line.startswith("data: "))
        assert '"version":2' in line
        server.process.kill()  # with its database away it would say good-bye for long
