"""One worker at a time looks after a shard of routes. The lease stands in the row; its token fences off latecomers.

A worker that slept through its lease may wake up in the middle of its work: each transaction in which it saves begins
with `holds`, which touches the row only if the token is still its own.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import F, Q

from apps.rollouts.models import Shard
from apps.telemetry.domain.shards import SHARDS

LASTS = timedelta(seconds=15)
AT_A_TIME = 4  # so that several workers share the shards of one tick


@dataclass(frozen=True, slots=True)
class Lease:
    shard: int
    token: int

    def holds(self, now: datetime) -> bool:
        """Inside a transaction: whether this claim is still the last one. Locks the row until the end."""
        return Shard.objects.filter(number=self.shard, token=self.token).update(lease_ends_at=now + LASTS) == 1

    def end(self, *, ticked_at: datetime | None, due_at: datetime) -> bool:
        """`ticked_at` None: it was not looked at, whatever the reason."""
        mine = Shard.objects.filter(number=self.shard, token=self.token)
        looked = {} if ticked_at is None else {"last_tick_at": ticked_at}
        return mine.update(lease_ends_at=None, due_at=due_at, **looked) == 1


def ensure_shards() -> None:
    if Shard.objects.count() < SHARDS:
        Shard.objects.bulk_create([Shard(number=number) for number in range(SHARDS)], ignore_conflicts=True)


@transaction.atomic
def claim(worker: str, now: datetime, *, most: int = AT_A_TIME) -> list[Lease]:
    """Leases on shards that are due and that nobody looks after."""
    free = Shard.objects.filter(Q(lease_ends_at=None) | Q(lease_ends_at__lt=now), Q(due_at=None) | Q(due_at__lte=now))
    free = free.order_by("number")
    if connection.features.has_select_for_update_skip_locked:  # on SQLite BEGIN IMMEDIATE is the lock
        free = free.select_for_update(skip_locked=True)
    leases = []
    for shard in free[:most]:
        same = Shard.objects.filter(number=shard.number, token=shard.token)
        if same.update(token=F("token") + 1, claimed_by=worker, lease_ends_at=now + LASTS) == 1:
            leases.append(Lease(shard.number, shard.token + 1))
    return leases
