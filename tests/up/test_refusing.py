"""What cannot work is one clear line, and nothing is started."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.processes import ROOT, free_port
from tests.up.running import clean_environment


def start(*arguments: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "bin" / "up"), *arguments],
        env=clean_environment() | env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


@pytest.fixture
def supervise(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "bin"))
    import supervise

    return supervise


def fake_pythons(folder: Path, version: str) -> str:
    """A PATH on which every Python is of this version."""
    for name in ("python3.13", "python3.12", "python3.11", "python3"):
        fake = folder / name
        fake.write_text(f'#!/bin/sh\n[ "$1" = -V ] && echo "Python {version}" && exit\nexit 1\n')
        fake.chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def test_a_python_that_is_too_old(tmp_path: Path) -> None:
    done = start(PATH=fake_pythons(tmp_path, "3.9.2"), PYTHON="")

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "Python 3.11 or newer is needed; found Python 3.9.2" in done.stderr


def test_no_python_at_all(tmp_path: Path) -> None:
    for tool in ("dirname", "sh"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or "")

    done = start(PATH=str(tmp_path), PYTHON="")

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "Python 3.11 or newer is needed; found none" in done.stderr


def test_a_data_folder_that_cannot_be_written() -> None:
    done = start("--port", str(free_port()), "--data", "/proc/changeover")

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "cannot write into the data folder /proc/changeover" in done.stderr


def test_a_data_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    done = start("--port", str(free_port()), "--data", "file", cwd=tmp_path)

    assert done.returncode == 2
    assert f"cannot write into the data folder {tmp_path / 'file'}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_disk_that_is_full(supervise: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "NEEDED_MB", 1 << 40)

    with pytest.raises(supervise.CannotStart, match=r"MB free; \d+ MB are needed"):
        supervise.take_data_folder(tmp_path)


def test_a_host_that_is_not_of_this_machine() -> None:
    done = start("--port", str(free_port()), "--host", "203.0.113.7")

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "cannot listen on 203.0.113.7" in done.stderr


def test_a_port_that_is_none() -> None:
    done = start("--port", "70000")

    assert done.returncode == 2
    assert "must lie between 1 and 65535" in done.stderr


def test_a_trace_without_the_demo() -> None:
    done = start("--trace", "x.csv")

    assert done.returncode == 2
    assert "--trace and --speed go with --demo" in done.stderr


def test_an_unreachable_database_is_said_in_the_last_line(tmp_path: Path) -> None:
    address = f"postgres://nobody:nothing@127.0.0.1:{free_port()}/nothing"

    done = start("--port", str(free_port()), "--data", str(tmp_path / "data"), DATABASE_URL=address)

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("bin/up: the database could not be prepared: ")
    assert not (tmp_path / "data" / "processes.json").exists()


def test_the_lock_of_the_data_folder_is_free_again_when_the_last_child_is_gone(
    supervise: ModuleType, tmp_path: Path
) -> None:
    lock = supervise.take_data_folder(tmp_path)
    program = "import sys; sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, close_fds=False)
    os.close(lock)
    (tmp_path / "up.lock").write_text(f"{os.getpid()}\n")

    with pytest.raises(supervise.CannotStart, match="another bin/up"):
        supervise.take_data_folder(tmp_path)

    child.communicate()
    os.close(supervise.take_data_folder(tmp_path))
