from django.db import models


class EscalationPolicy(models.Model):
    """Which channels are told at once and which only after minutes without an acknowledgement."""

    environment = models.CharField(max_length=64, primary_key=True)
    steps = models.JSONField(default=list)  # [{"after_minutes": 15, "channels": [ids]}]
    changed_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{len(self.steps)} steps in {self.environment}"
