"""Calendar months for pages that look back: which there are, which one is asked for, when it ended."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

MOST = 12


@dataclass(frozen=True, slots=True, order=True)
class Month:
    year: int
    month: int

    @property
    def key(self) -> str:
        return f"{self.year}-{self.month:02}"

    @property
    def words(self) -> str:
        return f"{date(self.year, self.month, 1):%B %Y}"

    @property
    def before(self) -> "Month":
        return Month(self.year, self.month - 1) if self.month > 1 else Month(self.year - 1, 12)

    def ended_at(self, zone: ZoneInfo) -> datetime:
        """The first moment that is not in it."""
        following = (date(self.year, self.month, 1) + timedelta(days=32)).replace(day=1)
        return datetime.combine(following, time.min, tzinfo=zone).astimezone(UTC)


def month_of(at: datetime) -> Month:
    return Month(at.year, at.month)


def to_choose(first: datetime | None, now: datetime) -> list[Month]:
    """The newest first: from the month of `first` on, a year at most."""
    found = [month_of(now)]
    while first is not None and len(found) < MOST and found[-1] > month_of(first):
        found.append(found[-1].before)
    return found


def chosen(key: str, months: list[Month]) -> Month:
    """The one that is asked for; the present one where it is none of them."""
    return next((month for month in months if month.key == key), months[0])
