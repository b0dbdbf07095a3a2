"""A change that waits: for another person's approval, for its moment, or for both."""

from datetime import datetime
from typing import Any, Self

from django.db import models
from django.db.models import Q

from apps.access.models import Environment
from apps.core.ids import new_id
from apps.flags.models.fields import ExactJson


class ChangeRequestQuerySet(models.QuerySet["ChangeRequest"]):
    def of(self, environment: str) -> Self:
        return self.filter(environment_id=environment)

    def named(self, id: str) -> Self:
        return self.none() if "\0" in id else self.filter(pk=id)

    def due(self, now: datetime) -> Self:
        return self.filter(state=ChangeRequest.State.SCHEDULED, due_at__lte=now).order_by("due_at", "id")

    def open(self) -> Self:
        return self.filter(state__in=ChangeRequest.OPEN)


class ChangeRequest(models.Model):
    class State(models.TextChoices):
        DRAFT = "draft"
        SUBMITTED = "submitted"
        APPROVED = "approved"
        SCHEDULED = "scheduled"
        APPLIED = "applied"
        REJECTED = "rejected"
        WITHDRAWN = "withdrawn"
        CONFLICTED = "conflicted"

    class Action(models.TextChoices):
        CHANGE = "change"
        ARCHIVE = "archive"
        UNARCHIVE = "unarchive"
        RENAME = "rename"
        CHANGE_AUDIENCE = "change_audience"

    OPEN = (State.DRAFT, State.SUBMITTED, State.APPROVED, State.SCHEDULED, State.CONFLICTED)

    id = models.CharField(primary_key=True, max_length=36, default=new_id, editable=False)
    environment = models.ForeignKey(
        Environment, to_field="key", db_column="environment", on_delete=models.CASCADE, related_name="change_requests"
    )
    subject = models.CharField(max_length=512)  # key of the flag or the audience
    action = models.CharField(max_length=16, choices=Action.choices, default=Action.CHANGE)
    fields = ExactJson(default=dict)  # only what is to change, as it is to stand
    base_revision = models.PositiveIntegerField()
    base = ExactJson(default=dict)  # what it was on the base: those fields, and where the traffic went
    because = models.CharField(max_length=500)
    state = models.CharField(max_length=10, choices=State.choices, default=State.DRAFT)
    due_at = models.DateTimeField(null=True, blank=True)
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField()
    edited_by = models.CharField(max_length=200)
    edited_at = models.DateTimeField()
    submitted_by = models.CharField(max_length=200, blank=True)
    submitted_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=200, blank=True)  # who approved or rejected
    decided_at = models.DateTimeField(null=True)
    approved_digest = models.CharField(max_length=64, blank=True)  # of exactly what was approved
    done_at = models.DateTimeField(null=True)
    version = models.PositiveIntegerField(null=True)  # the snapshot that carried it
    sentence = models.TextField(blank=True)  # why it is where it is
    revision = models.PositiveIntegerField(default=1)

    objects = ChangeRequestQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["due_at"], name="change_request_by_moment", condition=Q(state="scheduled")),
            models.Index(fields=["environment", "state"], name="change_request_by_state"),
        ]
        constraints = [
            models.CheckConstraint(condition=~Q(state="scheduled", due_at=None), name="scheduled_has_a_moment"),
            models.CheckConstraint(condition=~Q(state="applied", version=None), name="applied_has_a_version"),
        ]

    def __str__(self) -> str:
        return f"{self.action} of {self.subject} in {self.environment_id}, {self.state}"

    @property
    def is_open(self) -> bool:
        return self.state in self.OPEN

    def add(self) -> Self:
        self.save(force_insert=True)
        return self

    def change(self, **fields: Any) -> None:
        for name, value in fields.items():
            setattr(self, name, value)
        self.revision += 1
        self.save(update_fields=[*fields, "revision"])
