"""A running `bin/up` for the tests beside this file."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.processes import ROOT, free_port

CHILDREN = {"web", "worker", "beat", "broker"}


def clean_environment() -> dict[str, str]:
    """As a person's shell has it: nothing of what the tests set for themselves."""
    ours = (
        "DATABASE_URL", "REDIS_URL", "DATA_DIR", "SECRET_KEY", "SQLITE_SYNC", "STATIC_STORAGE",
        "DJANGO_SETTINGS_MODULE",
    )  # fmt: skip
    return {k: v for k, v in os.environ.items() if k not in ours and not k.startswith("PYTEST_")}


def as_at_a_terminal() -> None:
    """Whoever started the tests in the background or under nohup has had these ignored, and bin/up would stay."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Up:
    def __init__(self, data: Path, *arguments: str, command: tuple[str, ...] = (), **env: str) -> None:
        self.data, self.port = data, free_port()
        self.log = data.with_name(f"{data.name}.log")
        self.process = subprocess.Popen(
            [*command, str(ROOT / "bin" / "up"), "--port", str(self.port), "--data", str(data), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self.log.open("wb"),
            stderr=subprocess.STDOUT,
            env=clean_environment() | env,
            preexec_fn=as_at_a_terminal,
        )

    def __enter__(self) -> "Up":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(60)
        for pid in self.left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process.poll() is None:
            self.process.wait(60)

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_ready(self) -> "Up":
        self.until(lambda: " ready after " in self.output(), 180)
        return self

    def until(self, condition: Callable[[], bool], seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds} s:\n{self.output()}"
            time.sleep(0.05)

    def pids(self) -> dict[str, int]:
        pids: dict[str, int] = json.loads((self.data / "processes.json").read_text())
        return pids

    def get(self, path: str) -> int:
        talk = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            talk.request("GET", path)
            return talk.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            talk.close()

    def left(self) -> list[int]:
        """Every process that names this data folder in its command line or its environment."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (folder / "cmdline").read_bytes() + b"\0" + (folder / "environ").read_bytes()
                if os.fsencode(self.data) in words and int(folder.name) != os.getpid():
                    found.append(int(folder.name))
        return found

    def memory_mb(self) -> float:
        """Proportional set size of the whole tree: shared pages counted once."""
        total = 0
        for pid in self.left():
            with contextlib.suppress(OSError):
                rollup = (Path("/proc") / str(pid) / "smaps_rollup").read_text()
                total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        return total / 1024
