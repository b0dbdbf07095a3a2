from datetime import datetime, timedelta
from typing import Self

from django.db import models
from django.db.models import Q

from apps.alerts.domain.life import REOPEN_WITHIN, SOURCES, is_worse
from apps.alerts.domain.matching import Matcher
from apps.alerts.models.silence import Silence
from apps.core.ids import new_id

SEEN_FOR = timedelta(days=7)
KEPT_FOR = timedelta(days=90)  # what is over


class AlertQuerySet(models.QuerySet["Alert"]):
    def open(self) -> Self:
        return self.exclude(state=Alert.State.RESOLVED)

    def firing(self) -> Self:
        return self.filter(state=Alert.State.FIRING)

    def that_may_mute(self) -> Self:
        found = self.none()
        for beginning in SOURCES:
            found = found | self.filter(condition__startswith=beginning)
        return found

    def of_environment(self, environment: str) -> Self:
        return self.filter(environment=environment)

    def newest_first(self) -> Self:
        return self.order_by("-opened_at", "-id")

    def just_resolved(self, now: datetime) -> Self:
        """What a re-fire opens again."""
        return self.filter(state=Alert.State.RESOLVED, resolved_at__gt=now - REOPEN_WITHIN)


class Alert(models.Model):
    """One open condition: something a person on call must know."""

    class State(models.TextChoices):
        FIRING = "firing", "Firing"
        ACKNOWLEDGED = "acknowledged", "Acknowledged"
        SILENCED = "silenced", "Silenced"
        RESOLVED = "resolved", "Resolved"

    id = models.CharField(primary_key=True, max_length=36, default=new_id, editable=False)
    environment = models.CharField(max_length=64)
    condition = models.CharField(max_length=255)
    group = models.CharField(max_length=255, blank=True)
    state = models.CharField(max_length=16, choices=State.choices, default=State.FIRING)
    severity = models.CharField(max_length=16)
    route = models.CharField(max_length=128, blank=True)
    owner = models.CharField(max_length=128, blank=True)
    sentence = models.TextField()
    link = models.CharField(max_length=500, blank=True)
    runbook = models.TextField(blank=True)
    entry = models.CharField(max_length=36)  # the newest that opened it
    repeats = models.PositiveIntegerField(default=0)
    opened_at = models.DateTimeField()
    last_at = models.DateTimeField()
    firing_since = models.DateTimeField(null=True)  # since the last opening: escalation counts from here
    told_at = models.DateTimeField(null=True)  # when the last notice leaves or has left
    told = models.PositiveIntegerField(default=0)  # how often
    escalated = models.PositiveSmallIntegerField(default=0)  # steps of the policy that have been told
    mutes = models.JSONField(default=list)  # the routes whose alerts it tells people of, or every one
    muted_by = models.CharField(max_length=255, blank=True)  # the condition that tells people of this one
    assigned_to = models.CharField(max_length=150, blank=True)
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=200, blank=True)
    silence_row = models.ForeignKey(Silence, null=True, on_delete=models.SET_NULL, related_name="alerts")
    silenced_until = models.DateTimeField(null=True)
    silenced_by = models.CharField(max_length=200, blank=True)
    clearing_since = models.DateTimeField(null=True)  # the first look that no longer found it; the second resolves
    clearing_entry = models.CharField(max_length=36, blank=True)
    resolved_at = models.DateTimeField(null=True)

    objects = AlertQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "condition"],
                condition=~Q(state="resolved"),
                name="one_open_alert_per_condition",
            )
        ]
        indexes = [
            models.Index(fields=["environment", "-opened_at"], name="alert_by_environment"),
            models.Index(fields=["environment", "condition"], name="alert_by_condition"),
            models.Index(fields=["environment", "group"], name="alert_by_group"),
            models.Index(fields=["state"], name="open_alert", condition=~Q(state="resolved")),
        ]

    def __str__(self) -> str:
        return f"{self.state} {self.condition}"

    def occasion(self, what: str) -> str:
        """Names a telling that no journal entry brings: the same until it is told again."""
        return f"{self.id}:{what}:{self.told}"

    @property
    def may_mute(self) -> bool:
        return self.condition.startswith(SOURCES)

    def fits(self, matcher: Matcher) -> bool:
        return matcher.covers(route=self.route, owner=self.owner, severity=self.severity, condition=self.condition)

    def open(self) -> None:
        self.save(force_insert=True)

    def repeat(self, *, entry: str, sentence: str, severity: str, link: str, at: datetime) -> bool:
        """Opened again while it is open. True if it got worse: then it fires again, whoever has it."""
        worse = is_worse(severity, self.severity)
        self.entry, self.sentence, self.severity, self.link, self.last_at = entry, sentence, severity, link, at
        self.repeats += 1
        self.clearing_since, self.clearing_entry = None, ""
        if worse and self.acknowledged_at:
            self.acknowledged_at, self.acknowledged_by = None, ""
            self.firing_since, self.escalated = at, 0
            if self.state == self.State.ACKNOWLEDGED:
                self.state = self.State.FIRING
        self.save()
        return worse

    def reopen(self, *, entry: str, sentence: str, severity: str, link: str, at: datetime) -> None:
        self.entry, self.sentence, self.severity, self.link, self.last_at = entry, sentence, severity, link, at
        self.state, self.resolved_at, self.firing_since, self.escalated = self.State.FIRING, None, at, 0
        self.acknowledged_at, self.acknowledged_by = None, ""
        self.silence_row, self.silenced_until, self.silenced_by = None, None, ""
        self.repeats += 1
        self.save()

    def note_told(self, *, leaves_at: datetime, escalated: int) -> None:
        self.told_at, self.told, self.escalated, self.muted_by = leaves_at, self.told + 1, escalated, ""
        self.save(update_fields=["told_at", "told", "escalated", "muted_by"])

    def mute(self, by: str) -> None:
        """`by` is the condition that tells people of this one; none: it speaks for itself again."""
        self.muted_by = by
        self.save(update_fields=["muted_by"])

    def assign(self, to: str) -> None:
        self.assigned_to = to
        self.save(update_fields=["assigned_to"])

    def acknowledge(self, *, by: str, at: datetime) -> None:
        self.state, self.acknowledged_by, self.acknowledged_at = self.State.ACKNOWLEDGED, by, at
        self.save(update_fields=["state", "acknowledged_by", "acknowledged_at"])

    def silence(self, *, by: str, until: datetime, row: Silence | None = None) -> None:
        self.state, self.silenced_by, self.silenced_until, self.silence_row = self.State.SILENCED, by, until, row
        self.save(update_fields=["state", "silenced_by", "silenced_until", "silence_row"])

    def wake(self, now: datetime) -> None:
        """The silence has ended."""
        self.state = self.State.ACKNOWLEDGED if self.acknowledged_at else self.State.FIRING
        self.silence_row, self.firing_since, self.escalated = None, now, 0
        self.save(update_fields=["state", "silence_row", "firing_since", "escalated"])

    def resolve(self, at: datetime) -> None:
        self.state, self.resolved_at, self.muted_by = self.State.RESOLVED, at, ""
        self.clearing_since, self.clearing_entry = None, ""
        self.save()

    def begin_to_clear(self, *, entry: str, at: datetime) -> None:
        self.clearing_since, self.clearing_entry = at, entry
        self.save(update_fields=["clearing_since", "clearing_entry"])


class SeenEntry(models.Model):
    """A journal entry that became an alert or closed one: each entry does so once."""

    entry = models.CharField(primary_key=True, max_length=36)
    at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.entry
