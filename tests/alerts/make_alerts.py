"""Journal entries and channels for tests, in plain values."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from apps.alerts import services
from apps.alerts.models import Alert, Channel
from apps.core.actors import WORKER, Actor, person
from apps.journal import services as journal
from apps.journal.models import Entry
from apps.journal.services import Condition, Severity

ALICE = person("alice")
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
LOOK = 5 * SECOND
ROUTE = "invoice-extraction"
SENTENCE = (
    "Rolled back invoice-extraction from 25 % to 0 % GPT-5 because p95 latency was 4.34 s, limit 2.56 s. "
    "Evidence 565:1, limit 500:1, 118 requests."
)


def say(
    now: Any,
    effect: Literal["opens", "closes"] = "opens",
    key: str = "",
    *,
    route: str = ROUTE,
    severity: Severity = "critical",
    sentence: str = "",
    link: str = "/d/1",
    environment: str = "production",
    owner: str = "payments",
    by: Actor = WORKER,
    is_whole: bool = False,  # about the environment as a whole
) -> Entry:
    """What some part of the product writes when those on call must know."""
    return journal.record(
        "rollout.rolled_back",
        environment=environment,
        by=by,
        because="p95",
        about={"route": route} if route else {"environment": environment} if is_whole else {},
        now=now,
        condition=Condition(
            key=key or f"rollout:{route}",
            effect=effect,
            severity=severity,
            sentence=sentence or SENTENCE.replace(ROUTE, route or ROUTE),
            route=route,
            link=link,
            owner=owner,
        ),
    )


def end(at: Any, key: str = "", **fields: Any) -> None:
    """It is no longer so: one look has found that a tick ago, and at `at` another."""
    say(at - LOOK, "closes", key, **fields)
    services.dispatch(at - LOOK)
    services.dispatch(at)


def play(now: datetime, until: datetime, step: timedelta = 30 * SECOND) -> None:
    """The dispatch that beat asks for, over and over."""
    at = now
    while at <= until:
        services.dispatch(at)
        at += step


def webhook(receiver: Any, now: Any, name: str = "hook", **config: Any) -> Channel:
    return channel("webhook", now, name, url=receiver.url, **config)


def channel(kind: str, now: Any, name: str = "", least_severity: str = "info", **config: Any) -> Channel:
    return services.create_channel(
        environment="production",
        kind=kind,
        name=name or kind,
        config=config,
        least_severity=least_severity,
        by=ALICE,
        now=now,
    )


def the_alert(condition: str = f"rollout:{ROUTE}") -> Alert:
    return Alert.objects.get(condition=condition)
