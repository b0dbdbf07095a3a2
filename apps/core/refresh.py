"""One thread of the web process that keeps what the hot doors hold in memory up to date.

It runs each registered look every two seconds, and at once when the bell rings. A look that fails is logged and
tried again at the next turn: the doors go on with what they have.
"""

import threading
from collections.abc import Callable

import structlog
from django.db import Error, connection

log = structlog.get_logger()
EVERY_SECONDS = 2.0

Look = Callable[[], None]


class Refresher(threading.Thread):
    def __init__(self, looks: dict[str, Look], every: float = EVERY_SECONDS) -> None:
        super().__init__(name="refresher", daemon=True)
        self.looks = looks
        self.every = every
        self.wanted = threading.Event()
        self.looked = threading.Event()  # the first look is over, however it went
        self.stopping = False

    def ask(self) -> None:
        """Look now."""
        self.wanted.set()

    def look_once(self) -> None:
        for name, look in self.looks.items():
            try:
                look()
            except (Error, OSError) as error:  # database away, disk full: the doors keep what they have
                log.warning("refresh.failed", look=name, error=str(error))
                connection.close()
            except Exception:  # the edge of the process: one broken look must not stop the others
                log.exception("refresh.broken", look=name)
        connection.close_if_unusable_or_obsolete()

    def run(self) -> None:
        while not self.stopping:
            self.look_once()
            self.looked.set()
            self.wanted.wait(self.every)
            self.wanted.clear()
        connection.close()

    def stop(self) -> None:
        self.stopping = True
        self.wanted.set()
        if self.is_alive():
            self.join(timeout=3)
