from datetime import datetime
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import F, Q

from apps.alerts.domain.matching import Matcher
from apps.core.ids import new_id

if TYPE_CHECKING:
    from apps.alerts.models.alert import Alert


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
