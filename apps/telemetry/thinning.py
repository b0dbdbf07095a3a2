"""Windows of ten seconds become minutes, minutes become hours, and hours go: each after a while of its own.

By then judges have read them, and no late call can come to them any more. The ledger is by the minute and stays.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings

from apps.telemetry.models import Compacted, Freshness
from apps.telemetry.queries.steps import DAY, HOUR, floor
from apps.telemetry.retention import SUMS_BY_WINDOW, Compaction, draw_together

MINUTE = 60  # seconds
NOT_YET = timedelta(hours=49)  # so late a call may come


@dataclass(frozen=True, slots=True)
class Thinning:
    """What is older than `age`, and than `NOT_YET`, becomes one row for so many seconds; None: it goes. Piece by piece,
    the oldest first."""

    name: str  # under which is kept how far it came
    age: timedelta
    to: int | None
    piece: int  # seconds


def thinnings() -> list[Thinning]:
    return [
        Thinning("by the minute", timedelta(hours=settings.WINDOWS_FINE_HOURS), MINUTE, HOUR),
        Thinning("by the hour", timedelta(days=settings.WINDOWS_MINUTES_DAYS), HOUR, DAY),
        Thinning("gone", timedelta(days=settings.WINDOWS_HOURS_DAYS), None, DAY),
    ]


def thin_out(now: datetime) -> None:
    """May run twice, or be broken off at any place. At most a day of each table in one run."""
    for compaction in SUMS_BY_WINDOW:
        for thinning in thinnings():
            thin(compaction, thinning, now)


def thin(compaction: Compaction, thinning: Thinning, now: datetime) -> None:
    progress, _ = Compacted.objects.get_or_create(
        name=f"{compaction.model.__name__} {thinning.name}", defaults={"last_id": 0}
    )
    rows = compaction.model._default_manager
    if not progress.last_id:
        oldest = rows.order_by("starts_at").values_list("starts_at", flat=True).first()
        if oldest is None:
            return
        nothing_comes_before = min(oldest, now - NOT_YET)
        progress.move_to(int(floor(nothing_comes_before, thinning.piece).timestamp()))
    for _ in range(DAY // thinning.piece):
        begin = datetime.fromtimestamp(progress.last_id, UTC)
        end = begin + timedelta(seconds=thinning.piece)
        if end > now - max(thinning.age, NOT_YET):
            return
        ready = compaction.ready()
        for environment, route in Freshness.objects.order_by("environment", "route").values_list(
            "environment", "route"
        ):
            if thinning.to is not None:
                draw_together(compaction, ready, environment, route, begin, span=thinning.piece, to=thinning.to)
            else:
                of_piece = rows.filter(ready, environment=environment, route=route)
                of_piece.filter(starts_at__gte=begin, starts_at__lt=end).delete()
        progress.move_to(int(end.timestamp()))
