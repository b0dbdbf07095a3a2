"""Append-only: what changed, who did it, why. Environments, actors and subjects are text: history outlives them."""

from typing import Any, Self

from django.db import models

from apps.core.ids import new_id


class EntryQuerySet(models.QuerySet["Entry"]):
    def newest_first(self) -> Self:
        return self.order_by("-at", "-id")

    def of_environment(self, environment: str) -> Self:
        return self.filter(environment=environment)

    def about(self, **subjects: str) -> Self:
        return self.filter(**{f"about__{name}": value for name, value in subjects.items()})

    def with_condition(self) -> Self:
        return self.exclude(effect="")


class Entry(models.Model):
    class Effect(models.TextChoices):
        NONE = "", "none"
        OPENS = "opens", "opens a condition"
        CLOSES = "closes", "closes a condition"

    id = models.CharField(primary_key=True, max_length=36, default=new_id, editable=False)
    at = models.DateTimeField()
    environment = models.CharField(max_length=64, blank=True)
    kind = models.CharField(max_length=64)
    by = models.CharField(max_length=200)
    because = models.CharField(max_length=500, blank=True)
    about = models.JSONField(default=dict)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    version = models.PositiveIntegerField(null=True)
    # What an alert needs, so that no domain app must know that alerts exist.
    condition = models.CharField(max_length=255, blank=True)
    effect = models.CharField(max_length=8, blank=True, choices=Effect.choices, default=Effect.NONE)
    severity = models.CharField(max_length=16, blank=True)
    route = models.CharField(max_length=128, blank=True)
    owner = models.CharField(max_length=128, blank=True)
    sentence = models.TextField(blank=True)
    link = models.CharField(max_length=500, blank=True)
    runbook = models.TextField(blank=True)

    objects = EntryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "entries"
        indexes = [
            models.Index(fields=["environment", "-at"], name="entry_by_environment"),
            models.Index(fields=["route", "-at"], name="entry_by_route"),
            models.Index(fields=["at"], name="entry_with_condition", condition=~models.Q(effect="")),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.kind} by {self.by}"

    @property
    def changes(self) -> dict[str, tuple[Any, Any]]:
        """Field by field: what it was, what it is."""
        return changes(self.before, self.after)


def changes(before: Any, after: Any) -> dict[str, tuple[Any, Any]]:
    """The fields in which two states differ. What is no object is one field without a name."""
    if not isinstance(before, dict) and not isinstance(after, dict):
        return {} if before == after else {"": (before, after)}
    old = before if isinstance(before, dict) else {}
    new = after if isinstance(after, dict) else {}
    return {name: (old.get(name), new.get(name)) for name in sorted({*old, *new}) if old.get(name) != new.get(name)}
