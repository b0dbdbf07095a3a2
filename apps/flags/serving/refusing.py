"""Refused callers of the flag doors: counted in memory, written every five seconds. A 401 stays cheap."""

import time

from django.utils import timezone

from apps.access import serving as access
from apps.access.domain.secrets import PREFIX, SHOWN, digest_of
from apps.core.asgi import Scope, header
from apps.flags import refused
from apps.flags.refused import Caller

EVERY_SECONDS = 5.0
MOST = 200  # callers told apart between two writes; what is beyond is counted together
LONGEST = 128
DOORS = {"ofrep": "ofrep", "flagd": "flagd", "api": "changes"}  # by the beginning of the path


class Refusals:
    def __init__(self) -> None:
        self.counts: dict[Caller, int] = {}
        self.flushed_at = 0.0

    def count(self, door: str, secret: str | None, address: str, agent: str) -> None:
        digest = digest_of(secret) if secret else ""
        begins = f"{secret[:SHOWN]}…" if secret and secret.startswith(PREFIX) else ""
        caller = Caller(door, digest, begins, address[:LONGEST], agent[:LONGEST])
        if caller not in self.counts and len(self.counts) >= MOST:
            caller = Caller(door, "", "", "", "many others")
        self.counts[caller] = self.counts.get(caller, 0) + 1

    def count_request(self, scope: Scope) -> None:
        door = DOORS.get(scope["path"].split("/", 2)[1], "")
        self.count(door, access.bearer(scope), address_of(scope), text(header(scope, b"user-agent")))

    def flush_if_due(self) -> None:
        if self.counts and time.monotonic() - self.flushed_at >= EVERY_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Raises django.db.Error when the database is away: those counts are lost, the next come soon enough."""
        self.flushed_at = time.monotonic()
        taken, self.counts = self.counts, {}
        if taken:
            refused.note_refused(callers=taken.items(), now=timezone.now())


def address_of(scope: Scope) -> str:
    """Where it came from. What a proxy in front says of it is told, not believed."""
    peer = str((scope.get("client") or ("",))[0])
    said = text(header(scope, b"x-forwarded-for")).rpartition(",")[2].strip()
    return f"{said} by {peer}" if said else peer


def text(value: bytes | None) -> str:
    return value.decode("latin-1") if value else ""


refusals = Refusals()
