"""One entry per change, written in the change's own transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from apps.core.actors import Actor
from apps.journal.models import Entry

Severity = Literal["critical", "error", "warning", "info"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something a person on call must know. `key` is the same in the entry that opens and the one that closes it."""

    key: str
    effect: Literal["opens", "closes"] = "opens"
    severity: Severity = "warning"
    sentence: str
    route: str = ""
    owner: str = ""
    link: str = ""
    runbook: str = ""


def record(
    kind: str,
    *,
    environment: str,
    by: Actor,
    because: str,
    about: dict[str, str],
    now: datetime,
    before: Any = None,
    after: Any = None,
    version: int | None = None,
    condition: Condition | None = None,
) -> Entry:
    """`kind` is past: `rollout.rolled_back`. `about` names the subjects: {"flag": …, "route": …, "rollout": …}."""
    told = condition or Condition(key="", sentence="")
    return Entry.objects.create(
        at=now,
        environment=environment,
        kind=kind,
        by=str(by),
        because=because[:500],
        about=about,
        before=before,
        after=after,
        version=version,
        condition=told.key,
        effect=told.effect if condition else "",
        severity=told.severity if condition else "",
        route=told.route or about.get("route", ""),
        owner=told.owner,
        sentence=told.sentence,
        link=told.link,
        runbook=told.runbook,
    )
