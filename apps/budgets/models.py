"""Guardrails, the evidence of trials, budgets. Environment, route and trial are text: history outlives its subjects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Self

from django.db import models

from apps.budgets.domain import money, periods, rules, thresholds
from apps.budgets.domain.thresholds import Threshold
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

    def hard(self) -> Self:
        return self.in_force().light().filter(is_hard=True).order_by("id")

    def light(self) -> Self:
        """Without four weeks of hours, which only a new forecast reads."""
        return self.defer("hours")

    def keep(self, budgets: Sequence[Budget]) -> None:
        self.bulk_update(budgets, ["kept"], batch_size=200)

    def keep_hours(self, budgets: Sequence[Budget]) -> None:
        self.bulk_update(budgets, ["hours"], batch_size=50)

    def locked(self, id: str) -> Budget:
        return self.select_for_update().get(pk=id)


COUNTED_BY = ("scope", "period", "limit_nano", "timezone")  # what was read of the ledger holds for these


class Budget(models.Model):
    """How much money may be spent, by scope and period, and what happens at each threshold."""

    class OnUnreachable(models.TextChoices):
        """What a caller does that cannot ask whether there is room."""

        OPEN = "open", "The call is made, and its spend told later as unverified"
        CLOSED = "closed", "The call is not made"

    class AtCap(models.TextChoices):
        """What becomes of an answer that is under way while the cap is reached."""

        FINISH = "finish", "It is finished"
        CUT = "cut", "It is cut"

    id = models.CharField(primary_key=True, max_length=36, default=ids.new_id, editable=False)
    environment = models.CharField(max_length=64)
    name = models.CharField(max_length=128, blank=True, default="")
    scope = models.JSONField(default=dict)
    period = models.CharField(max_length=16)
    limit_nano = models.BigIntegerField()
    thresholds = models.JSONField(default=list)
    timezone = models.CharField(max_length=64, default="UTC")
    owner = models.CharField(max_length=128, blank=True, default="")
    # A hard cap counts what is reserved as well: a call that might cross it is not made.
    is_hard = models.BooleanField(default=False)
    on_unreachable = models.CharField(max_length=8, choices=OnUnreachable, default=OnUnreachable.OPEN)
    at_cap = models.CharField(max_length=8, choices=AtCap, default=AtCap.FINISH)
    revision = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField()
    changed_by = models.CharField(max_length=160)
    ended_at = models.DateTimeField(null=True)
    # Which thresholds were crossed when last looked at, in which period: an alert is a state, not an event.
    crossed = models.JSONField(default=list)
    crossed_in = models.DateTimeField(null=True)
    began = models.JSONField(default=dict)  # since when, by the threshold's name
    late = models.JSONField(default=dict)  # of periods that are over: thresholds that were told late (`lateness.Late`)
    told = models.JSONField(default=dict)  # how severe it was told to be, by the threshold's name
    refused_at = models.DateTimeField(null=True)  # when a hard cap last refused calls, to the minute; null: they pass
    faulty_since = models.DateTimeField(null=True)  # it could not be judged since
    # What was last asked of the ledger, where asking at every tick would cost too much (`queries.Reading`).
    kept = models.JSONField(default=dict)
    hours = models.JSONField(default=list)  # [seconds since 1970, nano-USD, priced calls] of the last four weeks

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
        parsed, _ = thresholds.parse(self.thresholds, period=self.period, scope=self.scope)
        return money.Rule(
            id=self.id,
            environment=self.environment,
            name=self.name,
            scope=self.scope,
            period=self.period,  # type: ignore[arg-type]  # checked when it was written
            limit_nano=self.limit_nano,
            thresholds=parsed,
            timezone=self.timezone,
        )

    @property
    def is_sound(self) -> bool:
        """Whether it can be asked for together with others: nobody has broken its row by hand."""
        return isinstance(self.scope, dict) and self.period in periods.LENGTHS

    def change(self, fields: dict[str, Any], *, by: str, now: datetime) -> None:
        if any(name in fields and fields[name] != getattr(self, name) for name in COUNTED_BY):
            self.kept, self.hours = {}, []
        for name, value in fields.items():
            setattr(self, name, value)
        self.revision += 1
        self.changed_by, self.changed_at = by, now
        self.save()

    def end(self, *, by: str, now: datetime) -> None:
        self.change({"ended_at": now}, by=by, now=now)

    def note_crossed(
        self,
        crossed: Sequence[Threshold],
        *,
        period_from: datetime,
        began: Mapping[str, datetime],
        told: Mapping[str, str],
    ) -> None:
        """`told`: as how severe, by the threshold's name."""
        self.crossed = [threshold.name for threshold in crossed]
        self.crossed_in = period_from
        self.began = {threshold.name: began[threshold.name].isoformat() for threshold in crossed}
        self.told = dict(told)
        self.save(update_fields=["crossed", "crossed_in", "began", "told"])

    def crossed_in_period(self, period_from: datetime) -> dict[str, datetime]:
        """Since when each threshold is crossed. What was crossed in a calendar period that is over does not count: a
        crossing in the next one is another."""
        is_over = not periods.is_rolling(self.period) and self.crossed_in != period_from
        return {} if is_over else self.crossed_since

    def note_late(self, late: Mapping[str, Sequence[str]]) -> None:
        self.late = dict(late)
        self.save(update_fields=["late"])

    def note_fault(self, since: datetime | None) -> None:
        self.faulty_since = since
        self.save(update_fields=["faulty_since"])

    def note_refusal(self, at: datetime | None) -> bool:
        """Compare and swap: False where somebody else has noted it."""
        mine = Budget.objects.filter(pk=self.pk, refused_at=self.refused_at)
        self.refused_at = at
        return mine.update(refused_at=at) == 1

    @property
    def crossed_since(self) -> dict[str, datetime]:
        return {name: datetime.fromisoformat(at) for name, at in self.began.items()}


class HoldQuerySet(models.QuerySet["Hold"]):
    def open(self) -> Self:
        return self.filter(state=Hold.State.OPEN)

    def due(self, now: datetime) -> Self:
        return self.open().filter(expires_at__lte=now).order_by("expires_at", "id")


class Hold(models.Model):
    """Money set aside for a call, or a few of them, before it is made. It ends once: settled, or expired."""

    class State(models.TextChoices):
        OPEN = "open"
        SETTLED = "settled"
        EXPIRED = "expired"

    id = models.BigAutoField(primary_key=True)
    environment = models.CharField(max_length=64)
    key = models.CharField(max_length=200)  # the caller's own name for it
    owner = models.CharField(max_length=160)  # who holds it
    scope = models.JSONField(default=dict)  # of the call: route, variant, model, provider, owner, tag, rollout, arm
    nano = models.BigIntegerField()
    state = models.CharField(max_length=8, choices=State, default=State.OPEN)
    made_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    settled_nano = models.BigIntegerField(null=True)
    is_unpriced = models.BooleanField(default=False)  # settled without a price, so at its whole amount
    is_unverified = models.BooleanField(default=False)  # made while nobody could be asked

    objects = HoldQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["environment", "key"], name="one_hold_per_key")]
        indexes = [models.Index(fields=["state", "expires_at"], name="hold_by_expiry")]

    def __str__(self) -> str:
        return f"{self.key} {self.state}"

    def extend(self, *, nano: int, expires_at: datetime) -> None:
        self.nano, self.expires_at = nano, expires_at
        self.save(update_fields=["nano", "expires_at"])
        self.parts.update(nano=nano)

    @property
    def booked_nano(self) -> int:
        """What stands in the ledger for it alone: it expired, and nobody told of (all of) its calls."""
        return (self.settled_nano or 0) if self.state == Hold.State.EXPIRED else 0

    def take_back(self, nano: int) -> None:
        self.settled_nano = self.booked_nano - nano
        self.save(update_fields=["settled_nano"])
        self.parts.update(nano=self.settled_nano)

    def end(self, state: Hold.State, *, was: Hold.State, nano: int, now: datetime, is_unpriced: bool = False) -> bool:
        """Compare and swap: False where somebody else has ended it."""
        mine = Hold.objects.filter(pk=self.pk, state=was)
        if not mine.update(state=state, ended_at=now, settled_nano=nano, is_unpriced=is_unpriced):
            return False
        self.state, self.ended_at, self.settled_nano, self.is_unpriced = state, now, nano, is_unpriced
        self.parts.update(state=state, nano=nano, ended_at=now)
        return True


class HoldPart(models.Model):
    """A hold as one budget counts it."""

    id = models.BigAutoField(primary_key=True)
    hold = models.ForeignKey(Hold, on_delete=models.CASCADE, related_name="parts", db_index=False)
    budget = models.CharField(max_length=36)
    state = models.CharField(max_length=8)
    nano = models.BigIntegerField()  # reserved, and once it has ended what it was settled at
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["hold", "budget"], name="one_part_per_hold_and_budget")]
        indexes = [models.Index(fields=["budget", "state", "ended_at"], name="hold_part_by_budget")]

    def __str__(self) -> str:
        return f"{self.nano} {self.state}"


class Settled(models.Model):
    """What all holds of a budget's period were settled at: the ledger must come to know at least as much."""

    id = models.BigAutoField(primary_key=True)
    budget = models.CharField(max_length=36)
    period_from = models.DateTimeField()
    nano = models.BigIntegerField(default=0)
    from_before_nano = models.BigIntegerField(default=0)  # the part of it by holds that were made before the period
    holds = models.BigIntegerField(default=0)
    newest_at = models.DateTimeField()
    differs_since = models.DateTimeField(null=True)
    repaired_nano = models.BigIntegerField(default=0)  # booked for holds that no report tells of
    repaired_as = models.JSONField(default=dict)  # the line that says so, to be taken back as it was booked
    ledger_nano = models.BigIntegerField(null=True)  # what the ledger said
    ledger_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["budget", "period_from"], name="one_sum_per_budget_and_period")]

    def __str__(self) -> str:
        return f"{self.nano} in {self.holds} holds"

    def add(self, nano: int, made_at: datetime, now: datetime) -> None:
        from_before = nano if made_at < self.period_from else 0
        Settled.objects.filter(pk=self.pk).update(
            nano=models.F("nano") + nano,
            from_before_nano=models.F("from_before_nano") + from_before,
            holds=models.F("holds") + 1,
            newest_at=now,
        )

    def note_ledger(self, nano: int, now: datetime) -> None:
        self.ledger_nano, self.ledger_at = nano, now
        self.save(update_fields=["ledger_nano", "ledger_at"])

    def note_repair(self, nano: int, line: Mapping[str, str]) -> None:
        self.repaired_nano, self.repaired_as = nano, dict(line)
        self.save(update_fields=["repaired_nano", "repaired_as"])

    def note_difference(self, since: datetime | None) -> None:
        if since == self.differs_since:
            return
        self.differs_since = since
        self.save(update_fields=["differs_since"])


class Oddity(models.Model):
    """Something odd about a route's money that was told, and is not over."""

    id = models.BigAutoField(primary_key=True)
    environment = models.CharField(max_length=64)
    route = models.CharField(max_length=512)
    kind = models.CharField(max_length=24)
    began_at = models.DateTimeField()
    looked_at = models.DateTimeField()
    facts = models.JSONField(default=dict)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["environment", "route", "kind"], name="one_oddity_of_a_kind")]

    def __str__(self) -> str:
        return f"{self.kind} of {self.route}"

    def look_again(self, facts: Mapping[str, Any], now: datetime) -> None:
        self.facts, self.looked_at = dict(facts), now
        self.save(update_fields=["facts", "looked_at"])
