"""Money that is set aside under hard caps, and what it came to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Self

from django.db import models


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
