from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from django.db import models
from django.db.models import F, Q

from apps.alerts.domain import recurrence
from apps.alerts.domain.matching import LONGEST, Matcher
from apps.core.ids import new_id

if TYPE_CHECKING:
    from apps.alerts.models.alert import Alert


class Silence(models.Model):
    """Nobody is told of what it covers until it ends, which it always does. A maintenance window is planned ahead."""

    class Repeats(models.TextChoices):
        NEVER = "", "once"
        DAILY = "daily", "every day"
        WEEKLY = "weekly", "every week"

    id = models.CharField(primary_key=True, max_length=36, default=new_id, editable=False)
    environment = models.CharField(max_length=64)
    is_maintenance = models.BooleanField(default=False)
    route = models.CharField(max_length=LONGEST["route"], blank=True)
    owner = models.CharField(max_length=LONGEST["owner"], blank=True)
    severity = models.CharField(max_length=16, blank=True)
    condition = models.CharField(max_length=LONGEST["condition"], blank=True)  # its beginning
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    because = models.CharField(max_length=500, blank=True)
    by = models.CharField(max_length=200)
    created_at = models.DateTimeField()
    ended_by = models.CharField(max_length=200, blank=True)
    # Of maintenance that comes back, starts_at and ends_at are those of the next time, or of this one.
    repeats = models.CharField(max_length=8, blank=True, choices=Repeats.choices, default=Repeats.NEVER)
    time_zone = models.CharField(max_length=64, default="UTC")  # by whose clocks it comes back

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
        return alert.environment == self.environment and alert.fits(self.matcher)

    def end(self, *, by: str, at: datetime) -> None:
        """For good: what would have come back or was still to come does not."""
        self.starts_at, self.ends_at = min(self.starts_at, at), at
        self.ended_by, self.repeats = by, self.Repeats.NEVER
        self.save(update_fields=["starts_at", "ends_at", "ended_by", "repeats"])

    def come_back(self, now: datetime) -> None:
        self.starts_at, self.ends_at = recurrence.next_time(
            self.starts_at, self.ends_at, days=recurrence.DAYS[self.repeats], zone=ZoneInfo(self.time_zone), now=now
        )
        self.save(update_fields=["starts_at", "ends_at"])
