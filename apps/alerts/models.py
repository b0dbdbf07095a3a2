from datetime import datetime, timedelta
from typing import Any, Self

from django.db import models
from django.db.models import F, Q

from apps.alerts.domain import rate
from apps.alerts.domain.life import REOPEN_WITHIN, is_worse
from apps.alerts.domain.matching import Matcher
from apps.core.claims import Leased
from apps.core.ids import new_id

SEEN_FOR = timedelta(days=7)
KEPT_FOR = timedelta(days=90)  # what is over


class ChannelQuerySet(models.QuerySet["Channel"]):
    def active(self, environment: str) -> Self:
        return self.filter(environment=environment, is_active=True).order_by("created_at", "id")


class Channel(Leased):
    """Where notices of an environment go. One worker at a time writes to it: that keeps order and rate."""

    class Kind(models.TextChoices):
        WEBHOOK = "webhook", "Signed webhook"
        EMAIL = "email", "E-mail"
        SLACK = "slack", "Slack"
        PAGERDUTY = "pagerduty", "PagerDuty"
        TEAMS = "teams", "Microsoft Teams"
        APPRISE = "apprise", "Apprise"

    id = models.CharField(primary_key=True, max_length=36, default=new_id, editable=False)
    environment = models.CharField(max_length=64)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    name = models.CharField(max_length=128)
    config = models.JSONField(default=dict)  # addresses and secrets; what is in it depends on the kind
    least_severity = models.CharField(max_length=16, default="info")
    is_active = models.BooleanField(default=True)
    off_because = models.CharField(max_length=300, blank=True)
    failures_in_row = models.PositiveIntegerField(default=0)
    broken_at = models.DateTimeField(null=True)
    last_answer = models.CharField(max_length=300, blank=True)
    last_taken_at = models.DateTimeField(null=True)
    quiet_until = models.DateTimeField(null=True)
    tokens = models.FloatField(default=rate.BURST)
    tokens_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    objects = ChannelQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["environment", "name"], name="one_channel_per_name_and_environment")
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.kind})"

    @property
    def state(self) -> str:
        if not self.is_active:
            return "off"
        return "broken" if self.broken_at else "working"

    @property
    def target(self) -> str:
        """Where it goes, as far as that is no secret: mail addresses, else the host."""
        if self.kind == self.Kind.EMAIL:
            return ", ".join(self.config.get("to", []))
        if self.kind == self.Kind.APPRISE:
            return ", ".join(str(url).partition(":")[0] for url in self.config.get("urls", []))
        return str(self.config.get("url", "")).partition("://")[2].partition("/")[0]

    def change(self, **fields: Any) -> None:
        for name, value in fields.items():
            setattr(self, name, value)
        if fields.get("is_active"):
            self.off_because = ""
        self.save(update_fields=[*fields, "off_because"])

    def note_taken(self, *, answer: str, at: datetime) -> bool:
        """True if it was broken until now."""
        was_broken = self.broken_at is not None
        self.failures_in_row, self.broken_at, self.last_answer, self.last_taken_at = 0, None, answer[:300], at
        self.save(update_fields=["failures_in_row", "broken_at", "last_answer", "last_taken_at"])
        return was_broken

    def note_failed(self, *, answer: str, broken_after: int, at: datetime) -> bool:
        """True if this is the failure that makes it broken."""
        self.failures_in_row, self.last_answer = self.failures_in_row + 1, answer[:300]
        breaks = self.broken_at is None and self.failures_in_row >= broken_after
        if breaks:
            self.broken_at = at
        self.save(update_fields=["failures_in_row", "last_answer", "broken_at"])
        return breaks

    def switch_off(self, because: str) -> None:
        self.is_active, self.off_because = False, because[:300]
        self.save(update_fields=["is_active", "off_because"])

    def give_back(self, *, tokens: float, at: datetime, quiet_until: datetime | None) -> None:
        """Ends the lease, if it is still this worker's, and keeps what is left of the rate."""
        mine = Channel.objects.filter(pk=self.pk, claimed_by=self.claimed_by)
        mine.update(claimed_by="", lease_ends_at=None, tokens=tokens, tokens_at=at, quiet_until=quiet_until)


class Silence(models.Model):
    """Nobody is told of what it covers until it ends, which it always does. A maintenance window is planned ahead."""

    id = models.CharField(primary_key=True, max_length=36, default=new_id, editable=False)
    environment = models.CharField(max_length=64)
    is_maintenance = models.BooleanField(default=False)
    route = models.CharField(max_length=128, blank=True)
    owner = models.CharField(max_length=128, blank=True)
    severity = models.CharField(max_length=16, blank=True)
    condition = models.CharField(max_length=255, blank=True)  # its beginning
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    because = models.CharField(max_length=500, blank=True)
    by = models.CharField(max_length=200)
    created_at = models.DateTimeField()
    ended_by = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gte=F("starts_at")), name="a_silence_ends_after_it_starts")
        ]
        indexes = [models.Index(fields=["ends_at"], name="silence_by_end")]

    def __str__(self) -> str:
        return f"{self.matcher.words} until {self.ends_at:%Y-%m-%d %H:%M}"

    @property
    def matcher(self) -> Matcher:
        return Matcher(route=self.route, owner=self.owner, severity=self.severity, condition=self.condition)

    def covers(self, alert: "Alert") -> bool:
        return alert.environment == self.environment and self.matcher.covers(
            route=alert.route, owner=alert.owner, severity=alert.severity, condition=alert.condition
        )

    def end(self, *, by: str, at: datetime) -> None:
        self.ends_at, self.ended_by = max(at, self.starts_at), by
        self.save(update_fields=["ends_at", "ended_by"])


class EscalationPolicy(models.Model):
    """Which channels are told at once and which only after minutes without an acknowledgement."""

    environment = models.CharField(max_length=64, primary_key=True)
    steps = models.JSONField(default=list)  # [{"after_minutes": 15, "channels": [ids]}]
    changed_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{len(self.steps)} steps in {self.environment}"


class AlertQuerySet(models.QuerySet["Alert"]):
    def open(self) -> Self:
        return self.exclude(state=Alert.State.RESOLVED)

    def firing(self) -> Self:
        return self.filter(state=Alert.State.FIRING)

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
    spoken_for_by = models.CharField(max_length=255, blank=True)  # the condition that tells people of this one
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=200, blank=True)
    silence_row = models.ForeignKey(Silence, null=True, on_delete=models.SET_NULL, related_name="alerts")
    silenced_until = models.DateTimeField(null=True)
    silenced_by = models.CharField(max_length=200, blank=True)
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

    def open(self) -> None:
        self.save(force_insert=True)

    def repeat(self, *, entry: str, sentence: str, severity: str, link: str, at: datetime) -> bool:
        """Opened again while it is open. True if it got worse: then it fires again, whoever has it."""
        worse = is_worse(severity, self.severity)
        self.entry, self.sentence, self.severity, self.link, self.last_at = entry, sentence, severity, link, at
        self.repeats += 1
        if worse and self.state == self.State.ACKNOWLEDGED:
            self.state, self.acknowledged_at, self.acknowledged_by = self.State.FIRING, None, ""
            self.firing_since, self.escalated = at, 0
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
        self.told_at, self.told, self.escalated, self.spoken_for_by = leaves_at, self.told + 1, escalated, ""
        self.save(update_fields=["told_at", "told", "escalated", "spoken_for_by"])

    def leave_to(self, condition: str) -> None:
        self.spoken_for_by = condition
        self.save(update_fields=["spoken_for_by"])

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
        self.state, self.resolved_at, self.spoken_for_by = self.State.RESOLVED, at, ""
        self.save(update_fields=["state", "resolved_at", "spoken_for_by"])


class SeenEntry(models.Model):
    """A journal entry that became an alert or closed one: each entry does so once."""

    entry = models.CharField(primary_key=True, max_length=36)
    at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.entry


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def waiting(self) -> Self:
        return self.filter(done_at=None, is_dead=False, replaced_at=None)

    def due(self, now: datetime) -> Self:
        return self.waiting().filter(next_try_at__lte=now)

    def failing(self) -> Self:
        """Tried and not taken, or given up; not what a newer state has replaced."""
        return self.filter(done_at=None, replaced_at=None).filter(Q(attempts__gt=0) | Q(is_dead=True))


class Delivery(models.Model):
    """One notice on its way to one channel: tried until it is taken, replaced by a newer state, or dead."""

    id = models.CharField(primary_key=True, max_length=36, default=new_id, editable=False)
    alert = models.ForeignKey(Alert, null=True, on_delete=models.CASCADE, related_name="deliveries")
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="deliveries")
    event = models.CharField(max_length=16)  # firing, acknowledged, resolved
    occasion = models.CharField(max_length=80)  # the journal entry, or the repeat or step, that it tells of
    notice = models.JSONField()
    dedup_key = models.CharField(max_length=255, blank=True)  # under which the receiver keeps it
    sent_as = models.CharField(max_length=36, blank=True)  # the id of the message that carried it last
    attempts = models.PositiveSmallIntegerField(default=0)
    next_try_at = models.DateTimeField()
    answer = models.CharField(max_length=300, blank=True)
    done_at = models.DateTimeField(null=True)
    replaced_at = models.DateTimeField(null=True)
    is_dead = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(fields=["occasion", "channel", "event"], name="one_notice_per_occasion_and_channel")
        ]
        indexes = [
            models.Index(
                fields=["next_try_at"],
                name="delivery_waiting",
                condition=Q(done_at=None, is_dead=False, replaced_at=None),
            ),
            models.Index(fields=["channel", "-created_at"], name="delivery_by_channel"),
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.channel_id}"

    @property
    def state(self) -> str:
        if self.done_at:
            return "taken"
        if self.replaced_at:
            return "replaced"
        return "dead" if self.is_dead else "failing" if self.attempts else "waiting"

    def finish(self, *, answer: str, at: datetime) -> bool:
        """False if another worker has settled this attempt by now."""
        return self.settle(done_at=at, answer=answer[:300])

    def fail(self, *, answer: str, next_try_at: datetime | None) -> bool:
        """None: it is not tried again."""
        again: dict[str, Any] = {"next_try_at": next_try_at} if next_try_at else {"is_dead": True}
        return self.settle(answer=answer[:300], **again)

    def settle(self, **fields: Any) -> bool:
        mine = Delivery.objects.filter(pk=self.pk, attempts=self.attempts, done_at=None)
        return mine.update(attempts=self.attempts + 1, **fields) == 1

    def send_again(self, at: datetime) -> None:
        self.is_dead, self.attempts, self.next_try_at, self.replaced_at = False, 0, at, None
        self.save(update_fields=["is_dead", "attempts", "next_try_at", "replaced_at"])


class Watch(models.Model):
    """What all processes share: who reads the journal holds the row `reader`; who calls the outside watchman claims
    `dead_man`, once a minute."""

    name = models.CharField(primary_key=True, max_length=32)
    called_at = models.DateTimeField(null=True)
    is_well = models.BooleanField(default=True)
    answer = models.CharField(max_length=300, blank=True)

    def __str__(self) -> str:
        return self.name

    def claim(self, *, before: datetime | None, is_well: bool, now: datetime) -> bool:
        """True for the one process that found it as it is in this object."""
        mine = Watch.objects.filter(pk=self.pk, called_at=before, is_well=self.is_well)
        return mine.update(called_at=now, is_well=is_well) == 1

    def note(self, answer: str) -> None:
        Watch.objects.filter(pk=self.pk).update(answer=answer[:300])
