"""Time cut into steps."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo

ALL = "all"
HOUR, DAY = 3600, 86_400  # seconds
STEPS = {"10s": 10, "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "1d": 86_400}  # seconds


def floor(at: datetime, seconds: int) -> datetime:
    return datetime.fromtimestamp(at.timestamp() // seconds * seconds, UTC)


@dataclass(frozen=True, slots=True)
class Steps:
    """Time in steps of whole seconds since 1970, or as one piece; days are those of the zone, of 23 to 25 hours."""

    since: datetime
    until: datetime
    seconds: int | None
    zone: tzinfo = UTC

    @classmethod
    def of(cls, since: datetime, until: datetime, step: str | int, zone: tzinfo = UTC) -> "Steps":
        """`step`: `10s`, `1m`, `5m`, `15m`, `1h`, `1d`, seconds, or `all`."""
        if step == ALL:
            return cls(since, until, None, zone)
        return cls(since, until, step if isinstance(step, int) else STEPS[step], zone)

    @property
    def has_zone(self) -> bool:
        return self.seconds == DAY and self.zone is not UTC

    @property
    def grain(self) -> int | None:
        """The longest time, in seconds, at whose ends all steps may begin."""
        if not self.has_zone:
            return self.seconds
        offsets = [at.astimezone(self.zone).utcoffset() or timedelta(0) for at in (self.since, self.until)]
        return 60 if any(offset.seconds % HOUR for offset in offsets) else HOUR

    def begin(self, at: datetime) -> datetime:
        if self.seconds is None:
            return self.since
        return self.midnight(at) if self.has_zone else floor(at, self.seconds)

    def end(self, begin: datetime) -> datetime:
        if self.seconds is None:
            return self.until
        return self.midnight(begin, days=1) if self.has_zone else begin + timedelta(seconds=self.seconds)

    def midnight(self, at: datetime, days: int = 0) -> datetime:
        day = at.astimezone(self.zone).date() + timedelta(days=days)
        return datetime.combine(day, time(), self.zone).astimezone(UTC)
