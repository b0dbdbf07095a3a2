"""Guardrails, and the evidence of trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from django.db import models

from apps.budgets.domain import rules
from apps.core import ids


class GuardrailQuerySet(models.QuerySet["Guardrail"]):
    def of_trial(self, trial: str) -> Self:
        return self.filter(trial=trial)

    def in_order(self) -> Self:
        return self.order_by("trial", "position", "id")


class Guardrail(models.Model):
    """How much harm is allowed on a metric. What was judged once is not edited: a change makes a new one."""

    id = models.CharField(primary_key=True, max_length=36, default=ids.new_id, editable=False)
    environment = models.CharField(max_length=64)
    route = models.CharField(max_length=512)
    trial = models.CharField(max_length=64)
    position = models.PositiveSmallIntegerField()
    metric = models.CharField(max_length=100)
    against = models.CharField(max_length=16)
    limit = models.FloatField(null=True)  # seconds, USD or a share
    tolerance = models.FloatField()
    on_breach = models.CharField(max_length=16)
    alpha = models.FloatField()
    higher_is_better = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    objects = GuardrailQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["trial", "position"], name="one_guardrail_per_place_of_a_trial"),
        ]
        indexes = [models.Index(fields=["environment", "route"], name="guardrail_by_route")]

    def __str__(self) -> str:
        return f"{self.metric} of {self.route}"

    def set_on_breach(self, on_breach: str) -> None:
        self.on_breach = on_breach
        self.save(update_fields=["on_breach"])

    @property
    def rule(self) -> rules.Rule:
        return rules.Rule(
            id=self.id,
            metric=self.metric,
            against=self.against,
            on_breach=self.on_breach,
            limit=self.limit,
            tolerance=self.tolerance,
            alpha=self.alpha,
            higher_is_better=self.higher_is_better,
        )


class TrialStateQuerySet(models.QuerySet["TrialState"]):
    def put(self, states: Sequence[TrialState]) -> None:
        """Writes whole rows, new or known."""
        self.bulk_create(
            states,
            batch_size=500,
            update_conflicts=True,
            unique_fields=["trial"],
            update_fields=["look", "packed", "looked_at"],
        )


class TrialState(models.Model):
    """Everything that is known of one trial, packed (`domain.trial`)."""

    trial = models.CharField(primary_key=True, max_length=64)
    environment = models.CharField(max_length=64)
    route = models.CharField(max_length=512)
    shard = models.PositiveSmallIntegerField()
    look = models.PositiveIntegerField(default=0)
    packed = models.BinaryField()
    looked_at = models.DateTimeField(null=True)

    objects = TrialStateQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["environment", "route"], name="trial_by_route")]

    def __str__(self) -> str:
        return f"{self.trial} look {self.look}"


class LookQuerySet(models.QuerySet["Look"]):
    def add(self, looks: Sequence[Look]) -> None:
        self.bulk_create(looks, batch_size=500)

    def since_checkpoint(self, trial: str, *, until: int) -> Self:
        """From the last look with a checkpoint on, up to that look."""
        checkpoint = (
            self.filter(trial=trial, look__lte=until, checkpoint__isnull=False)
            .order_by("-look")
            .values_list("look", flat=True)
            .first()
        )
        return self.filter(trial=trial, look__gte=checkpoint or 0, look__lte=until).order_by("look")


class Look(models.Model):
    """What one look brought, packed: enough to compute the evidence again. With each block comes a whole checkpoint."""

    id = models.BigAutoField(primary_key=True)
    trial = models.CharField(max_length=64)
    look = models.PositiveIntegerField()
    at = models.DateTimeField()
    packed = models.BinaryField()  # the record, and each rule's log E after it
    checkpoint = models.BinaryField(null=True)  # the trial after this look

    objects = LookQuerySet.as_manager()

    class Meta:
        # Two ticks that read the same increments cannot both count them.
        constraints = [models.UniqueConstraint(fields=["trial", "look"], name="one_row_per_trial_and_look")]
        indexes = [models.Index(fields=["at"], name="look_by_moment")]

    def __str__(self) -> str:
        return f"{self.trial} look {self.look}"
