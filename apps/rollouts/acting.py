"""A decision is done: row, plan steps, weights, publish and journal entry in one transaction.

The tick and an operator's press come through the same door. The environment is locked first, as everywhere; a worker
shows its lease and the generation that it judged: whoever comes second finds another generation and does nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from apps.access import services as access
from apps.budgets import queries as budget_queries
from apps.budgets import services as budgets
from apps.budgets.domain.judge import Circumstances
from apps.budgets.domain.verdicts import Verdict
from apps.core.actors import Actor
from apps.core.refusals import NotFound
from apps.flags import queries as flags
from apps.flags.queries import RouteView
from apps.rollouts import costs, telling, traffic
from apps.rollouts import names as naming
from apps.rollouts.domain import evidence as kept
from apps.rollouts.domain import machine, plan, sentences
from apps.rollouts.domain.machine import Pressure, Progress
from apps.rollouts.domain.sentences import Names, Part
from apps.rollouts.leases import Lease
from apps.rollouts.models import Approval, Decision, PlanStep, RollbackPlan, Rollout
from apps.telemetry import queries as telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """What a decision stands on, gathered before its transaction and kept with it."""

    verdicts: Sequence[Verdict] = ()
    pressures: Sequence[Pressure] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    circumstances: Circumstances | None = None

    @property
    def baseline_fails(self) -> bool:
        """The baseline breaks its own limits too: no good place to go back to."""
        return any(verdict.is_incident for verdict in self.verdicts)


@transaction.atomic
def act(
    *,
    rollout: Rollout,
    decision: machine.Decision,
    by: Actor,
    now: datetime,
    grounds: Grounds,
    reason: str = "",
    state: str | None = None,
    lease: Lease | None = None,
) -> Decision | None:
    """Does what was decided. None: another worker was faster, and nothing was done."""
    access.lock_environment(rollout.environment)
    if lease is not None and not lease.holds(now):
        return None
    row = locked(rollout, judged=rollout if lease is not None else None)
    if row is None:
        return None
    route = flags.route(row.environment, row.route)
    progress = row.progress(switch=route.switch)
    names = names_for(row, route)
    decision = machine.possible(decision, has_fallback=bool(route.fallback_variant))
    to_fallback = ends_on_fallback(decision, row, route, grounds)
    parts = sentences.tell(progress, decision, names, reason)
    done = write(row, route, decision, parts, by=by, now=now, evidence=evidence_of(progress, grounds, names, reason))
    version = traffic.move(row, route, decision, to_fallback=to_fallback, by=by, because=done.sentence, now=now)
    follow(row, progress, decision, state=state, by=by, now=now)
    done.set_version(version, receipt(row, route, version, now))
    if decision.kind in ("roll_back", "fall_back"):
        plan_way_back(done, row, route, names, to_fallback=to_fallback, now=now)
    telling.tell(done, route, by=by, because=reason or done.sentence, now=now)
    return done


def locked(rollout: Rollout, *, judged: Rollout | None) -> Rollout | None:
    """The rollout's row, locked after the environment's; None where another decision came between look and lock."""
    row = Rollout.objects.select_for_update().filter(pk=rollout.pk).first()
    if row is None:
        raise NotFound(what="rollout", key=rollout.pk)
    if judged is not None:
        if row.generation != judged.generation or not row.is_live:
            return None
        row.take_counts(judged)
    return row


def names_for(rollout: Rollout, route: RouteView) -> Names:
    fallback = naming.names_of(route).get(route.fallback_variant, "") if route.fallback_variant else ""
    return replace(names_without_fallback(rollout), fallback=fallback)


def names_without_fallback(rollout: Rollout) -> Names:
    """Holds speak of no fallback: no look into the catalogue for each of ten thousand."""
    return Names(rollout.candidate_name, rollout.baseline_name)


def write(
    rollout: Rollout,
    route: RouteView,
    decision: machine.Decision,
    parts: list[Part],
    *,
    by: Actor,
    now: datetime,
    evidence: Mapping[str, Any],
) -> Decision:
    row = Decision.objects.create(
        at=now,
        last_at=now,
        environment=rollout.environment,
        route=rollout.route,
        rollout=rollout,
        generation=rollout.next_generation(),
        kind=decision.kind,
        code=decision.code,
        reason=decision.reason[:500],
        by=str(by),
        stage=decision.stage,
        share=decision.share,
        before=standing(rollout, route),
        because=kept.causes(decision),
        sentence=sentences.text(parts),
        parts=[list(part) for part in parts],
        evidence=dict(evidence),
    )
    return telling.counted(row)


def standing(rollout: Rollout, route: RouteView) -> dict[str, Any]:
    """What it was before: an act can be undone from this."""
    return {
        "state": rollout.state,
        "stage": rollout.stage,
        "share": rollout.share,
        "shadow": rollout.shadow,
        "weights": route.weights,
        "switch": route.switch,
        "default_variant": route.default_variant,
    }


def evidence_of(progress: Progress, grounds: Grounds, names: Names, reason: str) -> dict[str, Any]:
    return {
        **grounds.facts,
        "progress": kept.of_progress(progress),
        "names": {"candidate": names.candidate, "baseline": names.baseline, "fallback": names.fallback},
        "verdicts": [verdict.as_dict() for verdict in grounds.verdicts],
        "pressures": [kept.of_pressure(pressure) for pressure in grounds.pressures],
        "reason": reason,
    }


def ends_on_fallback(decision: machine.Decision, rollout: Rollout, route: RouteView, grounds: Grounds) -> bool:
    """Whether the way back leads to the fallback: asked for, planned so, or because the baseline fails as well."""
    if decision.kind == "fall_back":
        return True
    if decision.kind != "roll_back" or not has_third_way(rollout, route):
        return False
    return grounds.baseline_fails or plans_fallback(rollout, route)


def has_third_way(rollout: Rollout, route: RouteView) -> bool:
    return route.fallback_variant not in ("", rollout.candidate, rollout.baseline)


def plans_fallback(rollout: Rollout, route: RouteView) -> bool:
    """Whether the plan of this route's way back leads to its fallback."""
    return has_third_way(rollout, route) and options_of(rollout.environment, rollout.route).target == "fallback"


def follow(
    rollout: Rollout, before: Progress, decision: machine.Decision, *, state: str | None, by: Actor, now: datetime
) -> None:
    if state is None and machine.ends(decision):
        state = Rollout.State.FINISHED if decision.kind == "finish" else Rollout.State.ROLLED_BACK
    rollout.follow(machine.after(before, decision, now), state=state, by=str(by), now=now)
    if not rollout.is_live or decision.kind in ("advance", "step_back"):
        for question in Approval.objects.filter(rollout=rollout, state=Approval.State.WAITING):
            question.answer(Approval.State.LAPSED, by=str(by), because=decision.code, now=now)


def receipt(rollout: Rollout, before: RouteView, version: int | None, now: datetime) -> dict[str, Any]:
    """The flag write: what it was, what it is, in which snapshot."""
    after = flags.route(rollout.environment, rollout.route)
    states = {
        when: {"weights": route.weights, "switch": route.switch, "shadow": route.shadow}
        for when, route in (("before", before), ("after", after))
    }
    return {"version": version, "at": now.isoformat(), **states}


def plan_way_back(
    done: Decision, rollout: Rollout, route: RouteView, names: Names, *, to_fallback: bool, now: datetime
) -> None:
    """The way back as rows. What this very transaction did is done already."""
    target = names.fallback if to_fallback else names.baseline
    steps = plan.plan_rollback(
        candidate=names.candidate,
        target=target,
        to_fallback=to_fallback,
        had_shadow=route.shadow is not None,
        options=options_of(rollout.environment, rollout.route),
    )
    said = f"snapshot {done.version}, " if done.version else ""
    outcomes = {plan.FREEZE: "nothing advances any more"}
    PlanStep.objects.bulk_create(
        PlanStep(
            decision=done,
            position=position,
            kind=step.kind,
            title=step.title,
            calls_out=step.calls_out,
            due_at=now + step.after,
            gives_up_at=now + step.within,
            state=PlanStep.State.DONE if step.is_inline else PlanStep.State.WAITING,
            done_at=now if step.is_inline else None,
            attempts=int(step.is_inline),
            outcome=outcomes.get(step.kind, f"{said}{target} takes its part") if step.is_inline else "",
        )
        for position, step in enumerate(steps, start=1)
    )


def options_of(environment: str, route: str) -> plan.Options:
    planned = RollbackPlan.objects.filter(environment=environment, route=route).first()
    if planned is None:
        return plan.Options()
    return plan.Options(
        target=planned.target,
        confirm=timedelta(seconds=planned.confirm_seconds),
        watch=timedelta(seconds=planned.watch_seconds),
        stops_shadow=planned.stops_shadow,
    )


def facts_of(rollout: Rollout, now: datetime, circumstances: Circumstances | None = None) -> dict[str, Any]:
    """Evidence beside the verdicts: policy, the whole trial, the money of the exposure, the targets."""
    view = flags.route(rollout.environment, rollout.route)
    exposure = exposure_of(rollout, now)
    return {
        "revisions": {"candidate": rollout.candidate_revision, "baseline": rollout.baseline_revision},
        "guardrails": [
            {"id": row.id, "alpha": row.alpha, **budgets.as_spec(row)} for row in budget_queries.guardrails(rollout.id)
        ],
        "trial": budget_queries.evidence(rollout.id, circumstances=circumstances),
        "exposure": exposure,
        "costs_per_hour": [
            row.as_dict() for row in costs.of_route(view, now, candidate=rollout.candidate, baseline=rollout.baseline)
        ],
        "looks": rollout.looks,
        "newest_at": rollout.newest_at.isoformat() if rollout.newest_at else None,
    }


def exposure_of(rollout: Rollout, now: datetime) -> dict[str, Any]:
    """How many requests met the candidate, and what they cost, confirmed and estimated apart."""
    since = rollout.started_at or now
    where = {"trial": rollout.id, "variant": rollout.candidate}
    (spent,) = telemetry.spend(rollout.environment, since, now, where=where)
    rows = telemetry.requests(rollout.environment, rollout.route, since, now, trial=rollout.id)
    met = [row for row in rows if row.variant == rollout.candidate]
    return {
        "requests": sum(row.requests for row in met if row.arm == "live"),
        "errors": sum(row.errors for row in met if row.arm == "live"),
        "shadow_requests": sum(row.requests for row in met if row.arm == "shadow"),
        "confirmed_nano": spent.confirmed_nano,
        "estimated_nano": spent.estimated_nano,
        "calls": spent.calls,
        "since": since.isoformat(),
    }
