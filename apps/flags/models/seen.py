"""What services tell: who has which snapshot, and how often which variant came."""

from django.db import models

from apps.access.models import Environment


class ClientSeen(models.Model):
    """A service that told us which snapshot it has."""

    environment = models.ForeignKey(
        Environment, to_field="key", db_column="environment", on_delete=models.CASCADE, related_name="clients"
    )
    name = models.CharField(max_length=128)
    sdk = models.CharField(max_length=128, blank=True)
    snapshot = models.PositiveIntegerField(null=True)
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["environment", "name", "sdk"], name="one_row_per_client_and_sdk")
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.sdk})"


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
