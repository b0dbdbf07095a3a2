"""The whole way through the real doors: calls come in, a worker decides, services follow, people are told.

A web server, a Celery worker and a beat run as processes of their own; nothing is called from inside.
"""

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from apps.access import services as access
from apps.access.models import Environment
from apps.core.actors import person
from apps.core.ids import new_id
from apps.rollouts import services
from apps.rollouts.models import Decision, PlanStep
from controlplane.celery import app as celery
from tests.processes import BIN, running_server, start, start_worker, stop
from tests.rollouts.make_rollouts import make_route

ALICE = person("alice")
ROUTE = "invoice-extraction"
PLAN = {
    "environment": "production",
    "route": ROUTE,
    "candidate": "gpt-5",
    "stages": [{"share": 10, "min_seconds": 600, "min_samples": 200}, {"share": 100}],
    "guardrails": [
        {"metric": "latency_p95", "limit_ms": 1500, "on_breach": "roll_back"},
        {"metric": "error_rate", "against": "baseline", "tolerance": 0.25, "on_breach": "roll_back"},
    ],
}
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(400)]


@pytest.fixture
def hook():
    """A receiver of webhooks: what came, and when."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append((time.monotonic(), dict(self.headers), json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", got
    server.shutdown()
    server.server_close()


@pytest.fixture
def workers(transactional_db, empty_queue, tmp_path):
    """A worker and a beat that ticks every second."""
    settings = {"TICK_SECONDS": "1", "ALERT_PRIVATE_ADDRESSES": "1"}
    worker = start_worker(tmp_path / "worker.log", **settings)
    beat = start(str(BIN / "celery"), "-A", "controlplane", "beat", "-l", "warning", "--pidfile=",
                 log=tmp_path / "beat.log", **settings)  # fmt: skip
    yield tmp_path
    stop(beat)
    stop(worker, 20)


@pytest.fixture
def web(transactional_db, static_files, tmp_path):
    with running_server(tmp_path / "web", static_files, ALERT_PRIVATE_ADDRESSES="1") as server:
        yield server


@pytest.fixture
def plane(transactional_db):
    """An environment with a route, a key for everything a service and an operator need."""
    now = datetime.now(UTC) - timedelta(seconds=5)
    environment = Environment.objects.create(key="production", name="Production", is_production=True, created_at=now)
    make_route(now)
    scopes = ["flags:read", "telemetry:write", "manage:write"]
    _, secret = access.create_key(environment=environment, name="ci", scopes=scopes, by=ALICE, now=now)
    return secret


class Service:
    """What a service and an operator do, over HTTP."""

    def __init__(self, server, secret):
        self.server = server
        self.headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}

    def ask(self, method, path, body=None):
        status, _, answer = self.server.request(
            method, path, json.dumps(body) if body is not None else None, self.headers
        )
        return status, json.loads(answer) if answer else None

    def choose(self):
        """One request of a user: which variant, chosen how, in which snapshot."""
        request = new_id()
        status, answer = self.ask("POST", f"/ofrep/v1/evaluate/flags/{ROUTE}", {"context": {"targetingKey": request}})
        assert status == 200, answer
        return request, answer

    def weights(self):
        """What a flagd client would be sent: the split of the served snapshot, and its version."""
        _, document = self.ask("GET", "/flagd/flags.json")
        told = json.dumps(document["flags"][ROUTE].get("targeting") or {})
        return "gpt-5" in told, int(document["metadata"]["version"])

    def report(self, n, latencies, client="invoices"):
        calls = []
        version = 0
        for _ in range(n):
            request, answer = self.choose()
            variant, metadata = answer["variant"], answer["metadata"]
            latency = latencies[variant]
            version = max(version, int(metadata.get("version") or metadata.get("snapshot") or 0))
            calls.append(
                {
                    "id": new_id(),
                    "at": (datetime.now(UTC) - timedelta(milliseconds=latency)).isoformat(),
                    "route": ROUTE,
                    "variant": variant,
                    "assigned": variant,
                    "assigned_by": metadata.get("assigned_by"),
                    "provider": "openai",
                    "model": variant,
                    "request_id": request,
                    "final": True,
                    "latency_ms": latency,
                    "cost_usd": "0.001",
                    "snapshot": version or None,
                }
            )
        body = {
            "batch_id": new_id(),
            "calls": calls,
            "client": {"name": client, "sdk": "test/1", "snapshot": version or None},
        }
        status, receipt = self.ask("POST", "/api/v1/telemetry", body)
        assert status == 202, receipt
        assert (receipt["accepted"], receipt["rejected"], receipt["unassigned"]) == (n, [], {}), receipt
        return version


def wait_until(look, what, seconds=90):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s")


def test_from_slow_answers_to_everybody_on_the_baseline(plane, web, workers, hook, record_property):
    service = Service(web, plane)
    made, channel = service.ask(
        "POST",
        "/api/v1/channels/",
        {"environment": "production", "kind": "webhook", "name": "ops-hook", "config": {"url": hook[0]}},
    )
    assert made == 201, channel
    _, rollout = service.ask("POST", "/api/v1/rollouts/", PLAN)
    status, started = service.ask("POST", f"/api/v1/rollouts/{rollout['id']}/start/", {"because": "journey"})
    assert (status, started["state"], started["share"]) == (200, "running", 10), started
    wait_until(lambda: service.weights()[0], "the candidate's share at the flagd door")

    version = service.report(400, {"gpt-4.1": 420.0, "gpt-5": 4300.0})
    reported_at = time.monotonic()
    wait_until(lambda: not service.weights()[0], "share 0 at the flagd door")
    seconds = time.monotonic() - reported_at
    _, now = service.ask("GET", f"/api/v1/rollouts/{rollout['id']}/")
    _, decisions = service.ask("GET", "/api/v1/decisions/?environment=production&kind=roll_back")

    assert version > 0
    assert now["state"] == "rolled_back"
    (decision,) = decisions["results"]
    assert decision["sentence"].startswith(f"Rolled back {ROUTE} from 10 % to 0 % GPT-5 because p95 latency was 4."), (
        decision["sentence"]
    )
    assert all(service.choose()[1]["variant"] == "gpt-4.1" for _ in range(50))

    def told_of_it():
        return [body for _, _, body in hook[1] if decision["sentence"] in json.dumps(body, ensure_ascii=False)]

    told = wait_until(told_of_it, "the webhook")
    assert f"/d/{decision['id']}" in json.dumps(told[0])

    def steps_are_done():
        service.report(20, {"gpt-4.1": 420.0, "gpt-5": 4300.0})  # traffic goes on
        time.sleep(1)
        _, whole = service.ask("GET", f"/api/v1/decisions/{decision['id']}/")
        return {step["state"] for step in whole["steps"]} == {"done"} and whole

    whole = wait_until(steps_are_done, "every step of the way back", 180)
    for step in whole["steps"]:
        print(f"{step['position']}. {step['title']}: {step['outcome']}")
    record_property("seconds_from_report_to_share_0", round(seconds, 2))
    print(f"from the report of the bad answers to share 0 at the flagd door: {seconds:.2f} s")
    assert seconds < 60


def test_a_worker_that_is_killed_after_the_decision_is_followed_by_the_next(plane, web, empty_queue, tmp_path):
    """SIGKILL right after share 0 is served: decision and traffic stand, and the next worker finishes the plan."""
    settings = {"TICK_SECONDS": "1", "ALERT_PRIVATE_ADDRESSES": "1"}
    service = Service(web, plane)
    _, rollout = service.ask("POST", "/api/v1/rollouts/", PLAN)
    service.ask("POST", f"/api/v1/rollouts/{rollout['id']}/start/", {"because": "journey"})
    wait_until(lambda: service.weights()[0], "the candidate's share at the flagd door")
    service.report(300, {"gpt-4.1": 420.0, "gpt-5": 4300.0})
    services.tick(now=datetime.now(UTC))  # the decision; of the steps that wait a worker has claimed one, and dies
    worker = start_worker(tmp_path / "first.log", **settings)
    celery.send_task("apps.rollouts.tasks.run_due_steps")
    wait_until(lambda: PlanStep.objects.exclude(claimed_by="").exists(), "a claimed step")
    worker.kill()
    worker.wait()
    stop(worker)

    second = start_worker(tmp_path / "second.log", **settings)
    beat = start(str(BIN / "celery"), "-A", "controlplane", "beat", "-l", "warning", "--pidfile=",
                 log=tmp_path / "beat.log", **settings)  # fmt: skip

    def finished():
        service.report(20, {"gpt-4.1": 420.0, "gpt-5": 4300.0})
        time.sleep(1)
        return not PlanStep.objects.filter(state="waiting").exists()

    try:
        wait_until(finished, "the plan's end", 180)
    finally:
        stop(beat)
        stop(second, 20)
    assert set(PlanStep.objects.values_list("state", flat=True)) == {"done"}
    assert Decision.objects.filter(kind="roll_back").count() == 1
    assert service.weights()[0] is False
