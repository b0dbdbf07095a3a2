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

    def look_once(self) -> bool:
        """Whether every look has succeeded."""
        is_well = True
        for name, look in self.looks.items():
            try:
                look()
            except (Error, OSError) as error:  # database away, disk full: the doors keep what they have
                log.warning("refresh.failed", look=name, error=str(error))
                connection.close()
                is_well = False
            except Exception:  # the edge of the process: one broken look must not stop the others
                log.exception("refresh.broken", look=name)
                is_well = False
        return is_well

    def renew_connection(self) -> None:
        """While nothing happens: a look that a bell asks for stands between a change and its readers, and shall not
        wait for a connection."""
        try:
            connection.close_if_unusable_or_obsolete()
            connection.ensure_connection()
        except Error as error:
            log.warning("refresh.not_connected", error=str(error))

    def run(self) -> None:
        is_rung = False
        while not self.stopping:
            is_well = self.look_once()
            self.looked.set()
            if is_well and not is_rung:
                self.renew_connection()
            is_rung = self.wanted.wait(self.every)
            self.wanted.clear()
        connection.close()

    def stop(self) -> None:
        self.stopping = True
        self.wanted.set()
        if self.is_alive():
            self.join(timeout=3)
