"""What real clients sent, as JSON and as protobuf, and a door to send it through."""

import asyncio
import gzip
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from apps.telemetry import serving

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = Path(os.environ.get("SAMPLES_DIR", ROOT.parent / "shared" / "data")) / "otlp_samples"
PROTOBUF, JSON = "application/x-protobuf", "application/json"
REQUESTS = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
needs_samples = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no samples of real clients in {FOLDER}")


@cache
def raw(name: str) -> str:
    return (FOLDER / f"{name}.json").read_text()


def sample(name: str) -> Any:
    return json.loads(raw(name))["body"]


def signal_of(name: str) -> str:
    return name.split(".")[1].split("-")[0]


def names(signal: str | None = None) -> list[str]:
    found = sorted(path.stem for path in FOLDER.glob("*.json")) if FOLDER.is_dir() else []
    return [name for name in found if "." in name and (signal is None or signal_of(name) == signal)]


def as_protobuf(body: Any, signal: str) -> bytes:
    """Through protobuf's own JSON, in which ids are base64."""
    import base64

    def walk(node: Any) -> Any:
        if isinstance(node, list):
            return [walk(one) for one in node]
        if isinstance(node, dict):
            return {
                key: base64.b64encode(bytes.fromhex(value)).decode()
                if key in ("traceId", "spanId", "parentSpanId")
                else walk(value)
                for key, value in node.items()
            }
        return node

    return bytes(json_format.ParseDict(walk(body), REQUESTS[signal]()).SerializeToString())


class Answer:
    def __init__(self) -> None:
        self.status, self.headers, self.body = 0, {}, b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(path: str, body: bytes, *headers: tuple[bytes, bytes]) -> Answer:
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": list(headers)}
    return await answer_of(scope, body)


async def answer_of(scope: dict[str, Any], body: bytes) -> Answer:
    answer, parts = Answer(), [body]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": parts.pop(), "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status, answer.headers = message["status"], dict(message["headers"])
        else:
            answer.body += message["body"]

    await serving.DOORS[scope["method"], scope["path"]](scope, receive, send)
    return answer


def post(path: str, body: bytes, key: str | None, kind: str = JSON, *headers: tuple[bytes, bytes]) -> Answer:
    sent = [(b"content-type", kind.encode()), *headers]
    if key:
        sent.append((b"authorization", f"Bearer {key}".encode()))
    return asyncio.run(ask(path, body, *sent))


def post_sample(name: str, body: Any, key: str, kind: str = JSON) -> Answer:
    signal = signal_of(name)
    if signal.startswith("webhook"):
        return post("/api/v1/telemetry/litellm", json.dumps(body).encode(), key)
    packed = protobuf_of(name, body) if kind == PROTOBUF else json.dumps(body).encode()
    return post(f"/otlp/v1/{signal}", packed, key, kind)


def protobuf_of(name: str, body: Any) -> bytes:
    """The bytes that were captured where they are there, and the sample is whole."""
    captured = FOLDER / f"{name}.pb"
    if captured.exists() and body == sample(name):
        return captured.read_bytes()
    return as_protobuf(body, signal_of(name))


def split(body: Any) -> list[Any]:
    """One body for each span, log record, point or row."""
    if isinstance(body, list):
        return [[row] for row in body]
    parts = []
    for top, middle, leaf in (
        ("resourceSpans", "scopeSpans", "spans"),
        ("resourceLogs", "scopeLogs", "logRecords"),
        ("resourceMetrics", "scopeMetrics", "metrics"),
    ):
        for of_resource in body.get(top, ()):
            for of_scope in of_resource[middle]:
                for one in of_scope[leaf]:
                    parts.append({top: [of_resource | {middle: [of_scope | {leaf: [one]}]}]})
    return parts


def gzipped(body: bytes) -> tuple[bytes, tuple[bytes, bytes]]:
    return gzip.compress(body), (b"content-encoding", b"gzip")
