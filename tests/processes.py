"""Real processes of ours on the test database, as fixtures: a web server, a Celery worker, a beat.

Only committed rows are seen by them, so each asks for `transactional_db`, which empties the tables after the test.
The server lives as long as its module (its start takes two seconds) and remembers a test's rows for two seconds more:
where that matters, take another environment key in each test (`place`), or `fresh_server`.
"""

import contextlib
import dataclasses
import http.client
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from tests.services import die_with_pytest

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parent.parent


def url_of_test_database() -> str:
    test = connection.settings_dict  # pytest-django has put the test database's name in here
    if connection.vendor == "sqlite":
        return f"sqlite:///{test['NAME']}"
    if test["HOST"].startswith("/"):
        return f"postgres://{test['USER']}@/{test['HOST']}/{test['NAME']}"
    return f"postgres://{test['USER']}:{test['PASSWORD']}@{test['HOST']}:{test['PORT'] or 5432}/{test['NAME']}"


def start(*command: str, log: Path, **env: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": url_of_test_database(), "PYTHONPATH": f"{ROOT}:{ROOT / 'sdk'}"} | env,
        stdin=subprocess.DEVNULL,
        stdout=log.open("ab"),
        stderr=subprocess.STDOUT,
        process_group=0,
        preexec_fn=die_with_pytest,
    )


def eventually(true: Callable[[], object], seconds: float = 60) -> None:
    """Patience costs nothing where it comes true; a machine may be much slower than this one."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


def stop(process: subprocess.Popen[bytes], patience: float = 10) -> None:
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


PORTS = range(10_000, 30_000)  # below those that the system gives to connections and to whoever asks for any
taken: list[socket.socket] = []


def free_port() -> int:
    """One that no other test on this machine is given until this run has ended. Its lock is a name of the kernel's."""
    for port in random.SystemRandom().sample(PORTS, 100):
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(f"\0changeover-test-port-{port}")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
        else:
            taken.append(lock)
            return port
    raise RuntimeError("no port is free")


@dataclasses.dataclass
class Server:
    url: str
    data: Path
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def request(
        self, method: str, path: str, body: bytes | str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """One plain request: status, headers in lower case, body."""
        talk = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            talk.request(method, path, body, headers or {})
            answer = talk.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            talk.close()


@contextlib.contextmanager
def running_server(folder: Path, static: Path, **env: str) -> Iterator[Server]:
    """Without a worker beside it: so nobody watches for one, unless the test asks."""
    env = {"WATCH_SECONDS": "0"} | env
    folder.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), folder / "web.log"
    process = start(
        str(BIN / "granian"), "--interface", "asgi", "--http", "1", "--loop", "uvloop", "--no-ws",
        "--runtime-mode", "mt", "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning",
        "--backlog", "4096", "--backpressure", "4096", "--workers-kill-timeout", "5", "controlplane.asgi:app",
        log=log, DATA_DIR=str(folder), STATIC_ROOT=str(static), PUBLIC_URL=f"http://127.0.0.1:{port}",
        STATIC_STORAGE="whitenoise.storage.CompressedManifestStaticFilesStorage", **env,
    )  # fmt: skip
    server = Server(f"http://127.0.0.1:{port}", folder, log, process)
    try:
        deadline = time.monotonic() + 90
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if server.request("GET", "/healthz")[0] == 200:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the web server did not start:\n{log.read_text()}")
            time.sleep(0.05)
        yield server
    finally:
        stop(process)


places = itertools.count(1)


@pytest.fixture
def place() -> str:
    """The key of an environment that no other test of this run has had."""
    return f"place-{next(places)}"


@pytest.fixture(scope="session")
def static_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `collectstatic` makes, hashed names and all: pages are served as in production."""
    folder = tmp_path_factory.mktemp("static")
    env = os.environ | {
        "STATIC_ROOT": str(folder),
        "STATIC_STORAGE": "whitenoise.storage.CompressedManifestStaticFilesStorage",
    }
    command = [sys.executable, "manage.py", "collectstatic", "--noinput", "-v0"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def module_server(
    django_db_setup: None, django_db_blocker: Any, static_files: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with django_db_blocker.unblock(), running_server(tmp_path_factory.mktemp("web"), static_files) as server:
        yield server


@pytest.fixture
def server(module_server: Server, transactional_db: None) -> Server:
    return module_server


@pytest.fixture
def fresh_server(transactional_db: None, static_files: Path, tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path / "web", static_files) as server:
        yield server


@pytest.fixture
def empty_queue() -> None:
    """What an earlier test left in the broker must not run in this one."""
    import redis

    redis.Redis.from_url(os.environ["REDIS_URL"].replace("redis+socket://", "unix://", 1)).flushall()


@pytest.fixture
def worker(transactional_db: None, empty_queue: None, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = start_worker(tmp_path / "worker.log")
    yield process
    stop(process, 20)


def start_worker(log: Path, **env: str) -> subprocess.Popen[bytes]:
    """For tests that kill one and start the next."""
    return start(
        str(BIN / "celery"), "-A", "controlplane", "worker", "-P", "threads", "-c", "2", "-l", "warning",
        "--without-gossip", "--without-mingle", "--without-heartbeat", log=log, **env,
    )  # fmt: skip


@pytest.fixture
def beat(worker: subprocess.Popen[bytes], tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The whole beat table, ticking every second, with the worker that does it."""
    command = (str(BIN / "celery"), "-A", "controlplane", "beat", "-l", "warning", "--pidfile=")
    process = start(*command, log=tmp_path / "beat.log", TICK_SECONDS="1")
    yield process
    stop(process)
