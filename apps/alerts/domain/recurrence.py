"""Maintenance that comes back each day or each week, at the same time by the clocks of a place.

Where the clocks are put forward or back it keeps the hour on the wall, and lasts as long as ever.
"""

from datetime import UTC, datetime, timedelta, tzinfo

DAYS = {"daily": 1, "weekly": 7}


def next_time(
    starts_at: datetime, ends_at: datetime, *, days: int, zone: tzinfo, now: datetime
) -> tuple[datetime, datetime]:
    """When it begins and ends the first time that is not over at `now`: the times given, if they are not."""
    wall, lasts, step = starts_at.astimezone(zone).replace(tzinfo=None), ends_at - starts_at, timedelta(days=days)
    times = max((now - ends_at) // step, 0)  # the clocks' change is an hour: it cannot be a whole step too many
    while True:
        begins_at = (wall + times * step).replace(tzinfo=zone).astimezone(UTC)
        if begins_at + lasts > now:
            return begins_at, begins_at + lasts
        times += 1
