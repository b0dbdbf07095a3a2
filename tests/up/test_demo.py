"""`bin/up --demo`, as a person would watch it: the bad candidate goes by itself, whatever is killed meanwhile."""

import http.client
import json
import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.up.running import CHILDREN, Up

pytestmark = [pytest.mark.trees, pytest.mark.slow, pytest.mark.timeout(900)]


class Demo:
    def __init__(self, up: Up) -> None:
        self.up = up
        up.until(lambda: (up.data / "demo.json").exists())
        self.told: dict[str, Any] = json.loads((up.data / "demo.json").read_text())

    def get(self, path: str) -> Any:
        talk = http.client.HTTPConnection("127.0.0.1", self.up.port, timeout=20)
        try:
            query = f"environment={self.told['environment']}&route={self.told['route']}"
            talk.request("GET", f"{path}?{query}", headers={"Authorization": f"Bearer {self.told['keys']['manage']}"})
            answer = talk.getresponse()
            return json.loads(answer.read()) if answer.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            talk.close()

    def calls(self) -> int:
        rows = self.get("/api/v1/windows/") or {"results": []}
        return sum(row["calls"] for row in rows["results"])

    def kinds(self) -> list[str]:
        rows = self.get("/api/v1/decisions/") or {"results": []}
        return [row["kind"] for row in rows["results"]]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Up(tmp_path_factory.mktemp("demo") / "data", "--demo") as up:
        yield Demo(up.wait_ready())


def test_it_writes_down_who_can_log_in_and_with_which_keys(demo: Demo) -> None:
    file = demo.up.data / "demo.json"

    assert file.stat().st_mode & 0o077 == 0
    assert demo.told["url"] == f"http://127.0.0.1:{demo.up.port}"
    assert set(demo.told["keys"]) == {"read", "report", "manage"}
    assert all(set(demo.told[who]) >= {"username", "password"} for who in ("operator", "approver", "viewer"))
    assert set(demo.up.pids()) == {*CHILDREN, "demo"}


def test_the_bad_candidate_is_rolled_back_within_two_minutes(demo: Demo) -> None:
    demo.up.until(lambda: "roll_back" in demo.kinds(), 240)
    demo.up.until(lambda: "as a service saw it" in demo.up.output())

    seen = re.search(r"([\d.]+) s from the first bad answer to share 0", demo.up.output())
    served = re.search(r"([\d.]+) s of it from the decision to the snapshot being served", demo.up.output())
    assert seen and served
    print(f"\ndemo: {seen[1]} s from the first bad answer to share 0; {served[1]} s from the decision to its snapshot")
    assert float(seen[1]) < 60
    assert float(served[1]) < 10  # another tree runs beside it: alone it takes a fifth of a second


@pytest.mark.parametrize("name", ["web", "worker", "broker", "beat"])
def test_the_demo_goes_on_when_a_process_is_killed(demo: Demo, name: str) -> None:
    before, calls = demo.up.pids(), demo.calls()

    os.kill(before[name], signal.SIGKILL)

    demo.up.until(lambda: demo.up.pids().get(name, before[name]) != before[name])
    demo.up.until(lambda: demo.up.get("/readyz") == 200)
    demo.up.until(lambda: demo.calls() > calls)
    assert demo.up.pids()["demo"] == before["demo"]


def test_the_good_candidate_reaches_all_traffic_all_the_same(demo: Demo) -> None:
    demo.up.until(lambda: "finish" in demo.kinds(), 600)
    demo.up.until(lambda: "The story is over" in demo.up.output(), 180)

    assert "cost per 1,000 requests" in demo.up.output()


def test_it_stops_with_everything_that_it_started(demo: Demo) -> None:
    demo.up.process.terminate()

    assert demo.up.process.wait(90) == 0
    assert demo.up.left() == []
