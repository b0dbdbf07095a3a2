"""POST /otlp/v1/traces, /metrics, /logs, and the address at which Langfuse's clients knock.

Each is also answered with a slash at its end: a redirect would count as success, and the data would be gone.
"""

from collections.abc import Callable

import msgspec

from apps.core.asgi import GONE, Door, Receive, Scope, Send, answer, header
from apps.telemetry.domain import intake as intakes
from apps.telemetry.domain import otlp_json, otlp_protobuf
from apps.telemetry.domain.intake import Intake
from apps.telemetry.domain.otlp import Body
from apps.telemetry.reception import Commit, Reception, Refusal, Understand

MAX_PACKED = 4 * 1024 * 1024
PROTOBUF, JSON = b"application/x-protobuf", b"application/json"

READERS: dict[str, dict[bytes, Callable[[bytes], Body]]] = {
    "traces": {PROTOBUF: otlp_protobuf.read_traces, JSON: otlp_json.read_traces},
    "metrics": {PROTOBUF: otlp_protobuf.read_metrics, JSON: otlp_json.read_metrics},
    "logs": {PROTOBUF: otlp_protobuf.read_logs, JSON: otlp_json.read_logs},
}
REJECTED = {"traces": "rejectedSpans", "metrics": "rejectedDataPoints", "logs": "rejectedLogRecords"}
GRPC = {400: 3, 401: 16, 403: 7, 405: 12, 413: 8, 415: 3, 503: 14}  # google.rpc.Code
OTHER_METHODS = ("GET", "HEAD", "PUT", "PATCH", "DELETE")


def doors(commit: Commit) -> dict[tuple[str, str], Door]:
    made = {f"/otlp/v1/{signal}": door_of(signal, commit) for signal in READERS}
    made["/api/public/otel/v1/traces"] = made["/otlp/v1/traces"]
    found = {("POST", path + slash): door for path, door in made.items() for slash in ("", "/")}
    return found | {(method, path): only_post for _, path in found for method in OTHER_METHODS}


async def only_post(scope: Scope, receive: Receive, send: Send) -> int:
    """For people who look whether there is something at an address."""
    body = status_of(JSON, GRPC[405], "OTLP is sent with POST.")
    return await answer(send, 405, body, (b"content-type", JSON), (b"allow", b"POST"))


def door_of(signal: str, commit: Commit) -> Door:
    reception = Reception(f"otlp/{signal}", "otlp", MAX_PACKED, commit)
    understand = {kind: understanding(reader) for kind, reader in READERS[signal].items()}

    async def door(scope: Scope, receive: Receive, send: Send) -> int:
        kind = (header(scope, b"content-type") or b"").partition(b";")[0].strip().lower()
        try:
            intake, _ = await reception.take(scope, receive, understand.get(kind))
        except ConnectionError:
            return GONE
        except Refusal as refusal:
            body_kind = kind if kind in understand else JSON
            body = status_of(body_kind, GRPC[refusal.status], refusal.message)
            return await answer(send, refusal.status, body, (b"content-type", body_kind), *refusal.headers)
        body = b"" if kind == PROTOBUF else b"{}"
        if intake.rejected:
            body = partial_success(signal, kind, intake.rejected, intake.message)
        return await answer(send, 200, body, (b"content-type", kind))

    return door


def understanding(reader: Callable[[bytes], Body]) -> Understand:
    def understand(raw: bytes, environment: str, now: int) -> Intake:
        return intakes.of_body(reader(raw), environment=environment, now=now)

    return understand


def partial_success(signal: str, kind: bytes, rejected: int, message: str) -> bytes:
    if kind == JSON:
        return msgspec.json.encode({"partialSuccess": {REJECTED[signal]: str(rejected), "errorMessage": message}})
    inner = b"\x08" + varint(rejected) + text_field(2, message)
    return b"\x0a" + varint(len(inner)) + inner


def status_of(kind: bytes, code: int, message: str) -> bytes:
    """google.rpc.Status"""
    if kind == JSON:
        return msgspec.json.encode({"code": code, "message": message})
    return b"\x08" + varint(code) + text_field(2, message)


def text_field(number: int, text: str) -> bytes:
    raw = text.encode()
    return bytes([number << 3 | 2]) + varint(len(raw)) + raw


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
