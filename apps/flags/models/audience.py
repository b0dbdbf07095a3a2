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

    def add(self) -> Self:
        self.save(force_insert=True)
        return self

    def change(self, *, by: str, at: datetime, **fields: Any) -> None:
        for name, value in fields.items():
            setattr(self, name, value)
        self.revision += 1
        self.changed_by, self.changed_at = by, at
        self.save(update_fields=[*fields, "revision", "changed_by", "changed_at"])
