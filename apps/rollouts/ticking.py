"""One tick: ask, decide, plan, do, tell, for every shard of routes that is due and that nobody looks after.

All rollouts of a shard are judged together; only one that acts opens a transaction of its own, and one rollout's
failure does not stop the next. A hold that only repeats the one before adds to its counter.
"""

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction

from apps.budgets import services as budgets
from apps.budgets.services import Judged
from apps.core import spans
from apps.core.actors import WORKER
from apps.flags import queries as flags
from apps.flags.queries import RouteView
from apps.rollouts import acting, holds, leases, money, route_acts, steps, telling
from apps.rollouts.acting import Grounds
from apps.rollouts.domain import machine
from apps.rollouts.domain.machine import Pressure
from apps.rollouts.leases import Lease
from apps.rollouts.models import Rollout
from apps.telemetry.domain.shards import shard_of

log = structlog.get_logger()
Pressing = Mapping[money.Where, list[Pressure]]
COUNTED = ("judged_requests", "samples", "looks", "newest_at", "warned")


@dataclass(slots=True)
class Ticked:
    """What one tick did, for whoever asks (logs, tests, drills)."""

    shards: int = 0
    judged: int = 0
    acted: list[str] = field(default_factory=list)  # ids of decisions
    faults: int = 0  # rollouts, shards or budgets that could not be looked at


def tick(now: datetime, *, worker: str = "") -> Ticked:
    """Every shard once that is due. A second tick at the same time finds nothing to do."""
    worker = worker or f"{socket.gethostname()}:{os.getpid()}"
    leases.ensure_shards()
    ticked = Ticked()
    pressing: Pressing | None = None
    while claimed := leases.claim(worker, now):
        if pressing is None:
            pressing = ask_money_safely(now, ticked)
        for lease in claimed:
            tick_safely(lease, pressing, now, ticked)
    return ticked


def ask_money_safely(now: datetime, ticked: Ticked) -> Pressing:
    """A ledger that cannot be read must not keep guardrails from being judged."""
    try:
        verdicts = budgets.judge_money(now=now)
        telling.close_money(verdicts, by=WORKER, now=now)
        return money.pressures(verdicts, now)
    except Exception:  # the edge: told, and the tick goes on
        log.exception("tick.money_failed")
        ticked.faults += 1
        budgets.note_unjudged(now=now)
        return {}


def tick_safely(lease: Lease, pressing: Pressing, now: datetime, ticked: Ticked) -> None:
    """At the edge of a shard: its fault is told, and the next shard has its turn.

    A shard with a fault keeps its old `last_tick_at`: soon everybody is told that it is not protected.
    """
    faults = ticked.faults
    try:
        tick_shard(lease, pressing, now, ticked)
    except Exception:  # the edge: one shard's failure must not stop the next
        log.exception("tick.shard_failed", shard=lease.shard)
        ticked.faults += 1
    ticked.shards += 1
    # A little less than the period, so that a tick which comes early by a hair is not sent away for a whole one.
    due_at = now + timedelta(seconds=settings.TICK_SECONDS * 0.8)
    lease.end(ticked_at=now if ticked.faults == faults else None, due_at=due_at)


def tick_shard(lease: Lease, pressing: Pressing, now: datetime, ticked: Ticked) -> None:
    rollouts = list(Rollout.objects.live().filter(shard=lease.shard).order_by("id"))
    pressures = {where: asked for where, asked in pressing.items() if shard_of(*where) == lease.shard}
    if not rollouts and not pressures:
        return
    routes = routes_of(rollouts, pressures)
    judged = ask(lease, rollouts, now)
    if judged is None:
        return
    holding = []
    for rollout in rollouts:
        where = (rollout.environment, rollout.route)
        try:
            held = decide_and_act(
                rollout, routes[where], judged.get(rollout.id), pressures.get(where, []), lease, now, ticked
            )
        except Exception:  # the edge: one rollout's failure must not stop the next
            log.exception("tick.rollout_failed", rollout=rollout.id)
            ticked.faults += 1
            continue
        ticked.judged += 1
        if held is not None:
            holding.append(held)
    holds.repeat_or_tell(holding, lease=lease, now=now)
    busy = {(rollout.environment, rollout.route) for rollout in rollouts}
    for where, asked in pressures.items():
        if where not in busy and where in routes:
            ticked.acted += route_acts.answer(routes[where], asked, lease=lease, now=now)


def routes_of(rollouts: Sequence[Rollout], pressed: Iterable[money.Where]) -> dict[money.Where, RouteView]:
    """The routes that rollouts move, and those of which money asks something."""
    by_environment: dict[str, set[str]] = {}
    for environment, key in [*((rollout.environment, rollout.route) for rollout in rollouts), *pressed]:
        by_environment.setdefault(environment, set()).add(key)
    return {
        (environment, route.key): route
        for environment, keys in sorted(by_environment.items())
        for route in flags.routes(environment, keys)
    }


@spans.traced("judge")
@transaction.atomic
def ask(lease: Lease, rollouts: Sequence[Rollout], now: datetime) -> Mapping[str, Judged] | None:
    """What the guardrails say. New evidence, counts and cursor are saved together, under the lease's token."""
    if not lease.holds(now):
        return None
    spans.note(shard=lease.shard, rollouts=len(rollouts))
    watched = [
        budgets.Watched(
            trial=rollout.id,
            environment=rollout.environment,
            route=rollout.route,
            baseline=rollout.baseline,
            candidate=rollout.candidate,
            share_bp=rollout.share,
            stage_began_at=rollout.stage_began_at or now,
            started_at=rollout.started_at or now,
        )
        for rollout in rollouts
    ]
    judged = budgets.judge(shard=lease.shard, watched=watched, now=now)
    counted = [rollout for rollout in rollouts if rollout.id in judged and count(rollout, judged[rollout.id])]
    Rollout.objects.bulk_update(counted, COUNTED, batch_size=500)
    return judged


def count(rollout: Rollout, says: Judged) -> bool:
    """What this look counted; False where it brought nothing new."""
    before = tuple(getattr(rollout, name) for name in COUNTED)
    rollout.judged_requests, rollout.samples = says.requests_in_all, says.requests_candidate
    rollout.looks, rollout.newest_at = says.looks, says.newest_at
    rollout.warned = holds.warning_words(says.verdicts)
    return before != tuple(getattr(rollout, name) for name in COUNTED)


def decide_and_act(
    rollout: Rollout,
    route: RouteView,
    says: Judged | None,
    pressures: list[Pressure],
    lease: Lease,
    now: datetime,
    ticked: Ticked,
) -> holds.Held | None:
    """An act has its own transaction, and at once those of its steps that call nobody. A hold is given back."""
    asks = with_shadow_limit(rollout, pressures, now)
    grounds = grounds_of(says, asks)
    decision = machine.decide(rollout.progress(switch=route.switch), grounds.verdicts, asks, now)
    if not decision.acts:
        return holds.Held(rollout, route, decision, grounds)
    grounds = replace(grounds, facts=acting.facts_of(rollout, now, grounds.circumstances))
    done = acting.act(rollout=rollout, decision=decision, by=WORKER, now=now, grounds=grounds, lease=lease)
    if done is not None:
        ticked.acted.append(done.id)
        steps.run_due_steps(now, decision=done.id, quiet_only=True)
    return None


def grounds_of(says: Judged | None, asks: Sequence[Pressure]) -> Grounds:
    if says is None:
        return Grounds(pressures=asks)
    return Grounds(verdicts=says.verdicts, pressures=asks, circumstances=says.circumstances)


def with_shadow_limit(rollout: Rollout, pressures: list[Pressure], now: datetime) -> list[Pressure]:
    """A shadow stage's own cap on what it may cost is a money limit like any other."""
    present = rollout.progress().present
    if present is None or present.limit_nano is None or not rollout.shadow:
        return pressures
    over = holds.shadow_spend(rollout, present.limit_nano, now)
    return [*pressures, over] if over else pressures
