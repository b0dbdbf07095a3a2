"""The demo's own processes: started, watched, started again when they die, stopped together."""

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from demo.saying import say

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 5.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@dataclass
class Child:
    name: str
    arguments: list[str]
    process: subprocess.Popen[bytes] | None = None
    deaths: int = 0
    start_at: float = 0.0


@dataclass
class Children:
    all: list[Child] = field(default_factory=list)

    def add(self, name: str, *arguments: str) -> None:
        child = Child(name, list(arguments))
        self.all.append(child)
        self.start(child)

    def start(self, child: Child) -> None:
        """Only from the main thread: the kernel tells children of a thread's death, not only of a process's."""
        child.process = subprocess.Popen(
            [sys.executable, "-m", *child.arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )

    def look(self, now: float) -> None:
        for child in self.all:
            if child.process is not None and child.process.poll() is not None:
                child.deaths += 1
                wait = min(0.5 * 2 ** min(child.deaths, 5), 10.0)
                say(f"{child.name} ended with {child.process.returncode}; it starts again in {wait:g} s.")
                child.process, child.start_at = None, now + wait
            if child.process is None and now >= child.start_at:
                self.start(child)

    def stop(self) -> None:
        running = [child.process for child in self.all if child.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + PATIENCE
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
