from datetime import datetime
from typing import Any, Self

from django.db import models
from django.db.models.functions import Cast

from apps.alerts.domain import rate
from apps.core.claims import Leased
from apps.core.ids import new_id
from apps.core.sealing import SealedJson, is_of_newest_key


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
    config = SealedJson()  # addresses and secrets; what is in it depends on the kind
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

    def is_sealed_under_an_older_key(self) -> bool:
        as_it_stands = Cast("config", models.TextField())
        token = Channel.objects.filter(pk=self.pk).annotate(token=as_it_stands).values_list("token", flat=True).get()
        return not is_of_newest_key(token)

    def change(self, **fields: Any) -> None:
        for name, value in fields.items():
            setattr(self, name, value)
        if fields.get("is_active"):
            self.off_because = ""
        self.save(update_fields=[*fields, "off_because"])

    def keep(self, **fields: Any) -> bool:
        """False if it was deleted while a message was under way."""
        for name, value in fields.items():
            setattr(self, name, value)
        return Channel.objects.filter(pk=self.pk).update(**fields) == 1

    def note_taken(self, *, answer: str, at: datetime) -> bool:
        """True if it was broken until now."""
        was_broken = self.broken_at is not None
        is_there = self.keep(failures_in_row=0, broken_at=None, last_answer=answer[:300], last_taken_at=at)
        return was_broken and is_there

    def note_failed(self, *, answer: str, broken_after: int, at: datetime) -> bool:
        """True if this is the failure that makes it broken."""
        failures = self.failures_in_row + 1
        breaks = self.broken_at is None and failures >= broken_after
        broken_at = at if breaks else self.broken_at
        is_there = self.keep(failures_in_row=failures, last_answer=answer[:300], broken_at=broken_at)
        return breaks and is_there

    def switch_off(self, because: str) -> bool:
        return self.keep(is_active=False, off_because=because[:300])

    def give_back(self, *, tokens: float, at: datetime, quiet_until: datetime | None) -> None:
        """Ends the lease, if it is still this worker's, and keeps what is left of the rate."""
        mine = Channel.objects.filter(pk=self.pk, claimed_by=self.claimed_by)
        mine.update(claimed_by="", lease_ends_at=None, tokens=tokens, tokens_at=at, quiet_until=quiet_until)
