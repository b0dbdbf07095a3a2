"""What an audience was: each of its versions can be shown, compared with another, and reverted to as a new one."""

from dataclasses import dataclass
from datetime import datetime

from django.db import models, transaction

from apps.core.actors import Actor
from apps.core.refusals import NotFound
from apps.flags import audiences, publishing
from apps.flags.domain import differences
from apps.flags.domain.differences import Difference
from apps.flags.models import AudienceVersion
from apps.flags.publishing import Published


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    before: AudienceVersion
    after: AudienceVersion
    changes: Difference


def rows(environment: str, key: str) -> "models.QuerySet[AudienceVersion]":
    """Newest first."""
    return AudienceVersion.objects.of(audiences.find(environment, key)).newest_first()


def version(environment: str, key: str, revision: int) -> AudienceVersion:
    row = rows(environment, key).filter(revision=revision).first()
    if row is None:
        raise NotFound(what=f"revision of audience {key}", key=revision)
    return row


def compare(environment: str, key: str, before: int, after: int) -> Comparison:
    old, new = version(environment, key, before), version(environment, key, after)
    return Comparison(before=old, after=new, changes=differences.between(old.fields, new.fields))


@transaction.atomic
def revert_audience(
    *, environment: str, key: str, revision: int, by: Actor, because: str, now: datetime, expected: int | None = None
) -> Published:
    """Sets conditions and description as they were then, and republishes the flags that use it: one version."""
    change = publishing.begin(environment, by=by, because=because, now=now)
    fields = version(environment, key, revision).fields
    return audiences.update(change, key, fields, expected=expected, kind="audience.reverted")
