"""The word for where a route stands: one vocabulary for pages, API, mail and command line, worst first."""

from datetime import datetime, timedelta
from enum import StrEnum

RECENT = timedelta(hours=24)  # so long a rollback stays the state of its route
QUIET = frozenset({"baking", "samples", "start", "person", ""})  # the plan goes on by itself
UNSEEN = frozenset({"stale", "blind"})


class State(StrEnum):
    UNPROTECTED = "Unprotected"
    ON_FALLBACK = "On fallback"
    ROLLED_BACK = "Rolled back"
    HOLDING = "Holding"
    NEEDS_APPROVAL = "Needs approval"
    PAUSED = "Paused"
    RAMPING = "Ramping"
    STEADY = "Steady"

    @property
    def rank(self) -> int:
        return list(State).index(self)


def word(
    *,
    switch: str,
    rollout: str,
    has_traffic: bool,
    is_protected: bool,
    hold: str,
    asks: bool,
    ended_at: datetime | None,
    now: datetime,
) -> State:
    """`rollout` is the state of the newest one, `hold` the code of its newest hold, `asks` an open question."""
    if switch:
        return State.ON_FALLBACK
    if rollout in ("running", "paused"):
        if hold in UNSEEN or (has_traffic and not is_protected):
            return State.UNPROTECTED
        if rollout == "paused":
            return State.PAUSED
        if asks or hold == "approval":
            return State.NEEDS_APPROVAL
        return State.RAMPING if hold in QUIET else State.HOLDING
    if rollout == "rolled_back" and ended_at is not None and now - ended_at < RECENT:
        return State.ROLLED_BACK
    return State.STEADY
