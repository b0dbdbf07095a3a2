"""Rollouts, what was decided about them, and the steps of a way back. The ways in which a row may change are here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import F, Q

from apps.core.claims import Leased
from apps.core.ids import new_id
from apps.rollouts.domain import machine, stages
from apps.rollouts.domain.stages import Stage

Facts = dict[str, Any]


class RolloutQuerySet(models.QuerySet["Rollout"]):
    def live(self) -> Self:
        """Started and not ended: these hold their flag, and the tick judges them in whatever phase they are."""
        return self.filter(state__in=Rollout.LIVE)

    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def rolled_back_by_the_machine(self, environment: str, route: str, revision: str) -> Self:
        ended = Rollout.State.ROLLED_BACK
        return self.filter(
            environment=environment, route=route, candidate_revision=revision, state=ended, ended_by_machine=True
        )


class Rollout(models.Model):
    class State(models.TextChoices):
        DRAFT = "draft"
        RUNNING = "running"
        PAUSED = "paused"
        ROLLED_BACK = "rolled_back"
        FINISHED = "finished"
        ABORTED = "aborted"

    LIVE: ClassVar = (State.RUNNING, State.PAUSED)

    id = models.CharField(primary_key=True, max_length=36, default=new_id, editable=False)
    environment = models.CharField(max_length=64)
    route = models.CharField(max_length=512)
    owner = models.CharField(max_length=128, blank=True)
    shard = models.PositiveSmallIntegerField()
    baseline = models.CharField(max_length=128)
    candidate = models.CharField(max_length=128)
    baseline_name = models.CharField(max_length=128)  # as sentences say it: GPT-4.1
    candidate_name = models.CharField(max_length=128)
    baseline_revision = models.CharField(max_length=16)
    candidate_revision = models.CharField(max_length=16)
    state = models.CharField(max_length=12, choices=State.choices, default=State.DRAFT)
    stages: models.JSONField[list[Facts], list[Facts]] = models.JSONField()
    stage = models.PositiveSmallIntegerField(null=True, blank=True)
    share = models.PositiveSmallIntegerField(default=0)
    shadow = models.PositiveSmallIntegerField(default=0)
    shadow_limit_reached = models.BooleanField(default=False)
    approved = models.PositiveSmallIntegerField(null=True, blank=True)
    acted: models.JSONField[list[str], list[str]] = models.JSONField(default=list, blank=True)
    generation = models.PositiveIntegerField(default=0)  # one for each row of a decision, holds among them
    revision = models.PositiveIntegerField(default=0)  # what people saw: holds do not make it stale
    judged_requests = models.PositiveBigIntegerField(default=0)  # that the candidate answered, in all
    samples = models.PositiveBigIntegerField(default=0)  # of these in the present stage
    looks = models.PositiveIntegerField(default=0)
    newest_at = models.DateTimeField(null=True, blank=True)
    warned = models.CharField(max_length=200, blank=True)  # evidence of harm at the last look, in words
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=200)
    requested_by = models.CharField(max_length=200, blank=True)  # who started it; this person approves nothing of it
    because = models.CharField(max_length=500, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    stage_began_at = models.DateTimeField(null=True, blank=True)
    paused_by = models.CharField(max_length=200, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by_machine = models.BooleanField(default=False)

    objects = RolloutQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "route"],
                condition=Q(state__in=["running", "paused"]),
                name="one_running_rollout_per_flag",
            ),
            models.CheckConstraint(condition=Q(share__lte=stages.WHOLE), name="a_share_is_at_most_the_whole"),
        ]
        indexes = [
            models.Index(fields=["shard"], condition=Q(state__in=["running", "paused"]), name="live_rollouts_by_shard"),
            models.Index(fields=["environment", "route", "-created_at"], name="rollouts_of_a_route"),
        ]

    def __str__(self) -> str:
        return f"{self.route}: {self.baseline_name} to {self.candidate_name}"

    @property
    def holder(self) -> str:
        return f"rollout {self.id}"

    @property
    def is_live(self) -> bool:
        return self.state in self.LIVE

    @property
    def plan(self) -> tuple[Stage, ...]:
        return stages.read(self.stages)

    def progress(self, *, switch: str = "") -> machine.Progress:
        began_at = self.stage_began_at or self.started_at or self.created_at
        return machine.Progress(
            rollout=self.id,
            environment=self.environment,
            route=self.route,
            baseline=self.baseline,
            candidate=self.candidate,
            stages=self.plan,
            stage=self.stage,
            share=self.share,
            shadow=self.shadow,
            started_at=self.started_at or self.created_at,
            stage_began_at=began_at,
            paused=self.state == self.State.PAUSED,
            switch=switch,
            approved=self.approved,
            samples=self.samples,
            acted=frozenset(self.acted),
        )

    def next_generation(self) -> int:
        """Each decision row takes one. The caller holds the row's lock."""
        self.generation += 1
        return self.generation

    def take_counts(self, looked: Rollout) -> None:
        """What the worker's look counted, onto the row that it now holds locked."""
        self.judged_requests, self.samples, self.looks = looked.judged_requests, looked.samples, looked.looks
        self.newest_at, self.warned = looked.newest_at, looked.warned

    def start(self, *, by: str, because: str, now: datetime) -> None:
        self.state = self.State.RUNNING
        self.requested_by = by
        self.because = because
        self.started_at = self.stage_began_at = now
        self.revision += 1
        self.save()

    def follow(self, progress: machine.Progress, *, state: str | None = None, by: str = "", now: datetime) -> None:
        """Stands where the machine says it stands now."""
        self.stage, self.share, self.shadow = progress.stage, progress.share, progress.shadow
        self.stage_began_at, self.samples = progress.stage_began_at, progress.samples
        self.approved = progress.approved
        self.acted = sorted(progress.acted)
        if state is not None:
            self.state = state
        elif self.is_live:
            self.state = self.State.PAUSED if progress.paused else self.State.RUNNING
        self.paused_by = (self.paused_by or by) if self.state == self.State.PAUSED else ""
        if not self.is_live:
            self.ended_at = now
            self.ended_by_machine = by.startswith("worker:")
        self.revision += 1
        self.save()

    def keep_generation(self) -> None:
        self.save(update_fields=["generation"])

    def go_on(self) -> None:
        self.state, self.paused_by = self.State.RUNNING, ""
        self.revision += 1
        self.save(update_fields=["state", "paused_by", "revision"])

    def close(self, now: datetime) -> None:
        """A draft that will not be started."""
        self.state, self.ended_at = self.State.ABORTED, now
        self.save(update_fields=["state", "ended_at"])

    def approve(self, stage: int) -> None:
        self.approved = stage
        self.revision += 1
        self.save(update_fields=["approved", "revision"])

    def come_back(self, *, stage: int | None, share: int, shadow: int, by: str, now: datetime) -> None:
        """An act undone: as it was, but paused, so that nothing advances before someone has looked."""
        self.state, self.paused_by = self.State.PAUSED, by
        self.stage, self.share, self.shadow = stage, share, shadow
        self.stage_began_at, self.samples = now, 0
        self.ended_at, self.ended_by_machine = None, False
        self.revision += 1
        self.save()


class DecisionQuerySet(models.QuerySet["Decision"]):
    def newest_first(self) -> Self:
        return self.order_by("-at", "-id")

    def repeat(self, ids: list[str], now: datetime) -> None:
        """The same holds again."""
        self.filter(pk__in=ids).update(repeats=F("repeats") + 1, last_at=now)


class Decision(models.Model):
    """What was done about the verdicts, with all evidence. Immutable, but for the counter of equal holds."""

    id = models.CharField(primary_key=True, max_length=36, default=new_id, editable=False)
    at = models.DateTimeField()
    last_at = models.DateTimeField()
    repeats = models.PositiveIntegerField(default=0)  # equal holds after this one
    environment = models.CharField(max_length=64)
    route = models.CharField(max_length=512)
    rollout = models.ForeignKey(Rollout, null=True, blank=True, on_delete=models.CASCADE, related_name="decisions")
    generation = models.PositiveIntegerField(null=True, blank=True)
    kind = models.CharField(max_length=16)
    code = models.CharField(max_length=32)
    reason = models.CharField(max_length=500)
    by = models.CharField(max_length=200)
    stage = models.PositiveSmallIntegerField(null=True, blank=True)
    share = models.PositiveSmallIntegerField(null=True, blank=True)  # after it
    before: models.JSONField[Facts, Facts] = models.JSONField(default=dict)  # stage, share, shadow, state, weights
    because: models.JSONField[list[Facts], list[Facts]] = models.JSONField(default=list)
    sentence = models.TextField()
    parts: models.JSONField[list[list[str]], list[list[str]]] = models.JSONField(default=list)
    evidence: models.JSONField[Facts, Facts] = models.JSONField(default=dict)
    version = models.PositiveIntegerField(null=True, blank=True)  # the snapshot that carries it
    undone_by = models.CharField(max_length=36, blank=True)

    objects = DecisionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["rollout", "generation"], name="one_decision_per_rollout_and_generation")
        ]
        indexes = [
            models.Index(fields=["environment", "-at"], name="decisions_by_environment"),
            models.Index(fields=["environment", "route", "-at"], name="decisions_by_route"),
        ]

    def __str__(self) -> str:
        return self.sentence

    @property
    def is_hold(self) -> bool:
        return self.kind == "hold"

    def tell_anew(self, sentence: str, parts: list[tuple[str, str]]) -> bool:
        """A hold that repeats with other figures tells those of now; saved with the others of its shard."""
        if sentence == self.sentence:
            return False
        self.sentence, self.parts = sentence, [list(part) for part in parts]
        return True

    def set_version(self, version: int | None, receipt: Facts) -> None:
        """The receipt of the flag write comes after the write, in the same transaction."""
        self.version = version
        self.evidence = {**self.evidence, "receipt": receipt}
        self.save(update_fields=["version", "evidence"])

    def mark_undone(self, by_decision: str) -> None:
        self.undone_by = by_decision
        self.save(update_fields=["undone_by"])


class PlanStep(Leased):
    """One step of a way back: claimed with a lease, safe to run twice, tried until done or its time is up."""

    class State(models.TextChoices):
        WAITING = "waiting"
        DONE = "done"
        UNSEEN = "unseen"  # its time is up and nothing was visible: neither confirmed nor refuted
        FAILED = "failed"

    decision = models.ForeignKey(Decision, on_delete=models.CASCADE, related_name="steps")
    position = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=32)
    title = models.CharField(max_length=200)
    calls_out = models.BooleanField(default=False)
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    due_at = models.DateTimeField()
    gives_up_at = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)
    done_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=500, blank=True)
    evidence: models.JSONField[Facts, Facts] = models.JSONField(default=dict)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["decision", "position"], name="one_step_per_position")]
        indexes = [models.Index(fields=["due_at"], condition=Q(state="waiting"), name="steps_that_wait")]

    def __str__(self) -> str:
        return f"{self.position}. {self.title}"

    def settle(self, *, claim: str, state: str, outcome: str, evidence: Facts, now: datetime) -> bool:
        """Ends the step, if this very claim still holds it: a worker that overslept changes nothing."""
        mine = PlanStep.objects.filter(pk=self.pk, claimed_by=claim, state=self.State.WAITING)
        ended = {"state": state, "outcome": outcome[:500], "evidence": evidence, "done_at": now}
        return mine.update(**ended, lease_ends_at=None, attempts=F("attempts") + 1) == 1

    def look_again(self, *, claim: str, due_at: datetime, outcome: str) -> bool:
        mine = PlanStep.objects.filter(pk=self.pk, claimed_by=claim, state=self.State.WAITING)
        again = {"due_at": due_at, "outcome": outcome[:500], "lease_ends_at": None}
        return mine.update(**again, attempts=F("attempts") + 1) == 1


class RollbackPlan(models.Model):
    """How a route goes back: set before anything moves, the same for the machine and for a press."""

    class Target(models.TextChoices):
        BASELINE = "baseline"
        FALLBACK = "fallback"

    id = models.CharField(primary_key=True, max_length=36, default=new_id, editable=False)
    environment = models.CharField(max_length=64)
    route = models.CharField(max_length=512)
    target = models.CharField(max_length=8, choices=Target.choices, default=Target.BASELINE)
    confirm_seconds = models.PositiveIntegerField(default=60)  # how long clients may take to show the new snapshot
    watch_seconds = models.PositiveIntegerField(default=20)  # after which the baseline is looked at
    stops_shadow = models.BooleanField(default=True)
    revision = models.PositiveIntegerField(default=1)
    costs: models.JSONField[list[Facts], list[Facts]] = models.JSONField(default=list)  # per hour of each target
    priced_at = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField()
    updated_by = models.CharField(max_length=200)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["environment", "route"], name="one_rollback_plan_per_route")]

    def __str__(self) -> str:
        return f"{self.route}: back to the {self.target}"

    def price(self, costs: list[Facts], now: datetime) -> None:
        self.costs, self.priced_at = costs, now
        self.save(update_fields=["costs", "priced_at"])

    def change(self, fields: Mapping[str, Any], *, by: str, now: datetime) -> None:
        for name, value in fields.items():
            setattr(self, name, value)
        self.revision += 1
        self.updated_by, self.updated_at = by, now
        self.save()


class Approval(models.Model):
    """A stage asks for a second person. The evidence is kept as it was when it was asked."""

    class State(models.TextChoices):
        WAITING = "waiting"
        APPROVED = "approved"
        REJECTED = "rejected"
        LAPSED = "lapsed"  # the rollout went another way

    id = models.CharField(primary_key=True, max_length=36, default=new_id, editable=False)
    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="approvals")
    stage = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    asked_at = models.DateTimeField()
    asked_by = models.CharField(max_length=200)
    evidence: models.JSONField[Facts, Facts] = models.JSONField(default=dict)
    answered_at = models.DateTimeField(null=True, blank=True)
    answered_by = models.CharField(max_length=200, blank=True)
    because = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["rollout"], condition=Q(state="waiting"), name="one_question_at_a_time_per_rollout"
            )
        ]

    def __str__(self) -> str:
        return f"stage {self.stage + 1} of {self.rollout_id}: {self.state}"

    def answer(self, state: str, *, by: str, because: str, now: datetime) -> None:
        self.state, self.answered_by, self.because, self.answered_at = state, by, because, now
        self.save()


class Shard(Leased):
    """One worker at a time looks after a shard. `token` grows with each claim: what an older claim saves is refused."""

    number = models.PositiveSmallIntegerField(primary_key=True)
    token = models.PositiveBigIntegerField(default=0)
    due_at = models.DateTimeField(null=True)
    last_tick_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"shard {self.number}"
