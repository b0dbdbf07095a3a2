from django.db import models


class RefusedClient(models.Model):
    """Somebody who asks for flags and gets none, since the key is missing, unknown, over, or may not."""

    class Why(models.TextChoices):
        NO_KEY = "no key"
        UNKNOWN_KEY = "unknown key"
        REVOKED = "revoked"
        EXPIRED = "expired"
        WRONG_SCOPE = "wrong scope"

    environment = models.CharField(max_length=64, blank=True)  # empty: no key of ours told which
    door = models.CharField(max_length=16)
    why = models.CharField(max_length=16, choices=Why)
    key = models.CharField(max_length=128, blank=True)  # its name; of an unknown one how it begins
    address = models.CharField(max_length=128, blank=True)
    agent = models.CharField(max_length=128, blank=True)
    count = models.PositiveBigIntegerField(default=0)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "door", "why", "key", "address", "agent"], name="one_row_per_refused_client"
            )
        ]
        indexes = [models.Index(fields=["last_at"], name="refused_by_moment")]

    def __str__(self) -> str:
        return f"{self.agent or self.address} at {self.door}: {self.why}"
