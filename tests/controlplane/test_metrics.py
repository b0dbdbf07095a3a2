"""/metrics: every name by Prometheus's own parser, from a live server and the processes beside it."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from django.utils import timezone
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from apps.access import services as access
from apps.core.actors import WORKER
from apps.flags.serving.shelf import shelf
from apps.rollouts.models import Shard
from apps.telemetry.models import Freshness
from controlplane import facts, scrape
from tests.console.make_money import make_budget
from tests.processes import ROOT, Server, eventually, running_server, url_of_test_database
from tests.rollouts.make_rollouts import make_route, start_rollout
from tests.telemetry.make_telemetry import ROUTE, batch
from tests.telemetry.make_telemetry import call as ordinary

DASHBOARD = ROOT / "docs" / "grafana" / "changeover.json"
NAME = re.compile(r"\bchangeover_[a-z_]+")


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

    def since(self, before: "Scraped", name: str, **labels: str) -> float:
        """What a counter has grown by: the server lives longer than a test."""
        key = f"changeover_{name}", tuple(sorted(labels.items()))
        return self.samples[key] - before.samples.get(key, 0)


def scraped(server: Server, **headers: str) -> Scraped:
    status, told, body = server.request("GET", "/metrics", headers=headers)
    assert status == 200, body
    assert told["content-type"].startswith("text/plain")
    return Scraped(body.decode())


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("counted")


@pytest.fixture(scope="module")
def watched_server(django_db_setup, django_db_blocker, static_files, tmp_path_factory, counted) -> Iterator[Server]:
    env = {
        "PROMETHEUS_MULTIPROC_DIR": str(counted), "METRICS_SECONDS": "0.2", "METRICS_TOKEN": "scrape-me",
        "LOG_LEVEL": "DEBUG", "LOG_FORMAT": "json",
    }  # fmt: skip
    with django_db_blocker.unblock(), running_server(tmp_path_factory.mktemp("web"), static_files, **env) as server:
        yield server


@pytest.fixture
def server(watched_server: Server, transactional_db: None) -> Server:
    return watched_server


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
    eventually(lambda: server.request("GET", "/flagd/flags.json", headers=told)[0] == 200)
    key = {"Authorization": "Bearer scrape-me"}
    before = scraped(server, **key)
    send = json.dumps(batch(call(id="a"), call(id="a"), call(id="b", latency_ms=-1), call(id="c", route="nobodys")))

    server.request("POST", "/ofrep/v1/evaluate/flags/invoice-extraction", '{"context":{"targetingKey":"r-1"}}', told)
    server.request("POST", "/ofrep/v1/evaluate/flags/nothing", "{}", told)
    server.request("POST", "/api/v1/telemetry", send, told)
    server.request("GET", "/login/")
    tick_elsewhere(counted)
    eventually(lambda: "changeover_last_tick_timestamp_seconds" in scraped(server, **key).families)
    eventually(lambda: "changeover_spend_today_usd" in {name for name, _ in scraped(server, **key).samples})
    says = scraped(server, **key)
    grew = partial(says.since, before)

    door = "/ofrep/v1/evaluate/flags/{key}"
    assert grew("http_request_duration_seconds_count", door=door, status="200") == 1
    assert grew("http_request_duration_seconds_bucket", door=door, status="404", le="+Inf") == 1
    assert grew("http_request_duration_seconds_count", door="/api/v1/telemetry", status="202") == 1
    assert grew("http_request_duration_seconds_count", door="pages", status="200") == 1
    assert grew("flag_evaluations_total", environment="production", reason="ERROR") == 1
    assert grew("telemetry_calls_total", environment="production", result="accepted") == 2
    assert grew("telemetry_calls_total", environment="production", result="duplicate") == 1
    assert grew("telemetry_calls_total", environment="production", result="rejected") == 1
    assert grew("telemetry_unassigned_calls_total", environment="production") == 1
    assert grew("telemetry_commit_duration_seconds_count") == 1
    assert says("telemetry_queue_bytes") == 0
    assert grew("tick_duration_seconds_count") == 1
    assert grew("looks_total") == 1
    assert says("snapshot_version", environment="production") > 0
    assert says("rollouts", environment="production", state="running") == 1
    assert says("spend_today_usd", environment="production", route="unassigned", kind="estimated") >= 0
    assert says("deliveries", state="dead") == 0
    assert abs(says("last_tick_timestamp_seconds") - time.time()) < 300
    assert all(name.startswith("changeover_") for name in says.families)
    assert secret[:12] not in repr(says.samples)


@pytest.mark.django_db(transaction=True)
def test_without_its_token_nobody_reads_them(server):
    assert server.request("GET", "/metrics")[0] == 401
    assert server.request("GET", "/metrics", headers={"X-API-Key": "scrape-you"})[0] == 401


@pytest.mark.django_db(transaction=True)
def test_its_log_is_lines_for_machines_without_keys_tokens_and_prompts(server, environment):
    _, secret = access.create_key(
        environment=environment,
        name="test", scopes=["flags:read", "telemetry:write"], by=WORKER, now=timezone.now(),
    )  # fmt: skip
    told = {"Authorization": f"Bearer {secret}", "content-type": "application/json"}
    eventually(lambda: server.request("GET", "/flagd/flags.json", headers=told)[0] == 200)
    prompt = '{"resourceSpans": [{"scopeSpans": [{"spans": [{"attributes": [{"key": "canary prompt"}]}]}]}], '
    *_, bulk = server.request("POST", "/ofrep/v1/evaluate/flags", "{}", told)
    stream = json.loads(bulk)["eventStreams"][0]["endpoint"]["requestUri"]

    for path in ("/otlp/v1/traces", "/api/v1/telemetry", "/ofrep/v1/evaluate/flags/canary", "/api/v1/nothing/"):
        server.request("POST", path, prompt, told)
    server.request("GET", f"{stream}0", headers=told)
    server.request("GET", f"/nothing/{secret}?{stream.partition('?')[2]}", headers=told)

    log = server.log.read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert any("Not Found: /nothing/[secret]" in line["event"] for line in lines)
    for kept in (secret, stream.partition("=")[2], "canary prompt"):
        assert kept not in log


def call(**fields):
    return ordinary(at=timezone.now().isoformat(), **fields)


def tick_elsewhere(counted: Path) -> None:
    code = "import django; django.setup(); from apps.rollouts.tasks import tick; tick()"
    env = os.environ | {
        "DATABASE_URL": url_of_test_database(), "PYTHONPATH": f"{ROOT}:{ROOT / 'sdk'}",
        "DJANGO_SETTINGS_MODULE": "controlplane.settings", "PROMETHEUS_MULTIPROC_DIR": str(counted),
    }  # fmt: skip
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, check=True)


@pytest.mark.django_db
def test_the_dashboard_asks_for_all_that_is_served_and_nothing_else(environment, now, shelf_of_this_test):
    make_route(now)
    make_budget(now, usd=1)
    Shard.objects.create(number=0, last_tick_at=now)
    Freshness.objects.create(environment="production", route=ROUTE, first_at=now, newest_at=now)
    shelf.refresh()

    facts.facts.look(now)
    facts.facts.look_at_money(now)
    families = list(text_string_to_metric_families(generate_latest(scrape.shown).decode()))
    served = {name for family in families for name in names_of(family)}
    asked = set(NAME.findall(DASHBOARD.read_text()))

    assert asked - served == set()
    assert {family.name for family in families if not asked & names_of(family)} == set()


def names_of(family) -> set[str]:
    parts = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("_total",)}.get(family.type, ("",))
    return {family.name + part for part in parts}
