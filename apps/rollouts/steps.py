"""The steps of a way back that are not the decision's own transaction: claimed, run, checked until true or out of time.

Each is safe to run twice: it looks before it acts, and what it writes is written in the transaction that ends it, under
its claim. A worker that dies leaves a lease that runs out; the next one goes on from there.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import transaction

from apps.access import services as access
from apps.alerts import queries as alerts
from apps.core.actors import WORKER
from apps.core.claims import claim_next
from apps.core.ids import new_id
from apps.flags import queries as flags
from apps.journal import services as journal
from apps.journal.models import Entry
from apps.rollouts import traffic
from apps.rollouts.domain import plan, watching, words
from apps.rollouts.models import Decision, PlanStep
from apps.telemetry import queries as telemetry

log = structlog.get_logger()

LEASE = timedelta(seconds=10)
RECENT = timedelta(seconds=60)  # a client heard of this long before the decision is expected to confirm it
BEFORE = timedelta(minutes=10)  # what the baseline is compared with


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at a step found. `state` None: not yet, look again."""

    state: str | None
    outcome: str
    evidence: dict[str, Any] = field(default_factory=dict)


def run_due_steps(now: datetime, *, decision: str | None = None, quiet_only: bool = False, most: int = 50) -> int:
    """Claims and runs what is due; with `quiet_only` only what calls nobody. Says how many were run."""
    waiting = PlanStep.objects.filter(state=PlanStep.State.WAITING, due_at__lte=now)
    if decision is not None:
        waiting = waiting.filter(decision=decision)
    if quiet_only:
        waiting = waiting.filter(calls_out=False)
    for ran in range(most):
        step = claim_next(waiting, claim=new_id(), now=now, lease=LEASE)
        if step is None:
            return ran
        run_safely(step, now)
    return most


def run_safely(step: PlanStep, now: datetime) -> None:
    """One step's failure must not stop the next: it is told, and tried again when its lease has run out."""
    try:
        run(step, now)
    except Exception:  # the edge
        log.exception("step.failed", step=step.pk, kind=step.kind)
        again_at = now + plan.RETRY.get(step.kind, timedelta(seconds=2))
        if now >= step.gives_up_at:
            end(step, Found(PlanStep.State.FAILED, "could not be done; the log has the fault"), now)
        else:
            step.look_again(claim=step.claimed_by, due_at=again_at, outcome="failed, tried again")


def run(step: PlanStep, now: datetime) -> None:
    if step.kind == plan.STOP_SHADOW:
        stop_shadow(step, now)
        return
    found = LOOKS[step.kind](step, now)
    if found.state is None and now >= step.gives_up_at:
        found = Found(PlanStep.State.UNSEEN, found.outcome, found.evidence)
    if found.state is None:
        wait = plan.RETRY.get(step.kind, timedelta(seconds=1))
        step.look_again(claim=step.claimed_by, due_at=now + wait, outcome=found.outcome)
        return
    end(step, found, now)


@transaction.atomic
def end(step: PlanStep, found: Found, now: datetime) -> None:
    assert found.state is not None
    mine = step.settle(
        claim=step.claimed_by, state=found.state, outcome=found.outcome, evidence=found.evidence, now=now
    )
    if mine and found.state == PlanStep.State.FAILED:
        escalate(step, found, now)


def escalate(step: PlanStep, found: Found, now: datetime) -> None:
    """A way back that could not be verified is somebody's business, at once."""
    decision = step.decision
    route = flags.route(decision.environment, decision.route)
    sentence = f"The way back of {decision.route} is not confirmed: {step.title.lower()}, {found.outcome}."
    journal.record(
        "rollout.step_failed",
        environment=decision.environment,
        by=WORKER,
        because=sentence,
        about={"route": decision.route, "decision": decision.id, "rollout": decision.rollout_id or ""},
        now=now,
        condition=journal.Condition(
            key=f"plan:{decision.route}",
            severity="critical",
            sentence=sentence,
            route=decision.route,
            owner=route.owner,
            link=f"/d/{decision.id}",
            runbook=route.runbook,
        ),
    )


def look_at_tell(step: PlanStep, now: datetime) -> Found:
    """Who was told, and who did not take it."""
    entry = Entry.objects.filter(about__decision=step.decision_id).exclude(effect="").order_by("at", "id").first()
    if entry is None:
        return Found(PlanStep.State.DONE, f"nobody was woken: {step.decision.by} did it")
    told = alerts.told(entry, now)
    if told is None:
        return Found(None, "the alert is on its way")
    evidence = {"alert": told.alert, "took": told.took, "waiting": [*told.waiting, *told.failed]}
    if told.quiet:
        return Found(PlanStep.State.DONE, f"nobody was woken: {told.quiet}", evidence)
    if not (told.took or told.waiting or told.failed):
        return Found(PlanStep.State.DONE, "no channel is set up: the console alone shows it")
    if not (told.waiting or told.failed):
        return Found(PlanStep.State.DONE, f"{words.listed(told.took)} took it", evidence)
    if told.joins_at is not None:
        return Found(PlanStep.State.DONE, f"it joins the route's next message at {told.joins_at:%H:%M:%S}", evidence)
    rest = words.listed([*told.waiting, *told.failed])
    said = f"{words.listed(told.took) or 'nobody'} took it; {rest} did not"
    if not told.waiting or now >= step.gives_up_at:
        return Found(PlanStep.State.DONE if told.took else PlanStep.State.FAILED, said, evidence)
    return Found(None, said, evidence)


def look_at_clients(step: PlanStep, now: datetime) -> Found:
    """Every client that was there is on the new snapshot, and nobody is sent to the candidate any more."""
    decision = step.decision
    version = decision.version or 0
    seen = flags.clients(decision.environment, since=decision.at - RECENT)
    if not seen:
        return Found(None, "no client tells which snapshot it has")
    there, behind = plan.confirmed([(client.name, client.snapshot) for client in seen], version)
    heard = {client.name for client in seen if client.seen_at >= decision.at}
    evidence = {"version": version, "there": there, "behind": behind, "seconds": (now - decision.at).total_seconds()}
    if assigned := still_assigned(decision, version):
        evidence["assigned"] = assigned
        behind = behind or ["the flag's own evaluations"]
    said = f"{len(there)} of {words.count(len(seen), 'client')} on snapshot {version}"
    if not behind:
        return Found(PlanStep.State.DONE, said, evidence)
    stuck = [name for name in behind if name in heard]
    if now < step.gives_up_at:
        return Found(None, said, evidence)
    if stuck or assigned:
        return Found(PlanStep.State.FAILED, f"{said}; {words.listed(stuck or behind)} still on an older one", evidence)
    return Found(PlanStep.State.DONE, f"{said}; {words.listed(behind)} silent since", evidence)


def still_assigned(decision: Decision, version: int) -> int:
    """How often the candidate was given out by a snapshot that should not do so any more."""
    rollout = decision.rollout
    if rollout is None:
        return 0
    since = decision.at.replace(second=0, microsecond=0)
    rows = flags.exposures(decision.environment, decision.route, since)
    return sum(
        row.count
        for row in rows
        if row.variant == rollout.candidate and row.snapshot >= version and row.assigned_by == "split"
    )


def look_at_baseline(step: PlanStep, now: datetime) -> Found:
    """Who answers now does not get worse under the traffic that came back."""
    decision = step.decision
    route = flags.route(decision.environment, decision.route)
    rollout = decision.rollout
    fallback = route.on_fallback or rollout is None
    variant = route.fallback_variant if fallback else rollout.baseline if rollout else route.default_variant
    before = arm(decision, variant, decision.at - BEFORE, decision.at)
    seen = watching.compare(before, arm(decision, variant, decision.at, now))
    if seen.is_rising:
        return Found(PlanStep.State.FAILED, seen.words, seen.as_dict())
    if seen.can_tell:
        return Found(PlanStep.State.DONE, seen.words, seen.as_dict())
    return Found(None, seen.words, seen.as_dict())


def arm(decision: Decision, variant: str, since: datetime, until: datetime) -> watching.Arm:
    seen = telemetry.baseline(decision.environment, decision.route, variant, since, until)
    return watching.Arm(seen.latency, seen.requests, seen.errors)


@transaction.atomic
def stop_shadow(step: PlanStep, now: datetime) -> None:
    """The publish and the end of the step are one transaction: however often it is tried, it happens once."""
    decision = step.decision
    rollout = decision.rollout
    access.lock_environment(decision.environment)
    done = step.settle(
        claim=step.claimed_by, state=PlanStep.State.DONE, outcome="no shadow cost from here on", evidence={}, now=now
    )
    if done and rollout is not None:
        route = flags.route(decision.environment, decision.route)
        because = f"Its rollout was rolled back: {decision.sentence}"[:500]
        where = traffic.Where(environment=decision.environment, key=decision.route, by=WORKER, because=because, now=now)
        traffic.stop_shadow(rollout, route, where)


LOOKS: dict[str, Callable[[PlanStep, datetime], Found]] = {
    plan.TELL: look_at_tell,
    plan.CONFIRM: look_at_clients,
    plan.WATCH: look_at_baseline,
}
