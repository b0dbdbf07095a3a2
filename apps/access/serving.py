"""The key ring of the hot doors: digests, scopes and environments of all usable keys, in memory.

The refresher looks every two seconds and at each bell, so a revoked key stops within two seconds in every process. A
copy on disk (0600, digests only) lets a process that starts without its database go on serving.
"""

import json
import os
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import structlog
from django.conf import settings
from django.db import Error
from django.utils import timezone

from apps.access import using
from apps.access.authentication import bearer_of
from apps.access.domain.secrets import digest_of
from apps.access.models import ApiKey
from apps.core.asgi import Scope, header

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class KeyGrant:
    key_id: str
    name: str
    environment: str
    scopes: frozenset[str]
    expires_at: datetime | None
    rate_per_second: int | None = None

    def allows(self, scope: str) -> bool:
        return scope in self.scopes

    def has_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()


class KeyRing:
    """One immutable dictionary by digest, swapped by one assignment."""

    def __init__(self) -> None:
        self.by_digest: dict[str, KeyGrant] = {}
        self.by_secret: dict[str, str] = {}  # secret -> digest, so that a poll does not hash
        self.by_header: dict[bytes, KeyGrant] = {}  # Authorization -> grant, so that a poll does not take it apart
        self.by_id: tuple[dict[str, KeyGrant], dict[str, KeyGrant]] = ({}, {})  # made from this dictionary: by id
        self.loaded = False

    def find(self, secret: str | None) -> KeyGrant | None:
        if not secret:
            return None
        digest = self.by_secret.get(secret)
        if digest is None:
            digest = digest_of(secret)
            if digest not in self.by_digest:
                return None
            self.by_secret[secret] = digest
        return self.used(self.by_digest.get(digest))

    def find_id(self, key_id: str) -> KeyGrant | None:
        """For what stands in for a key, such as the token in a stream's address."""
        known, by_id = self.by_id
        if known is not self.by_digest:
            known = self.by_digest
            by_id = {grant.key_id: grant for grant in known.values()}
            self.by_id = (known, by_id)
        grant = by_id.get(key_id)
        return None if grant is None or grant.has_expired() else grant

    def used(self, grant: KeyGrant | None) -> KeyGrant | None:
        """The grant, if it holds now."""
        if grant is None or grant.has_expired():
            return None
        using.used.add(grant.key_id)
        return grant

    def swap(self, grants: dict[str, KeyGrant]) -> None:
        self.by_digest = grants
        self.by_secret = {secret: digest for secret, digest in list(self.by_secret.items()) if digest in grants}
        self.by_header = {}
        self.loaded = True


keys = KeyRing()
RETRY_SECONDS = using.RETRY_SECONDS
USED_EVERY_SECONDS = 60.0
used_at = 0.0


def is_too_fast(grant: KeyGrant) -> bool:
    """Takes one of what the key may do now. Ask it once for each request."""
    rate = grant.rate_per_second
    return rate is not None and not using.limits.take(grant.key_id, rate)


def bearer(scope: Scope) -> str | None:
    """The secret that a raw request carries."""
    authorization, api_key = header(scope, b"authorization"), None
    if authorization is None or authorization[:7] != b"Bearer ":  # else it wins, and most send it so
        api_key = header(scope, b"x-api-key")
    return bearer_of(
        authorization.decode("latin-1") if authorization else None, api_key.decode("latin-1") if api_key else None
    )


def grant_of(scope: Scope, authorization: bytes | None) -> KeyGrant | None:
    """Whose request this is, by its Authorization header, which nearly always came before, or by what stands in it."""
    authorization = authorization or b""
    known = keys.by_header  # taken before the ring is asked: what is found in a ring of yesterday is not remembered
    grant = known.get(authorization)
    if grant is not None:
        return keys.used(grant)
    secret = bearer(scope)
    grant = keys.find(secret)
    if grant is not None and secret is not None and authorization == b"Bearer " + secret.encode("latin-1"):
        known[authorization] = grant
    return grant


def disk_copy() -> Path:
    return settings.DATA / "keys.json"


def refresh() -> None:
    """Reads the usable keys; raises django.db.Error when the database is away (the ring then stays as it is)."""
    now = timezone.now()
    usable = ApiKey.objects.usable(now).select_related("environment")
    grants = {
        key.digest: KeyGrant(
            key.id,
            key.name,
            key.environment.key,
            frozenset(key.scopes),
            min((at for at in (key.expires_at, key.revoked_at) if at), default=None),
            key.rate_per_second,
        )
        for key in usable
    }
    if grants != keys.by_digest or not keys.loaded:
        keys.swap(grants)
        write_disk_copy(grants)
        using.limits.forget_all_but({grant.key_id for grant in grants.values()})
    write_used()


def write_used() -> None:
    """When each key was last used, to the minute: a reader of this number needs no more, and a request no write."""
    global used_at
    if not using.used or time.monotonic() - used_at < USED_EVERY_SECONDS:
        return
    used_at = time.monotonic()
    taken = using.take_used()
    try:
        ApiKey.objects.filter(pk__in=taken).update(last_used_at=timezone.now())
    except Error:
        using.used |= taken
        raise


def write_disk_copy(grants: dict[str, KeyGrant]) -> None:
    rows = {digest: asdict(grant) | {"scopes": sorted(grant.scopes)} for digest, grant in grants.items()}
    target = disk_copy()
    draft = target.with_suffix(f".{os.getpid()}")
    draft.touch(0o600)
    draft.write_text(json.dumps(rows, default=lambda at: at.isoformat()))
    draft.replace(target)


def load_disk_copy() -> None:
    """At the start, before the first look: what was true when the last process looked."""
    if keys.loaded or not disk_copy().exists():
        return
    try:
        keys.by_digest = read_disk_copy()
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as fault:  # half of a file: the look will tell
        log.warning("keys.copy_unreadable", error=str(fault))


def read_disk_copy() -> dict[str, KeyGrant]:
    rows = json.loads(disk_copy().read_text())
    return {
        digest: KeyGrant(
            row["key_id"],
            row["name"],
            row["environment"],
            frozenset(row["scopes"]),
            datetime.fromisoformat(row["expires_at"]) if row["expires_at"] else None,
            row.get("rate_per_second"),
        )
        for digest, row in rows.items()
    }
