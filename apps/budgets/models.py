"""Guardrails, the evidence of trials, budgets. Environment, route and trial are text: history outlives its subjects."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self

from django.db import models

from apps.budgets.domain import money, rules
from apps.budgets.domain.money import Threshold
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


class BudgetQuerySet(models.QuerySet["Budget"]):
    def of(self, environment: str) -> Self:
        return self.filter(environment=environment)

    def in_force(self) -> Self:
        return self.filter(ended_at=None)

    def keep(self, budgets: Sequence[Budget]) -> None:
        self.bulk_update(budgets, ["kept"], batch_size=200)

    def locked(self, id: str) -> Budget:
        return self.select_for_update().get(pk=id)


class Budget(models.Model):
    """How much money may be spent, by scope and period, and what happens at each threshold."""

    id = models.CharField(primary_key=True, max_length=36, default=ids.new_id, editable=False)
    environment = models.CharField(max_length=64)
    name = models.CharField(max_length=128, blank=True, default="")
    scope = models.JSONField(default=dict)
    period = models.CharField(max_length=8)
    limit_nano = models.BigIntegerField()
    thresholds = models.JSONField(default=list)
    timezone = models.CharField(max_length=64, default="UTC")
    owner = models.CharField(max_length=128, blank=True, default="")
    revision = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField()
    changed_by = models.CharField(max_length=160)
    ended_at = models.DateTimeField(null=True)
    # Which thresholds were crossed when last looked at, in which period: an alert is a state, not an event.
    crossed = models.JSONField(default=list)
    crossed_in = models.DateTimeField(null=True)
    # What was last asked of the ledger, where asking at every tick would cost too much (`queries.Reading`).
    kept = models.JSONField(default=dict)

    objects = BudgetQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(limit_nano__gt=0), name="a_budget_allows_more_than_nothing"),
        ]
        indexes = [models.Index(fields=["environment", "created_at"], name="budget_by_environment")]

    def __str__(self) -> str:
        return self.name or f"{self.scope} a {self.period}"

    @property
    def rule(self) -> money.Rule:
        thresholds, _ = money.parse_thresholds(self.thresholds)
        return money.Rule(
            id=self.id,
            environment=self.environment,
            name=self.name,
            scope=self.scope,
            period=self.period,  # type: ignore[arg-type]  # checked when it was written
            limit_nano=self.limit_nano,
            thresholds=thresholds,
            timezone=self.timezone,
        )

    def change(self, fields: dict[str, Any], *, by: str, now: datetime) -> None:
        for name, value in fields.items():
            setattr(self, name, value)
        self.revision += 1
        self.kept = {}  # of another scope, limit or period
        self.changed_by, self.changed_at = by, now
        self.save()

    def end(self, *, by: str, now: datetime) -> None:
        self.change({"ended_at": now}, by=by, now=now)

    def note_crossed(self, crossed: Sequence[Threshold], *, period_from: datetime) -> None:
        self.crossed = [threshold.name for threshold in crossed]
        self.crossed_in = period_from
        self.save(update_fields=["crossed", "crossed_in"])
