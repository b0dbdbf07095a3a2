"""What a flag was: its whole definition after each change. Written once, never changed; outlives the flag."""

from typing import Self

from django.db import models

from apps.access.models import Environment
from apps.flags.models.fields import ExactJson
from apps.flags.models.flag import Flag


class FlagVersionQuerySet(models.QuerySet["FlagVersion"]):
    def of(self, flag: Flag) -> Self:
        return self.filter(flag=flag)

    def of_deleted(self, environment: str, key: str) -> Self:
        return self.none() if "\0" in key else self.filter(flag=None, environment_id=environment, key=key)

    def newest_first(self) -> Self:
        return self.order_by("-version", "-id")


class FlagVersion(models.Model):
    environment = models.ForeignKey(
        Environment, to_field="key", db_column="environment", on_delete=models.CASCADE, related_name="flag_versions"
    )
    flag = models.ForeignKey(Flag, null=True, on_delete=models.SET_NULL, related_name="versions")
    key = models.CharField(max_length=512)  # as it was called then
    revision = models.PositiveIntegerField()
    version = models.PositiveIntegerField()  # the snapshot that carried it first
    kind = models.CharField(max_length=64)  # the journal's word for what happened
    fields = ExactJson()
    by = models.CharField(max_length=200)
    because = models.CharField(max_length=500, blank=True)
    at = models.DateTimeField()

    objects = FlagVersionQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["flag", "revision"], name="one_version_per_flag_and_revision")]
        indexes = [models.Index(fields=["environment", "key"], name="version_by_key")]

    def __str__(self) -> str:
        return f"{self.key} revision {self.revision}"
