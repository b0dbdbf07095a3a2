"""When people are told of an alert: groups by route, repeats, severity, and which alert mutes which other.

The first of a group leaves at once; what joins it later leaves with the group's next message, five minutes after the
last. What is critical never waits for its group: that somebody reads it now is worth a message. One that comes and goes
is told once a minute at most.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

GROUP_INTERVAL = timedelta(minutes=5)
URGENT_INTERVAL = timedelta(minutes=1)  # between two messages about the same critical alert
REPEAT_INTERVAL = timedelta(hours=4)
REOPEN_WITHIN = timedelta(minutes=10)
SEVERITIES = ("info", "warning", "error", "critical")

PROVIDER = "provider:"
BUDGET = "budget:"
EVERY_ROUTE = "*"
# An open condition mutes those that begin with the other, in the same environment: one cause is told once.
MUTES = (
    ("watch:beat", "watch:queue"),
    ("watch:beat", "watch:telemetry"),
    ("watch:beat", "stale:"),
    ("watch:telemetry", "stale:"),
)
SOURCES = (PROVIDER, BUDGET, *dict.fromkeys(source for source, _ in MUTES))
# What a provider that is down does to its routes. Not their budgets, nor a way back that is not confirmed.
OF_A_PROVIDERS_ROUTE = ("rollout:", "incident:", "stale:", "money-")


@dataclass(frozen=True, slots=True)
class Source:
    """An open alert that may mute others. `mutes`: the routes of a provider, every one of an environment's budget."""

    condition: str
    mutes: Collection[str] = ()


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


def may_be_muted(condition: str) -> bool:
    """Whether it is worth looking at the others at all."""
    return condition.startswith((BUDGET, *OF_A_PROVIDERS_ROUTE, *(target for _, target in MUTES)))


def muted_by(condition: str, route: str, sources: Iterable[Source]) -> str:
    """The open condition that already tells people of this one; empty if none does."""
    return next((one.condition for one in sources if is_muted(condition, route, one)), "")


def is_muted(condition: str, route: str, by: Source) -> bool:
    if by.condition == condition:
        return False
    if by.condition.startswith(PROVIDER):
        return route in by.mutes and condition.startswith(OF_A_PROVIDERS_ROUTE)
    if by.condition.startswith(BUDGET) and condition.startswith(BUDGET):
        return bool(route) and EVERY_ROUTE in by.mutes and same_threshold(by.condition, condition)
    return any(by.condition.startswith(source) and condition.startswith(target) for source, target in MUTES)


def same_threshold(one: str, other: str) -> bool:
    """The environment's 80 % says nothing of a route's 100 %, nor what lies ahead of what is spent."""
    return threshold_of(one) == threshold_of(other)


def threshold_of(condition: str) -> str:
    """`budget:<id>:<threshold>`, as `at:0.8` or `forecast:1`."""
    return condition.removeprefix(BUDGET).partition(":")[2]
