"""Our own spans and metrics, as an OTLP receiver gets them."""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.utils import timezone
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from apps.alerts.services import dispatch
from apps.core import spans
from apps.rollouts.tasks import tick
from controlplane import facts, otel, scrape
from tests.alerts.make_alerts import channel, say
from tests.processes import ROOT
from tests.rollouts.make_rollouts import see_traffic, start_rollout


class Receiver(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.spans, self.metrics, self.resources = [], {}, []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/v1/traces":
            for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.server.resources.append(attributes(of_resource.resource))
                self.server.spans += [one for scope in of_resource.scope_spans for one in scope.spans]
        elif self.path == "/v1/metrics":
            for of_resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in of_resource.scope_metrics:
                    self.server.metrics |= {one.name: one for one in scope.metrics}
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def attributes(of) -> dict[str, object]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in of.attributes}


@pytest.fixture
def receiver(monkeypatch):
    receiver = Receiver()
    thread = threading.Thread(target=receiver.serve_forever, args=(0.02,))
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setattr(otel, "LAST_SECONDS", 60.0)  # of a slow machine
    yield receiver
    otel.stop()
    receiver.shutdown()
    thread.join()
    receiver.server_close()


@pytest.mark.django_db(transaction=True)
def test_a_receiver_sees_what_the_product_does(receiver, environment):
    now = timezone.now()
    otel.start("worker", scrape.collect_own)

    start_rollout(now)
    see_traffic(now)
    channel("email", now, to=["oncall@example.com"])
    say(now)
    dispatch(now)
    tick()
    facts.facts.look(now)
    otel.stop()

    seen = {span.name: span for span in receiver.spans}
    assert {"publish", "commit", "deliver", "tick", "judge"} <= seen.keys()
    assert seen["judge"].parent_span_id == seen["tick"].span_id
    assert attributes(seen["publish"])["changeover.environment"] == "production"
    assert attributes(seen["commit"])["changeover.calls"] > 0
    assert receiver.resources[0]["service.name"] == "changeover-worker"
    ticks = receiver.metrics["changeover_tick_duration_seconds"].histogram.data_points[0]
    assert ticks.count == sum(ticks.bucket_counts) >= 1
    assert len(ticks.bucket_counts) == len(ticks.explicit_bounds) + 1
    assert not ticks.HasField("min")  # nobody knows it
    rollouts = receiver.metrics["changeover_rollouts"].gauge.data_points[0]
    assert rollouts.as_double == 1
    assert attributes(rollouts) == {"environment": "production", "state": "running"}
    assert receiver.metrics["changeover_telemetry_calls_total"].sum.is_monotonic


def test_a_fault_is_told_without_its_words(receiver):
    otel.start("worker")

    @spans.traced("work")
    def work():
        raise ValueError("a prompt")

    with pytest.raises(ValueError, match="a prompt"):
        work()
    otel.stop()

    (span,) = receiver.spans
    assert span.status.message == "ValueError"
    assert b"a prompt" not in span.SerializeToString()


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a"}, ["TRACES", "METRICS"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a/v1/traces"}, ["TRACES"]),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_METRICS_EXPORTER": "none"}, ["TRACES"]),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_SDK_DISABLED": "true"}, []),
    ],
)
def test_the_standards_variables_say_what_is_sent(monkeypatch, variables, wanted):
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert [signal for signal in ("TRACES", "METRICS") if otel.is_wanted(signal)] == wanted


def test_a_receiver_that_never_answers_holds_up_no_stop(monkeypatch):
    monkeypatch.setattr(otel, "LAST_SECONDS", 0.05)
    never = threading.Event()
    otel.stops.append(never.wait)

    otel.stop()

    assert otel.stops == []
    never.set()


def test_without_an_endpoint_nothing_of_it_is_imported():
    """The SDK's own beginnings are there all the same: redis-py imports them where they are installed."""
    code = (
        "import sys, django; django.setup(); from controlplane import otel, serving; import apps.rollouts.tasks; "
        "otel.start('web'); print([name for name in sys.modules if name.startswith(('opentelemetry.exporter', "
        "'opentelemetry.sdk.trace'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=environment_of())

    assert (done.stdout, done.stderr) == ("[]\n", "")


def environment_of() -> dict[str, str]:
    left = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return left | {"DJANGO_SETTINGS_MODULE": "controlplane.settings", "PYTHONPATH": f"{ROOT}:{ROOT / 'sdk'}"}
