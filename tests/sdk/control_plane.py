"""A small control plane over real HTTP, in threads: what it is told to answer, and what it was asked."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from changeover import Snapshot

KEY = "co_secret"


def until(condition: Callable[[], Any], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False


class ControlPlane:
    def __init__(self) -> None:
        self.version = 0
        self.document: dict[str, Any] = {}
        self.refusals: deque[tuple[int, dict[str, str]]] = deque()  # answered to reports, one each, before 202
        self.flag_status = 200
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.moments: list[float] = []  # when each of them came
        self.batches: list[bytes] = []
        self.has_streams = True
        self.is_chunked = False  # as asynchronous servers send an answer without a length
        self.stream_status = 200
        self.streams: list[_Handler] = []
        self.ofrep: Callable[[str, dict[str, Any]], tuple[int, dict[str, str], bytes]] = self.evaluate
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"plane": self}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def publish(self, version: int, *, tell: bool = True, **flags: Any) -> None:
        self.version = version
        self.document = {"metadata": {"version": str(version), "revision": version}, "flags": flags}
        if tell:
            self.tell(version)

    def tell(self, version: int) -> None:
        for stream in list(self.streams):
            stream.write_event(version)

    def hang_up(self) -> None:
        """Ends all open streams."""
        for stream in list(self.streams):
            stream.ended.set()

    def evaluate(self, key: str, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        answer = Snapshot.from_flagd(self.document).evaluate(key, body.get("context"))
        if answer.error_code:
            told: dict[str, Any] = {"key": key, "errorCode": answer.error_code, "errorDetails": answer.error_details}
            return (404 if answer.error_code == "FLAG_NOT_FOUND" else 400), {}, json.dumps(told).encode()
        told = {"key": key, "variant": answer.variant or "", "reason": answer.reason, "metadata": dict(answer.metadata)}
        if answer.variant is not None:
            told["value"] = answer.value
            told["metadata"]["assigned_by"] = answer.assigned_by
        return 200, {}, json.dumps(told).encode()

    def asked(self, path: str) -> list[dict[str, str]]:
        return [headers for _, asked, headers, _ in list(self.requests) if asked == path]

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [row for batch in list(self.batches) for row in json.loads(batch)[kind]]

    def close(self) -> None:
        self.hang_up()
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    plane: ControlPlane
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def heard(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        told = {name.lower(): value for name, value in self.headers.items()}
        self.plane.moments.append(time.monotonic())
        self.plane.requests.append((self.command, self.path, told, body))
        return body

    def do_GET(self) -> None:
        self.heard()
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            return self.answer(401)
        if self.path == "/api/v1/changes":
            return self.stream()
        plane, etag = self.plane, f'"production-{self.plane.version}"'
        if plane.flag_status != 200:
            return self.answer(plane.flag_status)
        if self.headers.get("If-None-Match") == etag:
            return self.answer(304, {"ETag": etag})
        body = gzip.compress(json.dumps(plane.document).encode())
        self.answer(200, {"ETag": etag, "Content-Encoding": "gzip"}, body)

    def stream(self) -> None:
        if self.plane.stream_status != 200 or not self.plane.has_streams:
            return self.answer(self.plane.stream_status if self.plane.has_streams else 404)
        self.ended = threading.Event()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header(*(("Transfer-Encoding", "chunked") if self.plane.is_chunked else ("Connection", "close")))
        self.end_headers()
        self.write(b"retry: 10\n: hb\n\n")
        self.plane.streams.append(self)
        self.write_event(self.plane.version)
        self.ended.wait()
        self.plane.streams.remove(self)

    def write_event(self, version: int) -> None:
        data = json.dumps({"version": version, "keys": None, "after_ms": 0})
        try:
            self.write(f"id: {version}\nevent: snapshot\ndata: {data}\n\n".encode())
        except OSError:
            self.ended.set()

    def write(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if self.plane.is_chunked else data)
        self.wfile.flush()

    def do_POST(self) -> None:
        body = self.heard()
        plane = self.plane
        if self.path.startswith("/ofrep/v1/evaluate/flags/"):
            return self.answer(*plane.ofrep(self.path.rpartition("/")[2], json.loads(body)))
        if plane.refusals:
            return self.answer(*plane.refusals.popleft())
        plane.batches.append(body)
        told = json.loads(body)
        self.answer(202, {}, json.dumps({"accepted": len(told["calls"]), "rejected": []}).encode())
