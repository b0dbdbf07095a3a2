"""Claim one row of work with a lease, so that two workers never run the same step at once.

The lease stands in the row, not in a transaction: a step that calls out must not keep a lock. Whoever finishes must
still hold this very lease, so a worker that overslept cannot overwrite its successor.
"""

from datetime import datetime, timedelta
from typing import TypeVar

from django.db import connection, models, transaction
from django.db.models import Q

LEASE = timedelta(seconds=30)


class Leased(models.Model):
    """A row that a worker may claim: `claimed_by` is unique to one claim."""

    claimed_by = models.CharField(max_length=64, default="", blank=True, editable=False)
    lease_ends_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        abstract = True


Row = TypeVar("Row", bound=Leased)


def claim_next(free: "models.QuerySet[Row]", *, claim: str, now: datetime, lease: timedelta = LEASE) -> Row | None:
    """The first unleased row of `free`, now leased to `claim`; None if there is none or another was faster."""
    free = free.filter(Q(lease_ends_at=None) | Q(lease_ends_at__lt=now)).order_by("pk")
    with transaction.atomic():
        if connection.features.has_select_for_update_skip_locked:  # on SQLite BEGIN IMMEDIATE is the lock
            free = free.select_for_update(skip_locked=True)
        row = free.first()
        if row is None:
            return None
        same = type(row)._default_manager.filter(pk=row.pk, claimed_by=row.claimed_by, lease_ends_at=row.lease_ends_at)
        if same.update(claimed_by=claim, lease_ends_at=now + lease) != 1:
            return None
        row.claimed_by, row.lease_ends_at = claim, now + lease
        return row
