"""When people are told of an alert: groups by route, repeats, severity, and which alert speaks for which other.

The first of a group leaves at once; what joins it later leaves with the group's next message, five minutes after the
last. What is critical never waits for its group: that somebody reads it now is worth a message. One that comes and goes
is told once a minute at most.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

GROUP_INTERVAL = timedelta(minutes=5)
URGENT_INTERVAL = timedelta(minutes=1)  # between two messages about the same critical alert
REPEAT_INTERVAL = timedelta(hours=4)
REOPEN_WITHIN = timedelta(minutes=10)
SEVERITIES = ("info", "warning", "error", "critical")

# A condition that is open speaks for those that begin with the other, in the same environment.
SPEAKS_FOR = (
    ("watch:beat", "watch:telemetry"),
    ("watch:beat", "stale:"),
    ("watch:telemetry", "stale:"),
)


def rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else SEVERITIES.index("warning")


def is_worse(severity: str, than: str) -> bool:
    return rank(severity) > rank(than)


def group_of(route: str, condition: str) -> str:
    """Alerts of one route go in one message; what concerns no route is a group of its own."""
    return f"route:{route}" if route else condition


def leaves_at(
    *, group_told_at: datetime | None, alert_told_at: datetime | None, severity: str, now: datetime
) -> datetime:
    """When an alert's news is told. A moment ahead of us in `…_told_at`: that message waits already."""
    if severity == "critical":
        return now if alert_told_at is None else max(now, alert_told_at + URGENT_INTERVAL)
    if group_told_at is None or now - group_told_at >= GROUP_INTERVAL:
        return now
    return group_told_at if group_told_at > now else group_told_at + GROUP_INTERVAL


def may_be_spoken_for(condition: str) -> bool:
    """Whether it is worth looking at the others at all."""
    return condition.startswith(("budget:", *(target for _, target in SPEAKS_FOR)))


def spoken_for_by(condition: str, route: str, others: Iterable[tuple[str, str]]) -> str:
    """The open condition (of `others`: condition, route) that already tells people of this one; empty if none does."""
    for other, other_route in others:
        if other == condition:
            continue
        if any(other.startswith(source) and condition.startswith(target) for source, target in SPEAKS_FOR):
            return other
        if route and not other_route and both(other, condition, "budget:") and same_threshold(other, condition):
            return other
    return ""


def both(one: str, other: str, beginning: str) -> bool:
    return one.startswith(beginning) and other.startswith(beginning)


def same_threshold(one: str, other: str) -> bool:
    """`budget:<id>:<threshold>`: the environment's 80 % says nothing of a route's 100 %."""
    return one.rpartition(":")[2] == other.rpartition(":")[2]
