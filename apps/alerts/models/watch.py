from datetime import datetime

from django.db import models


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
