"""Children that are started, watched, started again and stopped together, and that never outlive their parent.

Three nets, each tried with kill -9. Every child asks the kernel for SIGTERM at its parent's death (parentage.py;
granian's worker asks for itself). A guard process learns of the parent's death by the end of a pipe, and seconds later
kills what is left of the children's groups. Before a child is started again, what is left of its group is killed.
"""

import contextlib
import os
import re
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# By path: importing the package would load Celery and Django into this small process.
die_with_parent: Callable[[], None] = runpy.run_path(
    str(Path(__file__).resolve().parent.parent / "controlplane" / "parentage.py")
)["die_with_parent"]

DEATHS, WITHIN_SECONDS = 5, 60.0
PATIENCE_SECONDS = 10.0  # from SIGTERM to SIGKILL, in a stop that was asked for
GUARD_SECONDS = 3.0  # the same, when the parent was killed


def say(text: str) -> None:
    with contextlib.suppress(OSError):  # whoever read us may be gone: that must not stop the stopping
        print(f"bin/up: {text}", flush=True)


@dataclass
class Child:
    name: str
    command: list[str]
    env: Mapping[str, str]
    may_finish: bool = False  # ending with 0 is its own choice, not a death
    noise: tuple[bytes, ...] = ()  # lines with one of these in them tell nobody anything
    process: subprocess.Popen[bytes] | None = None
    deaths: deque[float] = field(default_factory=lambda: deque(maxlen=DEATHS))
    start_at: float | None = None  # waiting to be started again
    last_words: deque[str] = field(default_factory=lambda: deque(maxlen=40))
    reader: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.returncode is None


class GaveUp(Exception):
    """A child died too often."""


class Tree:
    def __init__(self, on_change: Callable[[dict[str, int]], None]) -> None:
        self.children: dict[str, Child] = {}
        self.on_change = on_change
        self.guard = start_guard()
        self.hurry = False

    def add(
        self, name: str, *command: str, may_finish: bool = False, noise: tuple[bytes, ...] = (), **env: str
    ) -> None:
        self.children[name] = Child(name, list(command), env, may_finish, noise)
        self._start(self.children[name])

    def _start(self, child: Child) -> None:
        """Only from the main thread: the kernel counts the death of the thread that forked as the parent's."""
        child.start_at = None
        child.process = subprocess.Popen(
            child.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | child.env,
            process_group=0,  # Ctrl-C reaches only us; we stop them in order
            preexec_fn=die_with_parent,
        )
        self._tell_guard(b"+%d\n" % child.process.pid)
        child.reader = threading.Thread(target=copy_lines, args=(child,), daemon=True)
        child.reader.start()
        self._tell()

    def pids(self) -> dict[str, int]:
        return {name: c.process.pid for name, c in self.children.items() if c.process is not None and c.is_running}

    def look(self, now: float) -> None:
        """Notices who died and starts again whose time has come."""
        for child in self.children.values():
            if child.is_running and child.process is not None and child.process.poll() is not None:
                self._bury(child, child.process, now)
            if child.start_at is not None and now >= child.start_at:
                self._start(child)

    def _bury(self, child: Child, process: subprocess.Popen[bytes], now: float) -> None:
        self._kill_group(process.pid)
        self._tell()
        if child.may_finish and process.returncode == 0:
            return
        child.deaths.append(now)
        recent = sum(1 for at in child.deaths if now - at < WITHIN_SECONDS)
        how = ending(process.returncode)
        if recent >= DEATHS:
            if child.reader:
                child.reader.join(1)
            raise GaveUp(f"{child.name} died {recent} times within a minute, the last time {how}{why(child)}")
        wait = min(0.25 * 2 ** (recent - 1), 5.0)
        child.start_at = now + wait
        say(f"{child.name} {how}; starting it again in {wait:g} s")

    def stop(self, *order: tuple[str, ...]) -> None:
        for names in order:
            together = [c for n in names if (c := self.children.get(n)) is not None and c.process is not None]
            for child in together:
                child.start_at = None
                if child.process and child.process.poll() is None:
                    child.process.terminate()  # the main process only: granian and celery stop their own
            deadline = time.monotonic() + PATIENCE_SECONDS
            for child in together:
                while child.process and child.process.poll() is None and time.monotonic() < deadline and not self.hurry:
                    time.sleep(0.02)
            for child in together:
                if child.process:
                    self._kill_group(child.process.pid)
                    child.process.wait()
        for child in self.children.values():
            if child.reader:
                child.reader.join(1)  # their last words come before ours
        self._tell()

    def _kill_group(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        self._tell_guard(b"-%d\n" % pid)

    def _tell_guard(self, line: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(self.guard, line)

    def _tell(self) -> None:
        self.on_change(self.pids())


def ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def why(child: Child) -> str:
    """Its last line that names an error, else its last line."""
    errors = [words for words in child.last_words if re.match(r"[\w.]*(Error|Exception|Refused)\b.*: ", words)]
    words = (errors or list(child.last_words))[-1:]
    return f". It said: {words[0]}" if words else ""


def copy_lines(child: Child) -> None:
    process = child.process
    assert process and process.stdout
    prefix = f"{child.name:>6} | ".encode()
    while line := process.stdout.readline(65536):
        if any(noise in line for noise in child.noise):
            continue
        if text := line.decode(errors="replace").strip():
            child.last_words.append(text[:300])
        with contextlib.suppress(
            OSError, ValueError
        ):  # read on without a reader of ours: a full pipe would stop the child
            sys.stdout.buffer.write(prefix + line)
            sys.stdout.buffer.flush()


def start_guard() -> int:
    """Forks the guard; returns the pipe's end that only we hold. Call it before there are threads."""
    read, write = os.pipe()
    if os.fork():
        os.close(read)
        return write
    os.close(write)
    os.setpgid(0, 0)  # a signal to our group, or Ctrl-C, must not take the guard along
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # nobody who waits for the end of our output waits for the guard
        os.dup2(null, stream)
    groups: set[int] = set()
    with os.fdopen(read, "rb") as pipe:
        for line in pipe:
            pid = int(line[1:])
            if line.startswith(b"+"):
                groups.add(pid)
            else:
                groups.discard(pid)
    end_groups(groups)
    os._exit(0)


def end_groups(groups: set[int]) -> None:
    for number, patience in ((signal.SIGTERM, GUARD_SECONDS), (signal.SIGKILL, 0.0)):
        left = {group for group in groups if sent(group, number)}
        deadline = time.monotonic() + patience
        while left and time.monotonic() < deadline:
            time.sleep(0.05)
            left = {group for group in left if sent(group, 0)}


def sent(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
