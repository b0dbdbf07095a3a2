"""Asks POST /api/v1/telemetry as the server does."""

import asyncio
import json

from apps.telemetry import serving


class Answer:
    def __init__(self):
        self.status, self.headers, self.body = 0, {}, b""

    @property
    def json(self):
        return json.loads(self.body)


async def ask(body, key, headers=(), chunk=None):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = [(b"content-type", b"application/json"), *headers]
    if key:
        sent.append((b"authorization", f"Bearer {key}".encode()))
    if chunk is None:
        sent.append((b"content-length", b"%d" % len(raw)))
    parts = [raw] if chunk is None else [raw[n : n + chunk] for n in range(0, len(raw), chunk)]
    answer = Answer()

    async def receive():
        part = parts.pop(0) if parts else b""
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message):
        if message["type"] == "http.response.start":
            answer.status, answer.headers = message["status"], dict(message["headers"])
        else:
            answer.body += message["body"]

    scope = {"type": "http", "method": "POST", "path": "/api/v1/telemetry", "query_string": b"", "headers": sent}
    await serving.DOORS["POST", "/api/v1/telemetry"](scope, receive, send)
    return answer


def post(body, key, **more):
    return asyncio.run(ask(body, key, **more))
