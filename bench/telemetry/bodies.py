"""What is sent: bodies made beforehand, in which only ids and moments change, so that the sender costs next to nothing.

A stamp of fixed width stands for the number of the batch. Calls, spans and traces that carry it are new in each body.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

CALLS, SPANS = 500, 512  # of one body; 512 is what OpenTelemetry's exporters send at once
ROUTES = 100
STAMP, MOMENT = b"STAMPED-", b"2026-01-01T00:00:00.000000+00:00"
VARIANTS = {"gpt-4.1": ("openai", "gpt-4.1"), "flash-lite": ("google", "gemini-2.5-flash-lite")}
NANOS = 1_111_111_111_111_111_111  # a span's begin in the template
AGO = 2.0  # seconds: when calls that are sent now began


@dataclass(frozen=True, slots=True)
class Template:
    path: str
    kind: str
    body: bytes
    items: int

    def body_of(self, number: int) -> bytes:
        """Number `number` of this run."""
        at = datetime.now(UTC) - timedelta(seconds=AGO)
        stamped = self.body.replace(STAMP, b"%08x" % number)
        if self.kind == "application/json":
            return stamped.replace(MOMENT, at.isoformat(timespec="microseconds").encode())
        begin = int(at.timestamp() * 1e9)
        return stamped.replace(nanos(NANOS), nanos(begin)).replace(nanos(NANOS + 1), nanos(begin + 400_000_000))


def nanos(moment: int) -> bytes:
    return moment.to_bytes(8, "little")


def variant_of(number: int) -> str:
    return "gpt-4.1" if number % 10 == 0 else "flash-lite"


def native(number: int) -> Template:
    calls = [call(number * CALLS + n, n) for n in range(CALLS)]
    text = json.dumps({"batch_id": STAMP.decode(), "calls": calls}, separators=(",", ":"))
    return Template("/api/v1/telemetry", "application/json", text.encode(), CALLS)


def call(number: int, n: int) -> dict[str, Any]:
    variant = variant_of(number // ROUTES)
    provider, model = VARIANTS[variant]
    return {
        "id": f"c-{STAMP.decode()}-{n}", "at": MOMENT.decode(), "route": f"route-{number % ROUTES}", "variant": variant,
        "provider": provider, "model": model, "request_id": f"r-{STAMP.decode()}-{n}", "attempt": 1,
        "latency_ms": 100 + number * 7919 % 1901 + n / 10, "first_token_ms": 90.0, "input_tokens": 800 + number % 53,
        "cached_input_tokens": number % 3 * 100, "output_tokens": 60 + number % 29, "cost_usd": None, "error": None,
        "arm": "live", "pair_id": None, "final": True, "snapshot": 1, "assigned": variant, "assigned_by": "split",
        "tag": None,
    }  # fmt: skip


def otlp(number: int) -> Template:
    """Spans of GenAI calls as instrumentations of today write them, with the flag's evaluation on the call's span."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    put(resource.resource, {"service.name": "invoices", "service.instance.id": "bench", "telemetry.sdk.name": "otel"})
    scope = resource.scope_spans.add()
    scope.scope.name = "opentelemetry.instrumentation.genai"
    for n in range(SPANS):
        variant = variant_of((number * SPANS + n) // ROUTES)
        provider, model = VARIANTS[variant]
        span = scope.spans.add()
        span.trace_id, span.span_id = STAMP + n.to_bytes(8, "big"), STAMP[:4] + n.to_bytes(4, "big")
        span.name, span.kind = f"chat {model}", Span.SPAN_KIND_CLIENT
        span.start_time_unix_nano, span.end_time_unix_nano = NANOS, NANOS + 1
        put(span, {
            "gen_ai.operation.name": "chat", "gen_ai.provider.name": provider, "gen_ai.request.model": model,
            "gen_ai.response.model": model, "gen_ai.response.id": f"resp-{n}", "server.address": "api.example.com",
            "gen_ai.request.temperature": 0.2, "gen_ai.usage.input_tokens": 800 + n % 53,
            "gen_ai.usage.output_tokens": 60 + n % 29, "gen_ai.usage.cache_read.input_tokens": n % 3 * 100,
            "feature_flag.key": f"route-{n % ROUTES}", "feature_flag.result.variant": variant,
        })  # fmt: skip
    return Template("/otlp/v1/traces", "application/x-protobuf", request.SerializeToString(), SPANS)


def put(holder: Any, attributes: dict[str, str | int | float]) -> None:
    for key, value in attributes.items():
        told = holder.attributes.add()
        told.key = key
        kind = {str: "string_value", int: "int_value", float: "double_value"}[type(value)]
        setattr(told.value, kind, value)
