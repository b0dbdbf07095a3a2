"""Makes .venv, or brings it up to date, when a requirements file, the Python or the folder changed.

    python bin/install.py [--dev] [then FILE ARGUMENTS…]    FILE is then run by the .venv's own Python, as this process

Runs on any Python 3.11 with nothing installed. Uses uv where it is on the machine, else pip.
"""

import ctypes
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PAUSES = (0, 3, 15)  # seconds before each try of what asks the network
NEEDED_MB = {"requirements.txt": 400, "requirements-dev.txt": 1000}  # measured: 285 and 760 on disk, and the downloads


def say_and_leave(message: str) -> None:
    print(f"changeover: {message}", file=sys.stderr)
    raise SystemExit(2)


def stamp(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def installed(name: str) -> str:
    file = VENV / name
    return file.read_text() if file.exists() else ""


def die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def run(*command: str | Path, tries: int = 1) -> None:
    env = {"UV_HTTP_TIMEOUT": "120"} | os.environ | {"UV_PYTHON_DOWNLOADS": "never", "VIRTUAL_ENV": str(VENV)}
    try:
        for pause in PAUSES[:tries]:
            time.sleep(pause)
            if subprocess.run(command, env=env, cwd=ROOT, preexec_fn=die_with_parent, check=False).returncode == 0:
                return
    except KeyboardInterrupt:
        say_and_leave("stopped in the middle of the install; the next start goes on with it")
    say_and_leave(f"the install failed (its own words are above): {' '.join(map(str, command[:4]))} …")


def make_venv(uv: str | None) -> None:
    if uv:
        run(uv, "venv", "-q", "--clear", "-p", sys.executable, VENV)
        return
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        say_and_leave(f"{sys.executable} has no venv module. Install it (Debian: apt-get install python3-venv), or uv")
    shutil.rmtree(VENV, ignore_errors=True)
    run(sys.executable, "-m", "venv", VENV)


def made() -> str:
    return stamp(sys.version.encode(), sys.base_prefix.encode(), str(ROOT).encode())


def is_current(requirements: str) -> bool:
    wanted = stamp((ROOT / requirements).read_bytes())
    return installed(".made") == made() and installed(f".installed-{requirements}") == wanted


def bring_up_to_date(requirements: str) -> None:
    try:
        lock = (ROOT / ".venv.lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)  # two starts at once: the second waits and finds everything done
        if is_current(requirements):
            return
        free_mb = shutil.disk_usage(ROOT).free >> 20
        if free_mb < NEEDED_MB[requirements]:
            say_and_leave(f"{ROOT} has {free_mb} MB free; the install needs {NEEDED_MB[requirements]} MB")
        uv = shutil.which("uv")
        if installed(".made") != made():
            make_venv(uv)
            (VENV / ".made").write_text(made())
        print(f"changeover: installing {requirements} into .venv", flush=True)
        marker = VENV / f".installed-{requirements}"
        marker.unlink(missing_ok=True)
        if uv:
            run(uv, "pip", "install", "-q", "--require-hashes", "-r", requirements, tries=3)
        else:
            python = VENV / "bin/python"
            if not list(VENV.glob("lib/python*/site-packages/pip")):  # uv made it, and is gone
                run(python, "-m", "ensurepip")
            pip = (python, "-m", "pip", "--disable-pip-version-check")
            run(*pip, "install", "-q", "--timeout", "30", "--require-hashes", "-r", requirements, tries=3)
        marker.write_text(stamp((ROOT / requirements).read_bytes()))
    except OSError as error:
        say_and_leave(f"cannot write into {ROOT}: {error.strerror}")


def main() -> None:
    arguments = sys.argv[1:]
    dev = arguments[:1] == ["--dev"]
    arguments = arguments[dev:]
    # The development pins contain all of the others: a .venv that has them is kept up to date with them.
    dev = dev or bool(installed(".installed-requirements-dev.txt"))
    requirements = "requirements-dev.txt" if dev else "requirements.txt"
    if not is_current(requirements):
        bring_up_to_date(requirements)
    if arguments[:1] == ["then"]:
        python = str(VENV / "bin/python")
        os.execv(python, [python, *arguments[1:]])


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main()
