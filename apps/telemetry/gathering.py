"""Under load, windows, requests and outcomes of many commit groups are written as one.

A group of a hundred routes leaves some hundred rows, fifty groups a second leave ten thousand, and each of them changes
pages of indexes that lie far apart. So a group that comes in a crowd leaves one row with its sums packed, as durable
as the rest of it, and twice a second all that was gathered is added up and laid out in rows of its own. Money does
not wait: the ledger has its lines with each group. What a killed writer left behind is laid out by who looks next.
"""

from datetime import datetime, timedelta

from django.db import IntegrityError, transaction

from apps.telemetry import rows, writing
from apps.telemetry.domain.gathering import Gathering
from apps.telemetry.domain.sums import Sums
from apps.telemetry.memory import WriterMemory
from apps.telemetry.models import GroupSums

ABANDONED = timedelta(seconds=3)  # a living writer has laid them out by then
AT_ONCE = 200  # groups of one transaction


class TakenOver(IntegrityError):
    """Somebody took this writer for dead, and has laid out what it had gathered: it begins anew."""


def keep(sums: Sums, writer: WriterMemory, now: datetime) -> None:
    """Of a group that waits."""
    rows.insert(GroupSums, [(writer.id, writer.seq, now, sums.pack())])


def lay_out(sums: Sums, writer: WriterMemory) -> None:
    """Of a group, together with what waited for it. Raises TakenOver."""
    groups = writer.gathering.groups
    if groups:
        gone, _ = GroupSums.objects.filter(writer=writer.id, seq__in=groups).delete()
        if gone != len(groups):
            writer.gathering = Gathering()
            raise TakenOver
    sums.add(writer.gathering.sums)
    writing.write_sums(sums, writer)


def finish(*, writer: WriterMemory, now: datetime) -> None:
    """When nothing more comes for a while: what was gathered is laid out, of this writer and of those that died."""
    if writer.gathering.groups:
        writer.seq += 1
        with transaction.atomic():
            lay_out(Sums(), writer)
            writing.number(writer, now)
        writer.gathering.has_laid_out(0, now)
    while lay_out_abandoned(now=now):
        pass


@transaction.atomic
def lay_out_abandoned(*, now: datetime) -> bool:
    """Was there anything?"""
    sums = abandoned(now)
    if sums is None:
        return False
    heir = WriterMemory()
    heir.seq += 1
    writing.write_sums(sums, heir)
    writing.number(heir, now)
    return True


def abandoned(now: datetime) -> Sums | None:
    """What writers gathered that are no more, or too slow; None where there is nothing."""
    left = GroupSums.objects.select_for_update(skip_locked=True).filter(at__lt=now - ABANDONED).order_by("id")
    found = list(left[:AT_ONCE])
    if not found:
        return None
    GroupSums.objects.filter(pk__in=[row.pk for row in found]).delete()
    sums = Sums()
    for row in found:
        sums.add(Sums.unpack(row.body))
    return sums
