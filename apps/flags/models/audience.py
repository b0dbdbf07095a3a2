"""Reusable conditions: who belongs to an audience is said once, and every rule that names it means the same."""

from datetime import datetime
from typing import Any, Self

from django.db import models

from apps.access.models import Environment
from apps.flags.models.fields import ExactJson


class AudienceQuerySet(models.QuerySet["Audience"]):
    def of(self, environment: str) -> Self:
        return self.filter(environment_id=environment)

    def named(self, key: str) -> Self:
        return self.none() if "\0" in key else self.filter(key=key)


class Audience(models.Model):
    environment = models.ForeignKey(
        Environment, to_field="key", db_column="environment", on_delete=models.CASCADE, related_name="audiences"
    )
    key = models.CharField(max_length=128)
    description = models.CharField(max_length=1000, blank=True)
    conditions = ExactJson()  # a group, as domain/conditions.py reads it
    revision = models.PositiveIntegerField(default=1)
    changed_by = models.CharField(max_length=200)
    changed_at = models.DateTimeField()
    created_at = models.DateTimeField()

    objects = AudienceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["environment", "key"], name="one_audience_per_environment_and_key")
        ]

    def __str__(self) -> str:
        return f"{self.key} in {self.environment_id}"

    @property
    def fields(self) -> dict[str, Any]:
        return {"description": self.description, "conditions": self.conditions}

    def add(self, *, because: str) -> Self:
        self.save(force_insert=True)
        self.keep_version(because)
        return self

    def change(self, *, by: str, at: datetime, because: str, **fields: Any) -> None:
        for name, value in fields.items():
            setattr(self, name, value)
        self.revision += 1
        self.changed_by, self.changed_at = by, at
        self.save(update_fields=[*fields, "revision", "changed_by", "changed_at"])
        self.keep_version(because)

    def keep_version(self, because: str) -> None:
        AudienceVersion.objects.create(
            environment=self.environment,
            audience=self,
            key=self.key,
            revision=self.revision,
            fields=self.fields,
            by=self.changed_by,
            because=because[:500],
            at=self.changed_at,
        )


class AudienceVersionQuerySet(models.QuerySet["AudienceVersion"]):
    def of(self, audience: Audience) -> Self:
        return self.filter(audience=audience)

    def newest_first(self) -> Self:
        return self.order_by("-revision", "-id")


class AudienceVersion(models.Model):
    """What an audience was after each change. Written once, never changed; outlives the audience."""

    environment = models.ForeignKey(
        Environment, to_field="key", db_column="environment", on_delete=models.CASCADE, related_name="audience_versions"
    )
    audience = models.ForeignKey(Audience, null=True, on_delete=models.SET_NULL, related_name="versions")
    key = models.CharField(max_length=128)
    revision = models.PositiveIntegerField()
    fields = ExactJson()
    by = models.CharField(max_length=200)
    because = models.CharField(max_length=500, blank=True)
    at = models.DateTimeField()

    objects = AudienceVersionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["audience", "revision"], name="one_version_per_audience_and_revision")
        ]

    def __str__(self) -> str:
        return f"{self.key} revision {self.revision}"
