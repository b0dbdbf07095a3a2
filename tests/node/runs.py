"""Runs the scripts of this folder with Node, and talks with them line by line.

The packages are installed once, by the lock file, into a folder of the user's cache.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services import die_with_pytest

HERE = Path(__file__).parent
LEAST = 20
SECONDS = 90  # for npm; a test has two minutes
AGAIN_SECONDS = 600  # where it has failed nobody tries again in this run


def installed() -> Path:
    """The folder with node_modules and a copy of the scripts; skips where there is no Node, npm or registry."""
    folder, trouble = install()
    if trouble:
        pytest.skip(trouble)
    return folder


def install() -> tuple[Path, str]:
    """The folder, and why it is not complete."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return Path(), "The JavaScript clients need Node >= 20 and npm: not found."
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < LEAST:
        return Path(), f"The JavaScript clients need Node >= {LEAST}: this is {version}."
    lock = (HERE / "package-lock.json").read_bytes()
    folder = cache() / f"node-{hashlib.sha256(lock).hexdigest()[:12]}"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        failed = folder / "failed"
        if failed.exists() and time.time() - failed.stat().st_mtime < AGAIN_SECONDS:
            return folder, failed.read_text()
        if not (folder / "complete").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, folder)
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            try:
                subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=True)
            except subprocess.SubprocessError as fault:
                words = str(getattr(fault, "stderr", None) or fault).strip()[-300:]
                failed.write_text(f"npm ci did not work, so the JavaScript clients are left out: {words}")
                return folder, failed.read_text()
            (folder / "complete").touch()
        for script in HERE.glob("*.mjs"):
            target = folder / script.name
            if not target.exists() or target.read_bytes() != script.read_bytes():
                shutil.copy(script, target)
    return folder, ""


def cache() -> Path:
    """The user's own, or one beside the temporary files where no home can be written."""
    with contextlib.suppress(OSError, RuntimeError):
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "changeover"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    folder = Path(tempfile.gettempdir()) / f"changeover-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


class Script:
    """One that runs: `said` is what it told so far."""

    def __init__(self, name: str, given: dict[str, Any], log: Path) -> None:
        self.said: list[dict[str, Any]] = []
        self.lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.log = log
        self.process = subprocess.Popen(
            ["node", name, json.dumps(given)],
            cwd=installed(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("ab"),
            text=True,
            preexec_fn=die_with_pytest,
        )
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        for line in self.process.stdout or ():
            with contextlib.suppress(ValueError):  # what a library prints is no line of ours
                self.lines.put(json.loads(line))
        self.lines.put(None)

    def until(self, true: Callable[[dict[str, Any]], bool], seconds: float = 60) -> dict[str, Any]:
        """The first line, of those not yet read, for which this is true."""
        end = time.monotonic() + seconds
        while True:
            try:
                line = self.lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"nothing came of it; said so far: {self.said[-10:]}") from None
            if line is None:
                raise AssertionError(f"the script ended: {self.log.read_text()[-2000:]}")
            self.said.append(line)
            if true(line):
                return line

    def do(self, what: str, **more: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": what} | more) + "\n")
        self.process.stdin.flush()
        return self.until(lambda line: line.get("did") == what)

    def ask(self, flag: str, kind: str, fallback: Any, context: Any = None) -> dict[str, Any]:
        more = {} if context is None else {"context": context}
        return self.do("ask", flag=flag, kind=kind, fallback=fallback, **more)

    def requests(self) -> list[dict[str, Any]]:
        return [line for line in self.said if "request" in line]


@contextlib.contextmanager
def running(name: str, given: dict[str, Any], folder: Path) -> Iterator[Script]:
    script = Script(name, given, folder / f"{name}.log")
    try:
        script.until(lambda line: "ready" in line, 90)
        yield script
    finally:
        script.process.kill()
        script.process.wait()
