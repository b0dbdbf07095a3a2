"""Environments, keys and grants: who may do what, where."""

from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction

from apps.access.domain.roles import KeyScope, Role
from apps.access.domain.secrets import SHOWN, digest_of, new_secret
from apps.access.models import ApiKey, Environment, Grant
from apps.core import bell
from apps.core.actors import Actor
from apps.core.refusals import AlreadyThere, Invalid, NotFound, Refused
from apps.journal import services as journal

ROTATION_OVERLAP = timedelta(days=1)


class KeyIsGone(Refused):
    code = "key_is_gone"
    sentence = "The key {name} is revoked or has expired: make a new one."


class KeyIsRotated(Refused):
    code = "key_is_rotated"
    sentence = "The key {name} has a successor already, and works until {at}."


def lock_environment(key: str) -> Environment:
    """The environment's row, locked: first in every transaction that will publish. Publishers queue here."""
    environment = Environment.objects.select_for_update().filter(key=key).first()
    if environment is None:
        raise NotFound(what="environment", key=key)
    return environment


@transaction.atomic
def create_environment(
    *,
    key: str,
    name: str,
    by: Actor,
    because: str,
    now: datetime,
    is_production: bool = False,
    is_protected: bool = False,
    is_hidden: bool = False,
) -> Environment:
    if Environment.objects.filter(key=key).exists():
        raise AlreadyThere(what="environment", key=key)
    environment = Environment.objects.create(
        key=key, name=name, is_production=is_production, is_protected=is_protected, is_hidden=is_hidden, created_at=now
    )
    about = {"environment": key}
    journal.record("environment.created", environment=key, by=by, because=because, about=about, now=now)
    bell.ring()
    return environment


@transaction.atomic
def create_key(
    *,
    environment: Environment,
    name: str,
    scopes: list[str],
    by: Actor,
    now: datetime,
    because: str = "",
    expires_at: datetime | None = None,
    rate_per_second: int | None = None,
) -> tuple[ApiKey, str]:
    """The key's row and its secret, which is shown this once and never stored."""
    unknown = sorted(set(scopes) - set(KeyScope))
    if unknown or not scopes:
        known = ", ".join(KeyScope)
        raise Invalid(f"A key needs scopes out of: {known}.", scopes=f"unknown: {', '.join(unknown) or 'none given'}")
    if rate_per_second is not None and rate_per_second < 1:
        raise Invalid("A rate is a whole number from 1.", rate_per_second="A whole number from 1, or null for none.")
    secret = new_secret()
    key = ApiKey.objects.create(
        environment=environment,
        name=name,
        digest=digest_of(secret),
        prefix=secret[:SHOWN],
        scopes=sorted(set(scopes)),
        expires_at=expires_at,
        rate_per_second=rate_per_second,
        created_at=now,
        created_by=str(by),
    )
    journal.record(
        "key.created",
        environment=environment.key,
        by=by,
        because=because,
        about={"key": key.id},
        now=now,
        after={"name": name, "scopes": key.scopes},
    )
    bell.ring()
    return key, secret


@transaction.atomic
def revoke_key(*, key: ApiKey, by: Actor, because: str, now: datetime, overlap: timedelta = timedelta()) -> None:
    """The key stops working now, or when the overlap of a rotation ends; every process knows within two seconds."""
    key.revoke(now + overlap)
    about = {"key": key.id}
    journal.record("key.revoked", environment=key.environment.key, by=by, because=because, about=about, now=now)
    bell.ring()


@transaction.atomic
def rotate_key(
    *,
    key: ApiKey,
    by: Actor,
    because: str,
    now: datetime,
    overlap: timedelta = ROTATION_OVERLAP,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """A new key that may do the same, under the same name; the old one works until the overlap ends.

    Without a date the new key lives as long as the old one was made for.
    """
    key = ApiKey.objects.select_for_update(of=("self",)).select_related("environment").get(pk=key.pk)
    ends = [at for at in (key.expires_at, key.revoked_at) if at is not None]
    if ends and min(ends) <= now:
        raise KeyIsGone(name=key.name)
    if key.revoked_at is not None:
        raise KeyIsRotated(name=key.name, at=f"{key.revoked_at:%Y-%m-%d %H:%M} UTC")
    if expires_at is None and key.expires_at is not None:
        expires_at = now + (key.expires_at - key.created_at)
    made, secret = create_key(
        environment=key.environment,
        name=key.name,
        scopes=key.scopes,
        by=by,
        now=now,
        because=because,
        expires_at=expires_at,
        rate_per_second=key.rate_per_second,
    )
    key.revoke(now + overlap)
    journal.record(
        "key.rotated",
        environment=key.environment.key,
        by=by,
        because=because,
        about={"key": key.id, "new_key": made.id},
        now=now,
        after={"name": key.name, "old_until": (now + overlap).isoformat()},
    )
    return made, secret


@transaction.atomic
def set_rate(*, key: ApiKey, rate_per_second: int | None, by: Actor, because: str, now: datetime) -> None:
    """Requests per second, of all processes together on each machine; None: no limit. In force within two seconds."""
    before = key.rate_per_second
    key.limit(rate_per_second)
    journal.record(
        "key.limited",
        environment=key.environment.key,
        by=by,
        because=because,
        about={"key": key.id},
        now=now,
        before={"rate_per_second": before},
        after={"rate_per_second": rate_per_second},
    )
    bell.ring()


@transaction.atomic
def grant(*, user: User, environment: Environment | None, role: Role, by: Actor, because: str, now: datetime) -> Grant:
    given, _ = Grant.objects.update_or_create(user=user, environment=environment, defaults={"role": role})
    journal.record(
        "person.granted",
        environment=environment.key if environment else "",
        by=by,
        because=because,
        about={"person": user.get_username()},
        now=now,
        after={"role": role},
    )
    return given
