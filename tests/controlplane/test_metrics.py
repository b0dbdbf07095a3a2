"""/metrics: every name by Prometheus's own parser, from a live server and the processes beside it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from apps.access import services as access
from apps.core.actors import WORKER
from tests.console.make_money import make_budget
from tests.processes import ROOT, Server, running_server, url_of_test_database
from tests.rollouts.make_rollouts import start_rollout
from tests.telemetry.make_telemetry import batch
from tests.telemetry.make_telemetry import call as ordinary

DASHBOARDS = sorted((ROOT / "docs" / "grafana").glob("*.json"))


class Scraped:
    """What Prometheus would make of it."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = {
            (one.name, tuple(sorted(one.labels.items()))): one.value
            for family in self.families.values()
            for one in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        return self.samples[f"changeover_{name}", tuple(sorted(labels.items()))]


def scraped(server: Server, **headers: str) -> Scraped:
    status, told, body = server.request("GET", "/metrics", headers=headers)
    assert status == 200, body
    assert told["content-type"].startswith("text/plain")
    return Scraped(body.decode())


@pytest.fixture
def counted(tmp_path: Path) -> Path:
    return tmp_path / "counted"


@pytest.fixture
def server(transactional_db: None, static_files: Path, tmp_path: Path, counted: Path) -> Iterator[Server]:
    env = {"PROMETHEUS_MULTIPROC_DIR": str(counted), "METRICS_SECONDS": "0.2", "METRICS_TOKEN": "scrape-me"}
    with running_server(tmp_path / "web", static_files, **env) as server:
        yield server


@pytest.mark.django_db(transaction=True)
def test_a_live_server_tells_what_happened_in_it_and_in_a_worker_that_has_gone(server, environment, counted):
    now = timezone.now()
    start_rollout(now - timedelta(minutes=5))
    make_budget(now, usd=0.01)
    _, secret = access.create_key(
        environment=environment,
        name="test", scopes=["flags:read", "telemetry:write"], by=WORKER, now=now,
    )  # fmt: skip
    told = {"Authorization": f"Bearer {secret}"}
    wait_for(lambda: server.request("GET", "/flagd/flags.json", headers=told)[0] == 200)
    send = json.dumps(batch(call(id="a"), call(id="a"), call(id="b", latency_ms=-1), call(id="c", route="nobodys")))

    server.request("POST", "/ofrep/v1/evaluate/flags/invoice-extraction", '{"context":{"targetingKey":"r-1"}}', told)
    server.request("POST", "/ofrep/v1/evaluate/flags/nothing", "{}", told)
    server.request("POST", "/api/v1/telemetry", send, told)
    server.request("GET", "/login/")
    tick_elsewhere(counted)
    key = {"Authorization": "Bearer scrape-me"}
    wait_for(lambda: "changeover_last_tick_timestamp_seconds" in scraped(server, **key).families)
    says = scraped(server, **key)

    door = "/ofrep/v1/evaluate/flags/{key}"
    assert says("http_request_duration_seconds_count", door=door, status="200") == 1
    assert says("http_request_duration_seconds_bucket", door=door, status="404", le="+Inf") == 1
    assert says("http_request_duration_seconds_count", door="/api/v1/telemetry", status="202") == 1
    assert says("http_request_duration_seconds_count", door="pages", status="200") == 1
    assert says("flag_evaluations_total", environment="production", reason="ERROR") == 1
    assert says("telemetry_calls_total", environment="production", result="accepted") == 2
    assert says("telemetry_calls_total", environment="production", result="duplicate") == 1
    assert says("telemetry_calls_total", environment="production", result="rejected") == 1
    assert says("telemetry_unassigned_calls_total", environment="production") == 1
    assert says("telemetry_commit_duration_seconds_count") == 1
    assert says("telemetry_queue_bytes") == 0
    assert says("tick_duration_seconds_count") == 1
    assert says("looks_total") == 1
    assert says("snapshot_version", environment="production") > 0
    assert says("rollouts", environment="production", state="running") == 1
    assert says("spend_today_usd", environment="production", route="unassigned", kind="estimated") >= 0
    assert says("deliveries", state="dead") == 0
    assert abs(says("last_tick_timestamp_seconds") - time.time()) < 30
    assert all(name.startswith("changeover_") for name in says.families)
    assert secret[:12] not in repr(says.samples)


def call(**fields):
    return ordinary(at=timezone.now().isoformat(), **fields)


def tick_elsewhere(counted: Path) -> None:
    code = "import django; django.setup(); from apps.rollouts.tasks import tick; tick()"
    env = os.environ | {
        "DATABASE_URL": url_of_test_database(), "PYTHONPATH": f"{ROOT}:{ROOT / 'sdk'}",
        "DJANGO_SETTINGS_MODULE": "controlplane.settings", "PROMETHEUS_MULTIPROC_DIR": str(counted),
    }  # fmt: skip
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, check=True)


def wait_for(is_so) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)
