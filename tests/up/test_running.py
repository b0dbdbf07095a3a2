"""One `bin/up`, asked many things while it runs."""

import contextlib
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import ROOT, free_port
from tests.up.running import CHILDREN, Up, clean_environment

pytestmark = [pytest.mark.trees, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("up") / "data") as up:
        yield up.wait_ready()


def try_to_start(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "bin" / "up"), *arguments]
    return subprocess.run(
        command,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )


def test_it_is_ready_when_it_says_so(up: Up) -> None:
    assert up.get("/readyz") == 200
    assert f"http://127.0.0.1:{up.port}" in up.output()


def test_it_names_its_children(up: Up) -> None:
    pids = up.pids()

    assert set(pids) == CHILDREN
    assert all(Path(f"/proc/{pid}").exists() for pid in pids.values())


def test_it_prints_a_link_for_the_first_operator(up: Up) -> None:
    line = next(line for line in up.output().splitlines() if "first operator's password" in line)
    path = line.rpartition(f":{up.port}")[2]

    assert path.startswith("/welcome/")
    assert up.get(path) == 302  # to the form


def test_what_it_makes_is_for_its_owner_only(up: Up) -> None:
    assert up.data.stat().st_mode & 0o077 == 0
    assert (up.data / "secret_key").stat().st_mode & 0o077 == 0


def test_the_whole_tree_needs_less_than_500_mb(up: Up, record_property: pytest.FixtureRequest) -> None:
    memory = up.memory_mb()

    print(f"\nbin/up: the whole tree takes {memory:.0f} MB (PSS)")
    assert memory < 500


def test_its_metrics_tell_of_the_worker_too(up: Up) -> None:
    def ticks() -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{up.port}/metrics") as answer:
            said = re.search(rb"^changeover_tick_duration_seconds_count ([\d.]+)$", answer.read(), re.MULTILINE)
        return float(said[1]) if said else 0.0

    up.until(lambda: ticks() >= 1)


def test_a_busy_port_is_one_clear_line(up: Up, tmp_path: Path) -> None:
    second = try_to_start("--port", str(up.port), "--data", str(tmp_path / "other"))

    assert second.returncode == 2
    assert second.stderr == (
        f"bin/up: port {up.port} is in use. Stop what uses it, or choose another: bin/up --port {up.port + 1}\n"
    )


def test_a_data_folder_in_use_is_one_clear_line(up: Up) -> None:
    second = try_to_start("--port", str(free_port()), "--data", str(up.data))

    assert second.returncode == 2
    assert second.stderr == (
        f"bin/up: another bin/up (pid {up.process.pid}) uses {up.data}. Stop it, or choose another: --data\n"
    )
    assert up.get("/readyz") == 200


@pytest.mark.parametrize("name", ["web", "worker", "beat", "broker"])
def test_a_killed_child_is_started_again(up: Up, name: str) -> None:
    before = up.pids()

    os.kill(before[name], signal.SIGKILL)

    up.until(lambda: up.pids().get(name, before[name]) != before[name])
    up.until(lambda: up.get("/readyz") == 200)
    after = up.pids()
    assert set(after) == CHILDREN
    assert {n: pid for n, pid in after.items() if n != name} == {n: pid for n, pid in before.items() if n != name}


def test_a_killed_server_process_below_web_is_started_again(up: Up) -> None:
    web = up.pids()["web"]
    children = Path(f"/proc/{web}/task/{web}/children").read_text().split()

    for child in children:
        with contextlib.suppress(ProcessLookupError):  # one may take the next along
            os.kill(int(child), signal.SIGKILL)

    up.until(lambda: up.pids().get("web", web) != web)
    up.until(lambda: up.get("/readyz") == 200)
