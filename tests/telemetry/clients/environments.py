"""Clients whose pinned packages do not go together with ours: each has an environment of its own, under `var/clients/`.

Made when a test first asks for it, from a file of exact versions with hashes, and again when that file changes:

    uv pip compile --universal --generate-hashes --no-emit-index-url --prerelease=allow -p 3.11 NAME.in -o NAME.txt
"""

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
PLACE = Path(os.environ.get("CLIENTS_DIR", ROOT / "var" / "clients"))
UV = Path(sys.executable).parent / "uv"
NO_INDEX = (
    "error sending request", "dns error", "Connection refused", "Failed to fetch", "Network connectivity",
    "network timeout",
)  # fmt: skip


def python_of(name: str) -> Path:
    """The Python of that client's environment; skips the test where no package index answers."""
    pins = HERE / f"{name}.txt"
    digest = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()[:12]
    place = PLACE / f"{name}-{digest}"
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test processes make it once
        if not (place / "ready").exists():
            make(place, pins)
            (place / "ready").touch()
    return place / "bin" / "python"


def make(place: Path, pins: Path) -> None:
    run("venv", "-q", "--clear", "-p", sys.executable, place)
    run("pip", "install", "-q", "-p", place / "bin" / "python", "--require-hashes", "-r", pins)


def run(*command: str | Path) -> None:
    env = os.environ | {"UV_PYTHON_DOWNLOADS": "never", "UV_HTTP_TIMEOUT": "10"}
    done = subprocess.run([UV, *command], env=env, capture_output=True, text=True, check=False)
    if done.returncode and any(words in done.stderr for words in NO_INDEX):
        pytest.skip(f"no package index answers: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


def run_client(name: str, *arguments: str, **env: str) -> Any:
    """Runs `NAME.py` as a process of its own; what it printed."""
    command = [python_of(name), HERE / f"{name}.py", *arguments]
    done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout
