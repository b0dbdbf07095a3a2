"""However it ends, nothing of it runs on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.up.running import Up

pytestmark = [pytest.mark.trees, pytest.mark.slow, pytest.mark.timeout(300)]

# Starts what follows as its child, and waits. Never the last command of a shell, which would become it by exec.
A_PARENT = (sys.executable, "-c", "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with Up(tmp_path / "data") as up:
        up.wait_ready()
        began = time.monotonic()

        up.process.send_signal(number)

        assert up.process.wait(90) == 0
        print(f"\nbin/up: stopped {time.monotonic() - began:.1f} s after {number.name}")
        assert up.left() == []
        assert not (up.data / "processes.json").exists()
        assert "bin/up: stopped" in up.output()


def test_a_signal_while_it_still_prepares_stops_it_too(tmp_path: Path) -> None:
    with Up(tmp_path / "data") as up:
        up.until(lambda: (up.data / "processes.json").exists())

        up.process.send_signal(signal.SIGTERM)

        assert up.process.wait(90) == 0
        assert up.left() == []


def test_killed_with_9_it_leaves_nothing(tmp_path: Path) -> None:
    with Up(tmp_path / "data") as up:
        up.wait_ready()

        up.process.kill()
        up.process.wait()

        up.until(lambda: up.left() == [])


def test_killed_with_9_together_with_its_children_it_leaves_nothing(tmp_path: Path) -> None:
    with Up(tmp_path / "data") as up:
        up.wait_ready()
        pids = up.pids()

        up.process.kill()
        for name in ("web", "worker", "beat"):
            os.kill(pids[name], signal.SIGKILL)
        up.process.wait()

        up.until(lambda: up.left() == [])


def test_it_stops_when_who_started_it_was_killed_with_9(tmp_path: Path) -> None:
    with Up(tmp_path / "data", command=A_PARENT) as up:
        up.wait_ready()

        up.process.kill()
        up.process.wait()

        up.until(lambda: up.left() == [])
        assert "the process that started it is gone" in up.output()


def test_it_stays_when_a_script_put_it_into_the_background(tmp_path: Path) -> None:
    script = ("sh", "-c", '"$@" & echo $! >"$0"', str(tmp_path / "pid"))
    with Up(tmp_path / "data", command=script) as up:
        up.process.wait()  # the script is gone; what it started is not

        up.wait_ready()
        time.sleep(1)
        assert up.get("/healthz") == 200

        os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
        up.until(lambda: up.left() == [])


def test_it_can_start_again_at_once_after_a_kill(tmp_path: Path) -> None:
    with Up(tmp_path / "data") as first:
        first.wait_ready()
        first.process.kill()
        first.process.wait()
        began = time.monotonic()
        with Up(tmp_path / "data") as second:
            second.wait_ready()
            print(f"\nbin/up: a start on data that is there took {time.monotonic() - began:.1f} s")

            assert second.get("/readyz") == 200


def test_what_dies_five_times_in_a_minute_ends_it_with_the_reason() -> None:
    program = (
        "import sys, time; sys.path.insert(0, 'bin'); import tree\n"
        "t = tree.Tree(lambda pids: None)\n"
        "t.add('well', 'sleep', '1000')\n"
        "t.add('ill', 'sh', '-c', 'echo ValueError: no luck; echo bye; exit 3')\n"
        "try:\n"
        "    while True: t.look(time.monotonic()); time.sleep(0.02)\n"
        "except tree.GaveUp as reason: print('GAVE UP', reason)\n"
        "t.stop(('well', 'ill'))\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)

    assert "starting it again in 0.25 s" in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith("GAVE UP ill died 5 times within a minute, the last time ended with exit code 3.")
    assert last.endswith("It said: ValueError: no luck")
