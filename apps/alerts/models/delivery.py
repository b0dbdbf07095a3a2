from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self

from django.db import models
from django.db.models import Q

from apps.alerts.models.alert import Alert
from apps.alerts.models.channel import Channel
from apps.core.ids import new_id


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def untaken(self) -> Self:
        """Neither taken nor replaced by a newer state: what waits, and dead letters."""
        return self.filter(done_at=None, replaced_at=None)

    def waiting(self) -> Self:
        return self.untaken().filter(is_dead=False)

    def due(self, now: datetime) -> Self:
        return self.waiting().filter(next_try_at__lte=now)

    def failing(self) -> Self:
        """Tried and not taken, or given up; not what a newer state has replaced."""
        return self.untaken().filter(Q(attempts__gt=0) | Q(is_dead=True))


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
    reached = models.JSONField(default=list)  # of several mail addresses: those that have it already
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

    def fail(self, *, answer: str, next_try_at: datetime | None, reached: Sequence[str] = ()) -> bool:
        """None: it is not tried again."""
        again: dict[str, Any] = {"next_try_at": next_try_at} if next_try_at else {"is_dead": True}
        return self.settle(answer=answer[:300], reached=list(reached), **again)

    def settle(self, **fields: Any) -> bool:
        mine = Delivery.objects.filter(pk=self.pk, attempts=self.attempts, done_at=None)
        return mine.update(attempts=self.attempts + 1, **fields) == 1

    def send_again(self, at: datetime) -> None:
        """The whole message that carried it: its receiver takes each id once."""
        rows = Delivery.objects.untaken()
        letter = rows.filter(channel=self.channel, sent_as=self.sent_as) if self.sent_as else rows.filter(pk=self.pk)
        letter.update(is_dead=False, attempts=0, next_try_at=at)
