"""Threads do not survive a fork: in a child flags must go on changing, and reports must leave, in silence but for one
warning. With the provider as it is used: set in the parent, asked in the child."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.processes import free_port

from .control_plane import KEY, ControlPlane, until

SDK = Path(__file__).parents[2] / "sdk"
BIN = Path(sys.executable).parent
WARNING = "this process was forked"
SETTING = f"""
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.track import TrackingEventDetails
from changeover.openfeature import ChangeoverProvider

api.set_provider_and_wait(ChangeoverProvider(URL, {KEY!r}, name="invoices", flush_seconds=0.05))
client = api.get_client()

def ask(subject):
    client.track("asked", EvaluationContext(subject), TrackingEventDetails(attributes={{"route": "r"}}))
    return client.get_string_value("model", "the code's")
"""


@pytest.fixture
def old_and_new(plane: ControlPlane) -> ControlPlane:
    publish(plane, 412, "old")
    return plane


def publish(plane: ControlPlane, version: int, value: str) -> None:
    flag = {"state": "ENABLED", "variants": {"x": value}, "defaultVariant": "x"}
    plane.publish(version, model=flag)


def script(folder: Path, name: str, plane: ControlPlane, rest: str) -> Path:
    file = folder / f"{name}.py"
    file.write_text(f"URL = {plane.url!r}\n{SETTING}{textwrap.dedent(rest)}")
    return file


def env_of(folder: Path) -> dict[str, str]:
    """A service's own: nothing of ours is in it but the SDK."""
    env = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return env | {"PYTHONPATH": f"{folder}:{SDK}"}


@contextmanager
def running(folder: Path, *command: str) -> Iterator[Path]:
    """What it logs."""
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=folder, stdout=out, stderr=out, env=env_of(folder), start_new_session=True
        )
    try:
        yield log
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def subjects(plane: ControlPlane) -> set[str]:
    return {row["request_id"] for row in plane.told("outcomes")}


def test_after_os_fork_the_child_sees_changes_and_its_reports_leave(old_and_new, tmp_path):
    file = script(
        tmp_path,
        "forking",
        old_and_new,
        """
        import os, sys, time
        assert ask("parent") == "old"
        child = os.fork()
        if not child:
            assert ask("child") == "old"
            print("the child asks", flush=True)
            end = time.monotonic() + 60
            while ask("child") != "new" and time.monotonic() < end:
                time.sleep(0.02)
            sys.exit(0 if ask("last") == "new" else 7)
        assert os.waitpid(child, 0)[1] == 0
        print("done", flush=True)
        """,
    )
    with running(tmp_path, sys.executable, str(file)) as log:
        assert until(lambda: "the child asks" in log.read_text(), 90), log.read_text()
        publish(old_and_new, 413, "new")
        assert until(lambda: "done" in log.read_text(), 90), log.read_text()

    assert subjects(old_and_new) == {"parent", "child", "last"}
    assert log.read_text().count(WARNING) == 1


def test_in_workers_of_gunicorn_that_preloads_flags_do_not_freeze(old_and_new, tmp_path):
    script(
        tmp_path,
        "site_of_ours",
        old_and_new,
        """
        import os
        ask("master")

        def app(environ, start_response):
            start_response("200 OK", [])
            return [f"{os.getpid()} {ask('worker')}".encode()]
        """,
    )
    port = free_port()
    command = [str(BIN / "gunicorn"), "--preload", "-w", "2", "-b", f"127.0.0.1:{port}", "site_of_ours:app"]

    def answers() -> dict[str, str]:
        try:
            told = [urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20).read().decode() for _ in range(12)]
        except OSError:
            return {}
        return dict(line.split() for line in told)

    with running(tmp_path, *command) as log:
        assert until(lambda: len(answers()) == 2, 90), log.read_text()
        assert set(answers().values()) == {"old"}
        publish(old_and_new, 413, "new")
        assert until(lambda: set(answers().values()) == {"new"}), log.read_text()
        assert until(lambda: "worker" in subjects(old_and_new))

    assert log.read_text().count(WARNING) == 2, "once in each worker"


def test_in_children_of_celerys_prefork_pool_flags_do_not_freeze(old_and_new, tmp_path):
    script(
        tmp_path,
        "work",
        old_and_new,
        """
        import time
        from celery import Celery
        app = Celery(broker="filesystem://")
        app.conf.broker_transport_options = {name: "queue" for name in ("data_folder_in", "data_folder_out")}
        app.conf.broker_transport_options |= {"control_folder": "queue", "polling_interval": 0.05}
        ask("parent")

        @app.task
        def look():
            print("answered " + ask("task"))
            while ask("task") != "new":
                time.sleep(0.02)
            print("answered new")
        """,
    )
    (tmp_path / "queue").mkdir()
    command = [str(BIN / "celery"), "-A", "work:app", "worker", "-P", "prefork", "-c", "1", "--without-gossip"]
    send = [sys.executable, "-c", "from work import look; look.delay()"]
    subprocess.run(send, cwd=tmp_path, env=env_of(tmp_path), check=True, capture_output=True)

    with running(tmp_path, *command, "--without-mingle", "--without-heartbeat") as log:
        assert until(lambda: "answered old" in log.read_text(), 90), log.read_text()
        publish(old_and_new, 413, "new")
        assert until(lambda: "answered new" in log.read_text()), log.read_text()
        assert until(lambda: "task" in subjects(old_and_new))

    assert log.read_text().count(WARNING) == 1


def test_a_fork_while_another_thread_evaluates_does_not_hang_the_child(plane, connect):
    client: Any = connect(stream=False)
    client.wait(30)
    done = threading.Event()

    def evaluate() -> None:
        while not done.is_set():
            client.evaluate("invoice-extraction", {"targetingKey": "r"})

    threads = [threading.Thread(target=evaluate) for _ in range(3)]
    for thread in threads:
        thread.start()
    children = []
    for _ in range(10):
        child = os.fork()
        if not child:
            signal.alarm(60)
            client.evaluate("invoice-extraction", {"targetingKey": "c"})
            os._exit(0)
        children.append(child)
    done.set()
    for thread in threads:
        thread.join()

    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 10
