"""Who is told when nobody acknowledges: steps of channels, each some minutes after the alert began to fire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class Step:
    after: timedelta
    channels: tuple[str, ...]


def read(steps: Sequence[Mapping[str, Any]]) -> list[Step]:
    """From the policy's JSON: [{"after_minutes": 15, "channels": [ids]}], in order of time."""
    found = [Step(timedelta(minutes=float(one["after_minutes"])), tuple(one["channels"])) for one in steps]
    return sorted(found, key=lambda step: step.after)


def reached(steps: Sequence[Step], *, since: datetime, now: datetime) -> int:
    """How many steps have been reached by an alert that has fired since then."""
    return sum(1 for step in steps if since + step.after <= now)


def channels(steps: Sequence[Step], *, first: int, last: int) -> list[str]:
    """The channels of these steps, each once, in order."""
    return list(dict.fromkeys(id for step in steps[first:last] for id in step.channels))
