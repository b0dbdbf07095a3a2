"""Who reads whole definitions at flagd's doors: noted in memory, written every five seconds.

Such a client evaluates by itself and reports to nobody, so the door is where it can be seen: the name of its key, what
it calls itself, and the snapshot that it was given.
"""

import time

from django.utils import timezone

from apps.access.serving import KeyGrant
from apps.flags import seen
from apps.flags.seen import Reader

EVERY_SECONDS = 5.0
MOST = 2_000
OURS = "changeover-"  # our own clients say themselves what they have


class Readers:
    def __init__(self) -> None:
        self.given: dict[Reader, int] = {}
        self.flushed_at = 0.0

    def note(self, door: str, grant: KeyGrant, agent: bytes | str | None, version: int) -> None:
        """Without an agent there is nothing to name."""
        if not agent:
            return
        name = agent if isinstance(agent, str) else agent.decode("latin-1")
        reader = (grant.environment, door, grant.name, name)
        if reader in self.given or (len(self.given) < MOST and not name.startswith(OURS)):
            self.given[reader] = version

    def flush_if_due(self) -> None:
        if self.given and time.monotonic() - self.flushed_at >= EVERY_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Raises django.db.Error when the database is away: they come again soon enough."""
        self.flushed_at = time.monotonic()
        taken, self.given = self.given, {}
        seen.note_readers(given=taken, now=timezone.now())


readers = Readers()
