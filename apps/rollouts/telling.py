"""The journal is the outbox: what is written here is what the timeline shows and what alerts read."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from apps.budgets.domain.money import MoneyVerdict
from apps.core import metrics
from apps.core.actors import Actor
from apps.flags.queries import RouteView
from apps.journal import services as journal
from apps.journal.models import Entry
from apps.rollouts.models import Decision, RollbackPlan, Rollout

ENTRIES = {
    "advance": "rollout.advanced",
    "step_back": "rollout.stepped_back",
    "cap_share": "rollout.capped",
    "stop_shadow": "rollout.shadow_stopped",
    "roll_back": "rollout.rolled_back",
    "fall_back": "rollout.fell_back",
    "block": "rollout.blocked",
    "pause": "rollout.paused",
    "finish": "rollout.finished",
    "hold": "rollout.held",
}
# What a person on call must know when the machine did it. Holds page by their code, the others by their kind.
PAGES = {
    "roll_back": ("rollout", "critical"),
    "fall_back": ("rollout", "critical"),
    "block": ("rollout", "critical"),
    "pause": ("rollout", "warning"),
    "incident": ("incident", "critical"),
    "stale": ("stale", "error"),
    "blind": ("stale", "error"),
    "money": ("money", "error"),
}
CONDITIONS = ("rollout", "incident", "stale", "money", "plan")


def tell(row: Decision, route: RouteView, *, by: Actor, because: str, now: datetime) -> None:
    """An act is always an entry; a hold only where somebody must know of it."""
    told = condition(row, route) if by.kind == "worker" else None
    if row.is_hold and told is None:
        return
    if not row.is_hold:
        over = f"{row.route} moved on."
        close(row.environment, row.route, "stale", "incident", by=by, sentence=over, now=now)
    kind = "rollout.aborted" if row.code == "abort" else ENTRIES[row.kind]
    record(kind, row, by=by, because=because, now=now, condition=told)


def counted(row: Decision) -> Decision:
    """Each new decision, for `/metrics`."""
    transaction.on_commit(metrics.decisions.labels(row.environment, row.kind).inc)
    return row


def condition(row: Decision, route: RouteView) -> journal.Condition | None:
    name, severity = PAGES.get(row.code if row.is_hold else row.kind, ("", ""))
    if not name:
        return None
    return journal.Condition(
        key=f"{name}:{row.route}",
        severity="critical" if severity == "critical" else "error" if severity == "error" else "warning",
        sentence=row.sentence,
        route=row.route,
        owner=route.owner,
        link=f"/d/{row.id}",
        runbook=route.runbook,
    )


def record(
    kind: str,
    row: Decision,
    *,
    by: Actor,
    because: str,
    now: datetime,
    condition: journal.Condition | None = None,
) -> None:
    about = {"route": row.route, "decision": row.id}
    if row.rollout_id:
        about["rollout"] = row.rollout_id
    journal.record(
        kind,
        environment=row.environment,
        by=by,
        because=because,
        about=about,
        now=now,
        before=row.before,
        after={"stage": row.stage, "share": row.share},
        version=row.version,
        condition=condition,
    )


def record_rollout(
    kind: str,
    rollout: Rollout,
    *,
    by: Actor,
    because: str,
    now: datetime,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    version: int | None = None,
) -> None:
    """A change of a rollout that is no decision about its traffic."""
    journal.record(
        kind,
        environment=rollout.environment,
        by=by,
        because=because,
        about={"route": rollout.route, "rollout": rollout.id},
        now=now,
        before=dict(before) if before is not None else None,
        after=dict(after) if after is not None else None,
        version=version,
    )


def record_plan(
    plan: RollbackPlan, *, by: Actor, because: str, now: datetime, before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    journal.record(
        "rollback_plan.changed",
        environment=plan.environment,
        by=by,
        because=because,
        about={"route": plan.route, "rollback_plan": plan.id},
        now=now,
        before=dict(before),
        after=dict(after),
    )


def close(environment: str, route: str, *names: str, by: Actor, sentence: str, now: datetime) -> None:
    """What was told to those on call about this route is over."""
    for name in names or CONDITIONS:
        key = f"{name}:{route}"
        if is_open(environment, key):
            journal.record(
                "rollout.condition_closed",
                environment=environment,
                by=by,
                because=sentence,
                about={"route": route},
                now=now,
                condition=journal.Condition(key=key, effect="closes", sentence=sentence, route=route),
            )


def close_money(verdicts: Iterable[MoneyVerdict], *, by: Actor, now: datetime) -> None:
    """Holds that a crossed budget led to are over where its threshold has cleared."""
    for verdict in verdicts:
        for name in verdict.cleared:
            held = Decision.objects.filter(
                environment=verdict.environment, kind="hold", code="money", reason__contains=f"{verdict.budget}/"
            )
            since = held.filter(reason__contains=f"/{name}/")
            for route in sorted(set(since.values_list("route", flat=True))):
                close(verdict.environment, route, "money", by=by, sentence=verdict.sentence, now=now)


def is_open(environment: str, key: str) -> bool:
    newest = Entry.objects.of_environment(environment).filter(condition=key).newest_first().first()
    return newest is not None and newest.effect == Entry.Effect.OPENS
