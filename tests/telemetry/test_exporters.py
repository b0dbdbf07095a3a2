"""Real exporters from PyPI against a real server: kill, back-pressure and retry included."""

import http.client
import sys
import threading
import urllib.request
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.db import connection
from django.utils import timezone
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from apps.access import services as access
from apps.core.actors import WORKER
from apps.telemetry import queries, services
from tests.processes import free_port, running_server, start, stop
from tests.telemetry.clients.environments import run_client
from tests.telemetry.make_telemetry import ROUTE, make_environment, make_route

pytestmark = pytest.mark.django_db(transaction=True)
COST = 1000 * 2000 + 100 * 8000
PATIENCE = timedelta(seconds=60)  # with a machine that has more to do
CALL = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4.1"}
RESOURCE = Resource({"service.name": "payments", "service.instance.id": "one"})


@pytest.fixture
def key(fresh_server):
    make_route(now=timezone.now() - timedelta(hours=1))
    _, secret = access.create_key(
        environment=make_environment(), name="test", scopes=["telemetry:write"], by=WORKER, now=timezone.now()
    )
    wait_for_key(fresh_server, secret)
    return secret


def wait_for_key(server, secret):
    deadline = timezone.now() + PATIENCE
    headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
    while server.request("POST", "/otlp/v1/traces", "{}", headers)[0] != 200:
        assert timezone.now() < deadline
        threading.Event().wait(0.1)


def spans_to(address, secret, n, **more):
    """As a service would, set up as our page says: under one span that carries OpenFeature's event."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{address}/otlp")
        patch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer%20{secret}")
        timeout = PATIENCE.total_seconds()  # of one batch with all its retries
        exporter = OTLPSpanExporter(timeout=timeout, **more)
    provider = TracerProvider(resource=RESOURCE)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_export_batch_size=100))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("POST /invoices") as root:
        root.add_event(
            "feature_flag.evaluation",
            {"feature_flag.key": ROUTE, "feature_flag.result.variant": "gpt-4.1", "feature_flag.result.value": "{}"},
        )
        for _ in range(n):
            with tracer.start_as_current_span("chat gpt-4.1", attributes=CALL) as span:
                span.set_attribute("gen_ai.usage.input_tokens", 1000)
                span.set_attribute("gen_ai.usage.output_tokens", 100)
    provider.force_flush()  # which waits for as long as it takes
    provider.shutdown()


def spent():
    now = timezone.now()
    return queries.spend("production", now - timedelta(hours=1), now + timedelta(minutes=1), where={"route": ROUTE})[0]


def test_spans_of_a_real_exporter_find_their_route_however_they_are_packed(fresh_server, key):
    for n, compression in enumerate((Compression.NoCompression, Compression.Gzip, Compression.Deflate), start=1):
        spans_to(fresh_server.url, key, 250, compression=compression)

        assert (spent().calls, spent().confirmed_nano, spent().unpriced) == (n * 250, n * 250 * COST, 0)


def test_cumulative_and_delta_metrics_of_a_real_exporter(fresh_server, key):
    spans_to(fresh_server.url, key, 1)  # from here on the sender is known
    before = spent().confirmed_nano
    for temporality in (AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA):
        headers = {"authorization": f"Bearer {key}"}
        exporter = OTLPMetricExporter(
            endpoint=f"{fresh_server.url}/otlp/v1/metrics",
            headers=headers,
            timeout=PATIENCE.total_seconds(),
            preferred_temporality={Histogram: temporality, Counter: temporality},
            preferred_aggregation={Histogram: ExponentialBucketHistogramAggregation()},
        )
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=200)
        # Another service: the first one's spans would make its metrics a comparison only.
        resource = Resource({"service.name": f"by-{temporality.name}", "service.instance.id": "one"})
        provider = MeterProvider([reader], resource=resource)
        usage = provider.get_meter("test").create_histogram("gen_ai.client.token.usage", unit="{token}")
        duration = provider.get_meter("test").create_histogram("gen_ai.client.operation.duration", unit="s")
        told = CALL | {"changeover.route": ROUTE}
        duration.record(0.5, told)
        usage.record(0, told | {"gen_ai.token.type": "input"})
        provider.force_flush()  # the first points tell of the sender: of a cumulative one they are a baseline
        for _ in range(10):
            usage.record(1000, told | {"gen_ai.token.type": "input"})
            usage.record(100, told | {"gen_ai.token.type": "output"})
            usage.record(1100, told | {"gen_ai.token.type": "total"})
            duration.record(0.5, told)
            threading.Event().wait(0.05)
        provider.force_flush()
        provider.shutdown()

        # A stream that begins after its sender was first heard of is new from its begin.
        assert spent().confirmed_nano - before == 10 * COST
        before = spent().confirmed_nano


class Between:
    """A proxy that loses answers and refuses now and then, as networks do. `kill` stands for what it calls then."""

    def __init__(self, url, *steps, kill=None):
        self.steps = iter(steps)
        self.behind = url
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                names = ("authorization", "content-type", "content-encoding")
                headers = {name: self.headers[name] for name in names if self.headers[name]}
                asked = urllib.request.Request(outer.behind + self.path, body, headers)
                do = next(outer.steps, "pass")
                if do == "kill":  # while it reads or writes
                    threading.Thread(target=ask_in_vain, args=[asked], daemon=True).start()
                    outer.behind = kill()
                elif do != "503":
                    with urllib.request.urlopen(asked) as answer:
                        assert answer.status == 200
                self.send_response(200 if do == "pass" else 503)
                if do != "pass":
                    self.send_header("retry-after", "1")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


def ask_in_vain(asked):
    with suppress(OSError, http.client.HTTPException):
        urllib.request.urlopen(asked).close()


def test_lost_answers_and_back_pressure_count_once(fresh_server, key):
    between = Between(fresh_server.url, "503", "lose", "503", "pass", "lose")

    spans_to(between.url, key, 150)
    between.server.shutdown()

    assert next(between.steps, None) is None  # all of it happened
    assert (spent().calls, spent().confirmed_nano) == (150, 150 * COST)


def test_spans_are_counted_once_when_the_server_is_killed_over_them(fresh_server, key, static_files, tmp_path):
    with running_server(tmp_path / "other", static_files) as other:
        wait_for_key(other, key)

        def kill():
            fresh_server.process.kill()
            return other.url

        between = Between(fresh_server.url, "pass", "kill", "503", kill=kill)
        spans_to(between.url, key, 350)
        between.server.shutdown()

        assert next(between.steps, None) is None
        assert (spent().calls, spent().confirmed_nano) == (350, 350 * COST)


@pytest.mark.timeout(600)  # its packages are installed first, where this has not been done
def test_the_exporter_of_two_years_ago_is_retried_without_retry_after_and_counted_once(fresh_server, key):
    between = Between(fresh_server.url, "503", "lose")

    run_client("old_exporter", between.url, key, ROUTE, "50")
    between.server.shutdown()

    assert next(between.steps, None) is None
    assert (spent().calls, spent().confirmed_nano) == (50, 50 * COST)


@pytest.fixture
def provider(tmp_path):
    """The demo's simulated provider."""
    port = free_port()
    process = start(sys.executable, "-m", "demo.providers", "--port", str(port), log=tmp_path / "provider.log")
    deadline = timezone.now() + PATIENCE
    while True:
        with suppress(OSError):
            http.client.HTTPConnection("127.0.0.1", port, timeout=20).request("GET", "/healthz")
            break
        assert timezone.now() < deadline and process.poll() is None, (tmp_path / "provider.log").read_text()
        threading.Event().wait(0.05)
    yield f"http://127.0.0.1:{port}"
    stop(process)


CANARY = b"ZmFsY29uIGNhbmFyeQ-the-prompt"


@pytest.mark.timeout(600)
def test_an_instrumented_openai_client_over_json_is_counted_as_its_provider_says(fresh_server, key, provider):
    said = run_client("instrumented_openai", fresh_server.url, key, ROUTE, provider)

    usage = [tuple(map(int, line.split())) for line in said.splitlines()]
    assert len(usage) == 3
    whole = spent()
    assert (whole.calls, whole.estimated_nano, whole.unpriced) == (4, 0, 0)  # one was refused: it cost nothing
    assert whole.confirmed_nano == sum(inputs * 2000 + outputs * 8000 for inputs, outputs in usage)
    now = timezone.now()
    (row,) = queries.windows("production", ROUTE, now - timedelta(hours=1), now + timedelta(minutes=1))
    assert (row.variant, row.calls, row.errors, row.coarse) == ("gpt-4.1", 4, 1, 0)
    (source,) = queries.sources("production", now - timedelta(hours=1), now)
    assert (source.calls["span"], source.calls["metric"], source.attributed["ancestor"]) == (4, 4, 4)
    services.forget_old(now=now + timedelta(minutes=31))
    assert [row.name for row in queries.unassigned("production")] == []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT * FROM "{table}"')
            cells = [cell for kept in cursor.fetchall() for cell in kept]
            held = [bytes(one) if isinstance(one, bytes | memoryview) else str(one).encode() for one in cells]
            assert not any(CANARY in one for one in held), table
    assert CANARY not in fresh_server.log.read_bytes()
