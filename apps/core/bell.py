"""The bell: "something was published". It carries no data, so a lost or doubled ring is harmless.

Readers fetch what is new from the database; they also look every two seconds without any bell.
"""

import contextlib
import threading
from collections.abc import Callable
from functools import cache

import redis
from django.conf import settings
from django.db import transaction

CHANNEL = "changeover:bell"


@cache
def ringer() -> redis.Redis:
    """A client of its own with a short time-out: a slow broker must not slow a publish down."""
    return redis.Redis.from_url(
        settings.BELL_URL, socket_timeout=0.2, socket_connect_timeout=0.2, retry=None, health_check_interval=0
    )


def ring() -> None:
    """Rings once the surrounding transaction has committed. Never raises: the two-second look is the truth."""
    transaction.on_commit(_ring, robust=True)


def _ring() -> None:
    with contextlib.suppress(redis.RedisError, OSError):
        ringer().publish(CHANNEL, b"")


class Listener(threading.Thread):
    """Calls `heard` at each ring; reconnects for ever while the broker is away."""

    def __init__(self, heard: Callable[[], None]) -> None:
        super().__init__(name="bell", daemon=True)
        self.heard = heard
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                self.listen()
            except (redis.RedisError, OSError):
                self.stopping.wait(1)

    def listen(self) -> None:
        client = redis.Redis.from_url(settings.BELL_URL, socket_connect_timeout=1)
        with client.pubsub(ignore_subscribe_messages=True) as bell:  # type: ignore[no-untyped-call]  # redis-py
            bell.subscribe(CHANNEL)
            while not self.stopping.is_set():
                if bell.get_message(timeout=0.5):
                    self.heard()

    def stop(self) -> None:
        self.stopping.set()
        if self.is_alive():
            self.join(timeout=2)
