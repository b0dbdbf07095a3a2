"""When a budget's period began and when it ends, on the clock of the budget's zone.

A day is 23 or 25 hours long when clocks change, and an hour is always an hour. Nothing is ever set back to zero: a
period is a question to the ledger. A rolling period is the last 24 hours, say, whatever the clock shows; the one of a
month is 30 days. A budget per request has no period: it looks at the requests of the last hour.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, NamedTuple, get_args
from zoneinfo import ZoneInfo

Length = Literal[
    "hour", "day", "week", "month", "rolling_hour", "rolling_day", "rolling_week", "rolling_month", "request"
]
LENGTHS: tuple[Length, ...] = get_args(Length)
REQUEST: Length = "request"
ROLLING: dict[str, timedelta] = {
    "rolling_hour": timedelta(hours=1),
    "rolling_day": timedelta(days=1),
    "rolling_week": timedelta(days=7),
    "rolling_month": timedelta(days=30),
    "request": timedelta(hours=1),
}
WORDS = {
    "rolling_hour": "in the last hour",
    "rolling_day": "in the last 24 hours",
    "rolling_week": "in the last 7 days",
    "rolling_month": "in the last 30 days",
    "request": "for one request",
    "day": "today",
}
A = {"hour": "an hour", "day": "a day", "week": "a week", "month": "a month", "request": "a request"}
MINUTE = timedelta(minutes=1)


def kind_of(length: str) -> str:
    """hour, day, week or month, rolling or not."""
    return length.removeprefix("rolling_")


def is_rolling(length: str) -> bool:
    return length in ROLLING


def words(length: str) -> str:
    return WORDS.get(length, f"this {length}")


class Period(NamedTuple):
    since: datetime
    until: datetime

    @property
    def seconds(self) -> float:
        return (self.until - self.since).total_seconds()

    def gone(self, now: datetime) -> float:
        """The share of the period that is over: the pace that spend is compared with."""
        return min(max((now - self.since).total_seconds() / self.seconds, 0.0), 1.0)


def period_at(length: Length, now: datetime, zone: ZoneInfo) -> Period:
    """The period that `now` lies in, as moments in UTC. Weeks begin on Monday; a rolling one ends now."""
    if is_rolling(length):
        until = now.astimezone(UTC).replace(second=0, microsecond=0) + MINUTE  # the ledger is kept by the minute
        return Period(until - ROLLING[length], until)
    local = now.astimezone(zone)
    today = local.date()
    if length == "hour":
        # Cut in local time, for zones whose hours begin at :30 of UTC; then counted on from there in real time.
        into = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        since = now.astimezone(UTC) - into
        return Period(since, since + timedelta(hours=1))
    if length == "day":
        return Period(_midnight(today, zone), _midnight(today + timedelta(days=1), zone))
    if length == "week":
        monday = today - timedelta(days=today.weekday())
        return Period(_midnight(monday, zone), _midnight(monday + timedelta(days=7), zone))
    first = today.replace(day=1)
    following = (first + timedelta(days=32)).replace(day=1)
    return Period(_midnight(first, zone), _midnight(following, zone))


def whole_days_before(now: datetime, days: int, zone: ZoneInfo) -> datetime:
    """The midnight so many days before today's."""
    return _midnight(now.astimezone(zone).date() - timedelta(days=days), zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """The first moment of a day. Where clocks skip midnight, the moment that follows the gap."""
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)
