"""Time cut into steps."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

ALL = "all"
STEPS = {"10s": 10, "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "1d": 86_400}  # seconds


def floor(at: datetime, seconds: int) -> datetime:
    return datetime.fromtimestamp(at.timestamp() // seconds * seconds, UTC)


@dataclass(frozen=True, slots=True)
class Steps:
    """Time in steps of whole seconds since 1970, or as one piece."""

    since: datetime
    until: datetime
    seconds: int | None

    @classmethod
    def of(cls, since: datetime, until: datetime, step: str | int) -> "Steps":
        """`step`: `10s`, `1m`, `5m`, `15m`, `1h`, `1d`, seconds, or `all`."""
        if step == ALL:
            return cls(since, until, None)
        return cls(since, until, step if isinstance(step, int) else STEPS[step])

    def begin(self, at: datetime) -> datetime:
        if self.seconds is None:
            return self.since
        return floor(at, self.seconds)

    def end(self, begin: datetime) -> datetime:
        return self.until if self.seconds is None else begin + timedelta(seconds=self.seconds)
