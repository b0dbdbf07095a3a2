"""A fake control plane in a thread of its own: it answers the two doors that a service uses, and remembers."""

import asyncio
import json
import threading

import pytest

from demo import web

VALUE = {"model": "openai/gpt-4.1", "timeout_ms": 60_000, "max_attempts": 2, "variant": "gpt-4.1", "fallback": None}


class FakePlane:
    def __init__(self):
        self.value = dict(VALUE)
        self.batches = []
        self.asked = []
        self.flag_status = 200
        self.telemetry_statuses = []
        self.started = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run()), daemon=True)
        self.thread.start()
        assert self.started.wait(60)

    async def run(self):
        self.loop = asyncio.get_running_loop()
        self.stopping = asyncio.Event()
        server = await web.listen(self.answer)
        self.url = f"http://127.0.0.1:{web.port_of(server)}"
        self.started.set()
        await self.stopping.wait()
        server.close()

    def stop(self):
        self.loop.call_soon_threadsafe(self.stopping.set)
        self.thread.join(60)

    async def answer(self, request):
        assert request.headers["authorization"].startswith("Bearer ")
        body = json.loads(request.body)
        if request.path.startswith("/ofrep/v1/evaluate/flags/"):
            self.asked.append(body["context"])
            if self.flag_status != 200:
                return web.Answer(self.flag_status)
            metadata = {"version": "412", "assigned_by": "split"}
            return web.answer_json(
                {"value": self.value, "variant": self.value["variant"], "reason": "SPLIT", "metadata": metadata}
            )
        assert request.path == "/api/v1/telemetry"
        self.batches.append(body)
        status = self.telemetry_statuses.pop(0) if self.telemetry_statuses else 202
        return web.answer_json({"accepted": len(body["calls"])}, status)


@pytest.fixture
def plane():
    plane = FakePlane()
    yield plane
    plane.stop()
