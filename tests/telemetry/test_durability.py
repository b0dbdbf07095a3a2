"""What was answered 202 is there, whatever happens to the server."""

import json
import os
import signal
import threading
from datetime import timedelta
from http.client import HTTPException

import pytest
from django.utils import timezone

from apps.access import services as access
from apps.core.actors import WORKER
from apps.telemetry.models import Window
from tests.telemetry.make_telemetry import batch, call, make_environment, make_route

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_killed_server_loses_no_batch_that_it_took(fresh_server):
    make_route(now=timezone.now() - timedelta(hours=1))
    _, key = access.create_key(
        environment=make_environment(), name="test", scopes=["telemetry:write"], by=WORKER, now=timezone.now()
    )
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    taken, refused, gone = [], [], threading.Event()

    def send_without_end():
        while not gone.is_set():
            told = batch(*(call(at=timezone.now().isoformat()) for _ in range(20)))
            try:
                status, _, body = fresh_server.request("POST", "/api/v1/telemetry", json.dumps(told), headers)
            except (OSError, HTTPException):
                return
            if status == 202:
                taken.append(json.loads(body)["accepted"])
            else:  # the key ring has not looked yet
                refused.append(status)
                gone.wait(0.1)

    senders = [threading.Thread(target=send_without_end) for _ in range(4)]
    for sender in senders:
        sender.start()
    deadline = timezone.now() + timedelta(seconds=20)
    while len(taken) < 50 and timezone.now() < deadline:
        gone.wait(0.05)
    os.killpg(fresh_server.process.pid, signal.SIGKILL)
    gone.set()
    for sender in senders:
        sender.join(20)

    assert set(refused) <= {401}
    assert len(taken) >= 50
    counted = sum(Window.objects.values_list("calls", flat=True))
    assert sum(taken) <= counted <= sum(taken) + 20 * len(senders)
