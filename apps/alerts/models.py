from datetime import datetime, timedelta
from typing import Any, Self

from django.db import models
from django.db.models import Q

from apps.core.claims import Leased
from apps.core.ids import new_id


class Channel(models.Model):
    """Where notices of an environment go."""

    class Kind(models.TextChoices):
        WEBHOOK = "webhook", "Signed webhook"
        EMAIL = "email", "E-mail"

    id = models.CharField(primary_key=True, max_length=36, default=new_id, editable=False)
    environment = models.CharField(max_length=64)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    name = models.CharField(max_length=128)
    config = models.JSONField(default=dict)  # webhook: url, secret; email: to (a list)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["environment", "name"], name="one_channel_per_name_and_environment")
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.kind})"

    def change(self, *, config: dict[str, Any], is_active: bool) -> None:
        self.config, self.is_active = config, is_active
        self.save(update_fields=["config", "is_active"])


class AlertQuerySet(models.QuerySet["Alert"]):
    def open(self) -> Self:
        return self.exclude(state=Alert.State.RESOLVED)

    def of_environment(self, environment: str) -> Self:
        return self.filter(environment=environment)

    def newest_first(self) -> Self:
        return self.order_by("-opened_at", "-id")


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
    state = models.CharField(max_length=16, choices=State.choices, default=State.FIRING)
    severity = models.CharField(max_length=16)
    route = models.CharField(max_length=128, blank=True)
    owner = models.CharField(max_length=128, blank=True)
    sentence = models.TextField()
    link = models.CharField(max_length=500, blank=True)
    runbook = models.TextField(blank=True)
    entry = models.CharField(max_length=36)
    repeats = models.PositiveIntegerField(default=0)
    opened_at = models.DateTimeField()
    last_at = models.DateTimeField()
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=200, blank=True)
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
        indexes = [models.Index(fields=["environment", "-opened_at"], name="alert_by_environment")]

    def __str__(self) -> str:
        return f"{self.state} {self.condition}"

    def repeat(self, *, sentence: str, severity: str, link: str, at: datetime) -> None:
        self.sentence, self.severity, self.link, self.last_at = sentence, severity, link, at
        self.repeats += 1
        self.save(update_fields=["sentence", "severity", "link", "last_at", "repeats"])

    def acknowledge(self, *, by: str, at: datetime) -> None:
        self.state, self.acknowledged_by, self.acknowledged_at = self.State.ACKNOWLEDGED, by, at
        self.save(update_fields=["state", "acknowledged_by", "acknowledged_at"])

    def silence(self, *, by: str, until: datetime) -> None:
        self.state, self.silenced_by, self.silenced_until = self.State.SILENCED, by, until
        self.save(update_fields=["state", "silenced_by", "silenced_until"])

    def wake(self) -> None:
        """The silence has ended."""
        self.state = self.State.ACKNOWLEDGED if self.acknowledged_at else self.State.FIRING
        self.save(update_fields=["state"])

    def resolve(self, at: datetime) -> None:
        self.state, self.resolved_at = self.State.RESOLVED, at
        self.save(update_fields=["state", "resolved_at"])


class SeenEntry(models.Model):
    """A journal entry that became an alert or closed one: each entry does so once."""

    entry = models.CharField(primary_key=True, max_length=36)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return self.entry


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def due(self, now: datetime) -> Self:
        return self.filter(done_at=None, is_dead=False, next_try_at__lte=now)

    def failing(self) -> Self:
        return self.filter(done_at=None, attempts__gt=0)


class Delivery(Leased):
    """One notice on its way to one channel: tried until it is taken or dead."""

    id = models.CharField(primary_key=True, max_length=36, default=new_id, editable=False)
    alert = models.ForeignKey(Alert, null=True, on_delete=models.CASCADE, related_name="deliveries")
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="deliveries")
    event = models.CharField(max_length=16)  # firing, resolved, test
    entry = models.CharField(max_length=36)
    notice = models.JSONField()
    attempts = models.PositiveSmallIntegerField(default=0)
    next_try_at = models.DateTimeField()
    answer = models.CharField(max_length=300, blank=True)
    done_at = models.DateTimeField(null=True)
    is_dead = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(fields=["entry", "channel", "event"], name="one_notice_per_entry_and_channel")
        ]
        indexes = [
            models.Index(fields=["next_try_at"], name="delivery_due", condition=Q(done_at=None, is_dead=False)),
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.channel_id}"

    def finish(self, *, answer: str, at: datetime) -> bool:
        """False if another worker holds the lease by now."""
        return self.settle(done_at=at, answer=answer[:300])

    def fail(self, *, answer: str, next_try_at: datetime | None) -> bool:
        """None: it is not tried again."""
        again = {"next_try_at": next_try_at} if next_try_at else {"is_dead": True}
        return self.settle(answer=answer[:300], **again)

    def settle(self, **fields: Any) -> bool:
        mine = Delivery.objects.filter(pk=self.pk, claimed_by=self.claimed_by, done_at=None)
        return mine.update(attempts=self.attempts + 1, claimed_by="", lease_ends_at=None, **fields) == 1

    def send_again(self, at: datetime) -> None:
        self.is_dead, self.attempts, self.next_try_at = False, 0, at
        self.save(update_fields=["is_dead", "attempts", "next_try_at"])


SEEN_FOR = timedelta(days=7)
