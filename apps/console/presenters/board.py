"""The board: one row a route, worst first, in the words and figures that the page shows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from django.utils.safestring import SafeString

from apps.console import glyphs
from apps.console.acts import Act

NEEDS_YOU = {"Unprotected", "No data", "On fallback", "Rolled back", "Holding", "Needs approval"}
MOVING = {"Ramping", "Holding", "Needs approval", "Paused"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A value and, beneath it, its limit."""

    value: str = ""
    second: str = ""
    is_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    key: str
    href: str
    state: str
    state_second: str = ""
    share: float = 0.0  # of the pie, 0 to 1
    baseline: str = ""
    candidate: str = ""
    traffic: str = ""
    traffic_second: str = ""
    spark: SafeString = field(default_factory=SafeString)
    p95: Figure = field(default_factory=Figure)
    errors: Figure = field(default_factory=Figure)
    cost: Figure = field(default_factory=Figure)
    bar: SafeString = field(default_factory=SafeString)
    budget_used: str = ""
    budget_second: str = ""
    sentence: SafeString = field(default_factory=SafeString)  # only where somebody is needed now
    acts: tuple[Act, ...] = ()
    decision_href: str = ""
    is_stale: bool = False

    @property
    def rank(self) -> int:
        return list(glyphs.STATES).index(self.state)

    @property
    def needs_you(self) -> bool:
        return self.state in NEEDS_YOU

    @property
    def tone(self) -> str:
        return glyphs.STATES[self.state].tone

    @property
    def fold(self) -> bool:
        """Phones fold what is steady."""
        return self.state == "Steady"


@dataclass(frozen=True, slots=True)
class Tab:
    key: str
    title: str
    count: int
    href: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class Line:
    """One line of what was decided or comes next."""

    when: str
    glyph: str
    tone: str
    words: SafeString
    share: float | None = None
    at: datetime | None = None
    folded: str = ""
    href: str = ""
    link: str = ""


FILTERS: dict[str, Callable[[Row], bool]] = {
    "all": lambda row: True,
    "needs": lambda row: row.needs_you,
    "moving": lambda row: row.state in MOVING,
    "steady": lambda row: row.state == "Steady",
}
TITLES = {"all": "All", "needs": "Needs you", "moving": "Moving", "steady": "Steady"}


def tabs(rows: list[Row], chosen: str) -> list[Tab]:
    return [
        Tab(
            key,
            TITLES[key],
            sum(1 for row in rows if shows(row)),
            "?" if key == "all" else f"?show={key}",
            key == chosen,
        )
        for key, shows in FILTERS.items()
    ]


def worst_first(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row.rank, not row.sentence, row.key))


def summary(rows: list[Row]) -> str:
    """`1 route rolled back, 2 holding, 1 waits for approval. 2 ramping and 3 steady need nothing.`"""
    counts = {state: sum(1 for row in rows if row.state == state) for state in glyphs.STATES}
    words = {
        "Unprotected": "unprotected",
        "No data": "without data",
        "On fallback": "on fallback",
        "Rolled back": "rolled back",
        "Holding": "holding",
        "Needs approval": "waiting for approval",
        "Paused": "paused",
    }
    loud = [f"{counts[state]} {word}" for state, word in words.items() if counts[state]]
    quiet = [f"{counts[state]} {state.lower()}" for state in ("Ramping", "Steady") if counts[state]]
    if loud:
        first = loud[0].split(" ", 1)
        loud[0] = f"{first[0]} {'route' if first[0] == '1' else 'routes'} {first[1]}"
    said = f"{', '.join(loud)}." if loud else ""
    if quiet:
        needs = "needs" if len(quiet) == 1 and quiet[0].startswith("1 ") else "need"
        said = f"{said} {' and '.join(quiet)} {needs} nothing.".strip()
    return said
