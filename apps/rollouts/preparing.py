"""Before anything moves: a rollout is prepared, and armed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from apps.access import services as access
from apps.budgets import services as budgets
from apps.catalog.models import Model, Tier
from apps.core.actors import Actor
from apps.core.refusals import Invalid, Refused
from apps.flags import queries as flag_queries
from apps.flags import services as flags
from apps.flags.queries import RouteView
from apps.rollouts import costs, telling
from apps.rollouts import names as naming
from apps.rollouts.doing import AnotherRolloutRuns, WrongState, do, locked, must_be_current, words
from apps.rollouts.domain import latch as latching
from apps.rollouts.domain import machine, stages
from apps.rollouts.models import RollbackPlan, Rollout
from apps.telemetry.domain.shards import shard_of


class CoolingDown(Refused):
    code = "cooling_down"
    sentence = "This candidate was rolled back on {route}. It may be armed again after {free_at}."


class RolledBackForGood(Refused):
    code = "rolled_back_for_good"
    sentence = "This candidate was rolled back {times} times on {route}. Only a changed variant may start."


class PreviewIsShadowOnly(Refused):
    code = "preview_is_shadow_only"
    sentence = "{model} is a preview: on {route}, a critical route, it may run in shadow only."


@transaction.atomic
def create(
    *,
    environment: str,
    route: str,
    candidate: str,
    stages: Sequence[Mapping[str, Any]],
    by: Actor,
    now: datetime,
    guardrails: Sequence[Mapping[str, Any]] = (),
    baseline: str = "",
    because: str = "",
) -> Rollout:
    """A draft, with its guardrails and its rollback plan. Nothing moves, nothing is held, before `start`."""
    view = flag_queries.route(environment, route)
    baseline = baseline or view.default_variant
    plan = read_stages(stages)
    must_be_two_variants(view, candidate, baseline)
    must_not_be_a_preview(view, candidate, plan)
    named = naming.names_of(view)
    rollout = Rollout.objects.create(
        environment=environment,
        route=route,
        owner=view.owner,
        shard=shard_of(environment, route),
        baseline=baseline,
        candidate=candidate,
        baseline_name=named[baseline],
        candidate_name=named[candidate],
        baseline_revision=latching.revision_of(view.variants[baseline]),
        candidate_revision=latching.revision_of(view.variants[candidate]),
        stages=[stage.as_dict() for stage in plan],
        created_at=now,
        created_by=str(by),
        because=because,
    )
    RollbackPlan.objects.get_or_create(
        environment=environment, route=route, defaults={"updated_at": now, "updated_by": str(by)}
    )
    set_guardrails(rollout, guardrails, by=by, because=because, now=now)
    after = {"baseline": baseline, "candidate": candidate, "stages": rollout.stages}
    telling.record_rollout("rollout.created", rollout, by=by, because=because, now=now, after=after)
    return rollout


def set_guardrails(
    rollout: Rollout, specs: Sequence[Mapping[str, Any]], *, by: Actor, because: str, now: datetime
) -> None:
    budgets.set_guardrails(
        environment=rollout.environment,
        route=rollout.route,
        trial=rollout.id,
        specs=[dict(spec) for spec in specs],
        candidate=rollout.candidate,
        baseline=rollout.baseline,
        retries=latch_of(rollout).rollbacks,
        by=by,
        because=because,
        now=now,
    )


def read_stages(raw: Any) -> tuple[stages.Stage, ...]:
    try:
        return stages.read(raw)
    except stages.BadStages as bad:
        raise Invalid(str(bad), **{bad.place: bad.why}) from bad


def must_be_two_variants(view: RouteView, candidate: str, baseline: str) -> None:
    for field, variant in (("candidate", candidate), ("baseline", baseline)):
        if variant not in view.variants:
            raise Invalid(f"{variant} is no variant of {view.key}.", **{field: f"one of {', '.join(view.variants)}"})
    if candidate == baseline:
        raise Invalid(f"{candidate} is the baseline already.", candidate="a variant other than the baseline")


def must_not_be_a_preview(view: RouteView, candidate: str, plan: Sequence[stages.Stage]) -> None:
    """A research preview stays out of the live traffic of a critical route."""
    if not view.is_critical or all(stage.is_shadow for stage in plan):
        return
    if Model.objects.filter(key=view.model(candidate), tier=Tier.PREVIEW).exists():
        raise PreviewIsShadowOnly(model=view.model(candidate), route=view.key)


@transaction.atomic
def start(*, rollout: Rollout, by: Actor, because: str, now: datetime, expected: int | None = None) -> Rollout:
    """Takes hold of the flag and enters the first stage; one that needs an approval waits for it at 0 %."""
    access.lock_environment(rollout.environment)
    rollout = locked(rollout)
    must_be_current(rollout, expected)
    if rollout.state != Rollout.State.DRAFT:
        raise WrongState(state=words(rollout.state), asked="started")
    must_be_cool(rollout, now)
    other = Rollout.objects.live().filter(environment=rollout.environment, route=rollout.route).first()
    if other is not None:
        raise AnotherRolloutRuns(route=rollout.route, holder=other)
    view = flag_queries.route(rollout.environment, rollout.route)
    must_be_two_variants(view, rollout.candidate, rollout.baseline)
    flags.take_hold(
        environment=rollout.environment,
        key=rollout.route,
        holder=rollout.holder,
        trial=rollout.id,
        by=by,
        because=because,
        now=now,
    )
    rollout.start(by=str(by), because=because, now=now)
    telling.record_rollout("rollout.started", rollout, by=by, because=because, now=now)
    about = f"A rollout to {rollout.candidate_name} has started on {rollout.route}."
    telling.close(rollout.environment, rollout.route, by=by, sentence=about, now=now)
    costs.price(rollout, view, now)
    progress = rollout.progress(switch=view.switch)
    if not progress.needs_approval:
        do(rollout, machine.advance(progress, code="start"), by=by, because=because, now=now)
    rollout.refresh_from_db()
    return rollout


def must_be_cool(rollout: Rollout, now: datetime) -> None:
    latch = latch_of(rollout)
    if latch.is_final:
        raise RolledBackForGood(times=latch.rollbacks, route=rollout.route)
    if latch.is_cooling(now):
        raise CoolingDown(route=rollout.route, free_at=f"{latch.free_at:%Y-%m-%d %H:%M:%S} UTC")


def latch_of(rollout: Rollout) -> latching.Latch:
    ended = Rollout.objects.rolled_back_by_the_machine(
        rollout.environment, rollout.route, rollout.candidate_revision
    ).exclude(pk=rollout.pk)
    return latching.latch([at for at in ended.values_list("ended_at", flat=True) if at is not None])
