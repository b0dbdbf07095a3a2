"""Our own spans and metrics over OTLP, where an endpoint is set for them; else nothing of it is imported.

The standard's variables rule: OTEL_EXPORTER_OTLP_ENDPOINT or one for each signal, OTEL_SDK_DISABLED,
OTEL_METRICS_EXPORTER, OTEL_EXPORTER_OTLP_HEADERS, OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER,
OTEL_METRIC_EXPORT_INTERVAL and so on. The metrics are those of `/metrics`, by the same names: each process sends what
it counted itself, web also what the tables say.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from prometheus_client import Metric

from apps.core import metrics, spans

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

Read = Callable[[], Iterable[Metric]]

LAST_SECONDS = 3.0  # to send what is left: a web process that takes five to stop is killed

stops: list[Callable[[], None]] = []
started_in = 0


def start(part: str, read: Read = metrics.own.collect) -> None:
    """`part`: web or worker. A process that was forked from one that sends starts anew: threads stay behind."""
    global started_in
    if started_in == os.getpid():
        return
    started_in = os.getpid()
    stops.clear()
    if is_wanted("TRACES"):
        send_spans(part)
    if is_wanted("METRICS"):
        send_metrics(part, read)


def is_wanted(signal: str) -> bool:
    is_off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if is_off or os.environ.get(f"OTEL_{signal}_EXPORTER", "").lower() == "none":
        return False
    of_signal = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return bool(of_signal or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))


def stop() -> None:
    """Sends what is left, if somebody takes it soon."""
    global started_in
    started_in, spans.tracer = 0, None
    last = [threading.Thread(target=send_last, daemon=True) for send_last in stops]
    stops.clear()
    for thread in last:
        thread.start()
    until = time.monotonic() + LAST_SECONDS
    for thread in last:
        thread.join(max(until - time.monotonic(), 0))


def resource_of(part: str) -> Resource:
    from opentelemetry.sdk.resources import Resource

    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": f"changeover-{part}"}
    return Resource.create({"service.instance.id": metrics.process_name(), **named})


def send_spans(part: str) -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=resource_of(part))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    spans.tracer = provider.get_tracer("changeover")
    stops.append(provider.shutdown)


def send_metrics(part: str, read: Read) -> None:
    """What Prometheus's registry holds, in place of OpenTelemetry's own instruments: nothing is counted twice."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    from controlplane.otel_metrics import translated

    exporter, resource, began = OTLPMetricExporter(), resource_of(part), time.time_ns()
    every = float(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", "60000")) / 1000
    stopping = threading.Event()

    def send() -> None:
        exporter.export(translated(read(), resource, began, time.time_ns()))

    def send_on() -> None:
        while not stopping.wait(every):
            send()

    def stop() -> None:
        stopping.set()
        sender.join(3)
        send()
        exporter.shutdown()

    sender = threading.Thread(target=send_on, name="otel-metrics", daemon=True)
    sender.start()
    stops.append(stop)
