"""What services tell: who has which snapshot, and how often which variant came."""

from datetime import datetime

from django.db import models

from apps.access.models import Environment


class ClientSeen(models.Model):
    """A service of which we know which snapshot it has: it told us, or it read the whole definition at a door."""

    class Door(models.TextChoices):
        NONE = "", "it reports by itself"
        FLAGD = "flagd", "polls the definition"
        SYNC = "sync", "flagd's gRPC stream"

    environment = models.ForeignKey(
        Environment, to_field="key", db_column="environment", on_delete=models.CASCADE, related_name="clients"
    )
    name = models.CharField(max_length=128)
    sdk = models.CharField(max_length=128, blank=True)  # at a door: what it calls itself
    door = models.CharField(max_length=8, choices=Door, default=Door.NONE, blank=True)
    snapshot = models.PositiveIntegerField(null=True)
    has_since = models.DateTimeField(null=True)  # when it was first seen with that snapshot
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "name", "sdk", "door"], name="one_row_per_client_sdk_and_door"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.sdk})"

    def see(self, snapshot: int | None, at: datetime) -> None:
        if snapshot != self.snapshot:
            self.snapshot, self.has_since = snapshot, at
        self.seen_at = at
        self.save(update_fields=["snapshot", "has_since", "seen_at"])


class Exposure(models.Model):
    """How many evaluations gave this variant in this minute, with a sample of the subjects."""

    environment = models.ForeignKey(
        Environment, to_field="key", db_column="environment", on_delete=models.CASCADE, related_name="exposures"
    )
    flag = models.CharField(max_length=512)
    variant = models.CharField(max_length=128, blank=True)
    snapshot = models.PositiveIntegerField()
    assigned_by = models.CharField(max_length=8, blank=True)
    client = models.CharField(max_length=128, blank=True)  # empty: evaluated by us, or it gave no name
    minute = models.DateTimeField()
    count = models.PositiveBigIntegerField()
    subjects: "models.JSONField[list[str], list[str]]" = models.JSONField(default=list)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "flag", "variant", "snapshot", "assigned_by", "client", "minute"],
                name="one_count_per_flag_variant_client_and_minute",
            )
        ]
        indexes = [
            models.Index(fields=["minute"], name="exposure_by_minute"),
            models.Index(fields=["environment", "flag", "minute"], name="exposure_by_flag"),
        ]

    def __str__(self) -> str:
        return f"{self.count} x {self.flag} {self.variant}"
