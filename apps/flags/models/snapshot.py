"""The numbered snapshots that services read, and how each route was split since when."""

import zlib
from typing import Self

from django.db import models

from apps.access.models import Environment
from apps.flags.models.fields import ExactJson


class SnapshotQuerySet(models.QuerySet["Snapshot"]):
    def of(self, environment: str) -> Self:
        return self.filter(environment_id=environment)


class Snapshot(models.Model):
    """The whole flag set of an environment at one version, in flagd's format. Written once, never changed."""

    environment = models.ForeignKey(
        Environment, to_field="key", db_column="environment", on_delete=models.CASCADE, related_name="snapshots"
    )
    version = models.PositiveIntegerField()
    body = models.BinaryField()  # zlib
    digest = models.CharField(max_length=16)
    changed_keys: "models.JSONField[list[str], list[str]]" = models.JSONField(default=list)
    urgent = models.BooleanField(default=False)  # readers fetch at once instead of spreading out
    published_at = models.DateTimeField()

    objects = SnapshotQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["environment", "version"], name="one_snapshot_per_version")]
        indexes = [models.Index(fields=["environment", "published_at"], name="snapshot_by_moment")]

    def __str__(self) -> str:
        return f"{self.environment_id} {self.version}"

    @property
    def document(self) -> bytes:
        return zlib.decompress(bytes(self.body))


class Split(models.Model):
    """A route's assignment since a version: calls are judged by it, so a call begun under the old share never meets
    the new one."""

    environment = models.ForeignKey(
        Environment, to_field="key", db_column="environment", on_delete=models.CASCADE, related_name="splits"
    )
    flag = models.CharField(max_length=512)
    since_version = models.PositiveIntegerField()
    trial = models.CharField(max_length=64, blank=True)
    kind = models.CharField(max_length=8)  # split, rules, fallback, off: how requests are assigned that do not say
    default_variant = models.CharField(max_length=128, blank=True)
    segments = ExactJson(default=list)
    published_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "flag", "since_version"], name="one_split_per_flag_and_version"
            )
        ]

    def __str__(self) -> str:
        return f"{self.flag} since {self.environment_id} {self.since_version}"
