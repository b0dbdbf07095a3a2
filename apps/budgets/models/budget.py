"""Budgets, and what is odd about money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.db import models

from apps.budgets.domain import money, periods, scopes, thresholds
from apps.budgets.domain.thresholds import Threshold
from apps.core import ids


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


class Unreadable(ValueError):
    """A budget's row says nothing that could be judged."""


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
        """Raises Unreadable."""
        parsed, fault = self._read()
        if fault:
            raise Unreadable(fault)
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
    def fault(self) -> str:
        """Why it cannot be read: its row was broken by hand, or its zone is gone from this machine. Empty: it can."""
        return self._read()[1]

    def _read(self) -> tuple[tuple[Threshold, ...], str]:
        """-> (thresholds, fault)."""
        if self.period not in periods.LENGTHS:
            return (), f"{self.period} is no period."
        if fault := self._scope_fault:
            return (), fault
        parsed, fault = thresholds.parse(self.thresholds, period=self.period, scope=self.scope)
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            fault = fault or f"{self.timezone or 'An empty name'} is no time zone that is known here."
        return parsed, fault

    @property
    def is_sound(self) -> bool:
        """Whether it can be asked for together with others."""
        return not self.fault

    @property
    def _scope_fault(self) -> str:
        return scopes.parse(self.scope, environment=self.environment, period=self.period)[1]

    @property
    def words(self) -> str:
        """What it is of, for people."""
        return self.name or self.id if self._scope_fault else scopes.words(self.scope)

    @property
    def route(self) -> str:
        """The one route that it counts; empty where it is wider, or where that cannot be read."""
        return "" if self._scope_fault else self.scope.get("route", "")

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
