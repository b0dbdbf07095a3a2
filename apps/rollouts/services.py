"""What an operator can say about a rollout. Each verb is one transaction: change, publish, record.

Safety acts (pause, roll back, abort, fall back) need no approval, no revision and no free hold; whatever the weights
are by then, the candidate is at 0 afterwards.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from apps.access import services as access
from apps.core.actors import Actor
from apps.core.refusals import Refused
from apps.flags import queries as flag_queries
from apps.flags import services as flags
from apps.rollouts import names as naming
from apps.rollouts import route_acts, telling, traffic
from apps.rollouts.doing import (
    AnotherRolloutRuns,
    WrongState,
    do,
    last_act,
    locked_in_environment,
    must_be_current,
    must_be_live,
    words,
)
from apps.rollouts.domain import machine, sentences, stages
from apps.rollouts.models import Approval, Decision, RollbackPlan, Rollout
from apps.rollouts.preparing import CoolingDown, PreviewIsShadowOnly, RolledBackForGood, create, start
from apps.rollouts.steps import run_due_steps
from apps.rollouts.ticking import tick

__all__ = [
    "AnotherRolloutRuns", "CoolingDown", "EvidenceOfHarm", "NeedsApproval", "NothingToApprove", "NothingToUndo",
    "OwnRequest", "PreviewIsShadowOnly", "RolledBackForGood", "WrongState", "abort", "advance", "answer", "approve",
    "change_plan", "create", "fall_back", "pause", "restore", "resume", "roll_back", "run_due_steps", "set_plan",
    "start", "step_back", "tick", "undo",
]  # fmt: skip

UNDO_WITHIN = timedelta(minutes=5)


class NeedsApproval(Refused):
    code = "needs_approval"
    sentence = "The next stage, {share}, needs an approval by somebody else than {requester}."


class OwnRequest(Refused):
    code = "own_request"
    sentence = "{who} asked for this; somebody else must approve it."
    status = 403


class EvidenceOfHarm(Refused):
    code = "evidence_of_harm"
    sentence = "Not while there is evidence of harm: {what}."


class NothingToApprove(Refused):
    code = "nothing_to_approve"
    sentence = "The next stage of this rollout needs no approval."


class NothingToUndo(Refused):
    code = "nothing_to_undo"
    sentence = "{why}"


@transaction.atomic
def pause(*, rollout: Rollout, by: Actor, because: str, now: datetime) -> Decision | None:
    """Traffic stays as it is, nothing advances; protection goes on. Pressed twice it is still paused."""
    rollout = locked_in_environment(rollout)
    if rollout.state == Rollout.State.PAUSED:
        return None
    must_be_live(rollout, "paused")
    here = rollout.progress()
    stays = machine.Decision("pause", "person", stage=here.stage, share=here.share, shadow=here.shadow)
    return do(rollout, stays, by=by, because=because, now=now)


@transaction.atomic
def resume(*, rollout: Rollout, by: Actor, because: str, now: datetime, expected: int | None = None) -> Rollout:
    """Advancing goes on. Traffic that a fallback took away comes back at the present stage's share."""
    rollout = locked_in_environment(rollout)
    must_be_current(rollout, expected)
    if rollout.state != Rollout.State.PAUSED:
        raise WrongState(state=words(rollout.state), asked="resumed")
    view = flag_queries.route(rollout.environment, rollout.route)
    if view.switch:
        raise WrongState(state=f"on a route that is {view.switch}", asked="resumed")
    rollout.go_on()
    telling.record_rollout("rollout.resumed", rollout, by=by, because=because, now=now)
    telling.close(rollout.environment, rollout.route, by=by, sentence=f"{rollout.route} goes on.", now=now)
    here = rollout.progress()
    if here.present is not None and not here.has_candidate_traffic:
        again = replace(
            machine.hold(here, "person"), kind="advance", share=here.present.share, shadow=here.present.shadow
        )
        do(rollout, again, by=by, because=because, now=now)
    rollout.refresh_from_db()
    return rollout


@transaction.atomic
def advance(
    *, rollout: Rollout, by: Actor, because: str, now: datetime, expected: int | None = None
) -> Decision | None:
    """The next stage now, without waiting for time or samples: a person may know more than they say.

    Never against evidence of harm, and never without the approval that the stage asks for.
    """
    rollout = locked_in_environment(rollout)
    must_be_current(rollout, expected)
    must_be_live(rollout, "advanced")
    view = flag_queries.route(rollout.environment, rollout.route)
    if view.switch:
        raise WrongState(state=f"on a route that is {view.switch}", asked="advanced")
    progress = rollout.progress()
    if rollout.warned:
        raise EvidenceOfHarm(what=rollout.warned)
    following = progress.following
    if progress.needs_approval and following is not None:
        raise NeedsApproval(share=traffic_of(following), requester=rollout.requested_by or rollout.created_by)
    if following is not None:
        return do(rollout, machine.advance(progress, code="person"), by=by, because=because, now=now)
    if rollout.share < stages.WHOLE:
        raise WrongState(state="at the end of its plan", asked="advanced")
    finish = machine.Decision("finish", "person", stage=progress.stage, share=stages.WHOLE)
    return do(rollout, finish, by=by, because=because, now=now)


def traffic_of(stage: stages.Stage) -> str:
    return f"{stages.percent(stage.share or stage.shadow)} %"


@transaction.atomic
def step_back(
    *, rollout: Rollout, by: Actor, because: str, now: datetime, expected: int | None = None
) -> Decision | None:
    """To the stage before; from the first one it is a rollback."""
    rollout = locked_in_environment(rollout)
    must_be_current(rollout, expected)
    must_be_live(rollout, "stepped back")
    return do(rollout, machine.step_back(rollout.progress(), "person"), by=by, because=because, now=now)


@transaction.atomic
def approve(*, rollout: Rollout, by: Actor, because: str, now: datetime) -> Approval:
    """The next stage may be entered, as soon as nothing else holds it. Nobody approves their own request."""
    rollout = locked_in_environment(rollout)
    must_be_live(rollout, "approved")
    progress = rollout.progress()
    if not progress.needs_approval or progress.following_index is None:
        raise NothingToApprove
    must_be_another(rollout, by)
    question, _ = Approval.objects.get_or_create(
        rollout=rollout,
        state=Approval.State.WAITING,
        defaults={
            "stage": progress.following_index,
            "asked_at": now,
            "asked_by": rollout.requested_by or rollout.created_by,
        },
    )
    question.answer(Approval.State.APPROVED, by=str(by), because=because, now=now)
    rollout.approve(progress.following_index)
    after = {"stage": progress.following_index}
    telling.record_rollout("rollout.approved", rollout, by=by, because=because, now=now, after=after)
    return question


@transaction.atomic
def answer(*, approval: Approval, approved: bool, by: Actor, because: str, now: datetime) -> Approval:
    """An open question is answered; a no pauses the rollout where it is."""
    if approval.state != Approval.State.WAITING:
        raise WrongState(state=f"already {approval.state}", asked="answered")
    if approved:
        return approve(rollout=approval.rollout, by=by, because=because, now=now)
    rollout = locked_in_environment(approval.rollout)
    must_be_another(rollout, by)
    approval.answer(Approval.State.REJECTED, by=str(by), because=because, now=now)
    telling.record_rollout("rollout.rejected", rollout, by=by, because=because, now=now)
    if rollout.state == Rollout.State.RUNNING:
        pause(rollout=rollout, by=by, because=because, now=now)
    return approval


def must_be_another(rollout: Rollout, by: Actor) -> None:
    if by.kind != "person" or str(by) in (rollout.requested_by, rollout.created_by):
        raise OwnRequest(who=str(by))


@transaction.atomic
def roll_back(*, rollout: Rollout, by: Actor, because: str, now: datetime) -> Decision | None:
    """All traffic to the baseline, now, also from a rollout that has finished. Pressed twice nothing more happens."""
    rollout = locked_in_environment(rollout)
    if rollout.state == Rollout.State.ROLLED_BACK:
        return None
    if rollout.state != Rollout.State.FINISHED:
        must_be_live(rollout, "rolled back")
    elif other := Rollout.objects.live().filter(environment=rollout.environment, route=rollout.route).first():
        raise AnotherRolloutRuns(route=rollout.route, holder=other)
    return do(rollout, machine.roll_back(rollout.progress(), "person"), by=by, because=because, now=now)


@transaction.atomic
def abort(*, rollout: Rollout, by: Actor, because: str, now: datetime) -> Rollout:
    """Given up: the candidate at 0, without a latch. A draft is just closed."""
    rollout = locked_in_environment(rollout)
    if rollout.state == Rollout.State.DRAFT:
        rollout.close(now)
        telling.record_rollout("rollout.aborted", rollout, by=by, because=because, now=now)
        return rollout
    must_be_live(rollout, "aborted")
    ends = machine.roll_back(rollout.progress(), "abort")
    do(rollout, ends, by=by, because=because, now=now, state=Rollout.State.ABORTED)
    rollout.refresh_from_db()
    return rollout


@transaction.atomic
def fall_back(*, environment: str, route: str, by: Actor, because: str, now: datetime) -> Decision | None:
    """Everybody gets the fallback variant, whatever split or holder say. A running rollout is paused at 0 %."""
    access.lock_environment(environment)
    view = flag_queries.route(environment, route)
    if not view.fallback_variant:
        raise flags.NoFallback(key=route)
    if view.on_fallback:
        return None
    rollout = Rollout.objects.live().filter(environment=environment, route=route).first()
    if rollout is not None:
        here = rollout.progress()
        falls = machine.Decision("fall_back", "switch", stage=here.stage)
        return do(rollout, falls, by=by, because=because, now=now)
    published = flags.switch_to_fallback(environment=environment, key=route, by=by, because=because, now=now)
    target = naming.names_of(view)[view.fallback_variant]
    return route_acts.write(
        view,
        kind="fall_back",
        code="person",
        by=by,
        now=now,
        parts=sentences.tell_route("fall_back", route, target, (), because or "it was asked for"),
        version=published.version,
        reason=because,
    )


@transaction.atomic
def restore(*, environment: str, route: str, by: Actor, because: str, now: datetime) -> int:
    """Rules and split decide again. A rollout that the switch paused stays paused, at 0 %."""
    access.lock_environment(environment)
    flag_queries.route(environment, route)
    published = flags.restore(environment=environment, key=route, by=by, because=because, now=now)
    telling.close(environment, route, by=by, sentence=f"{route} is restored.", now=now)
    return published.version


@transaction.atomic
def undo(*, decision: Decision, by: Actor, because: str, now: datetime) -> Rollout:
    """One's own act, within five minutes: everything as it was, but paused."""
    if decision.rollout is None:
        raise NothingToUndo(why="This was no act on a rollout.")
    rollout = locked_in_environment(decision.rollout)
    must_be_undoable(decision, rollout, by, now)
    view = flag_queries.route(rollout.environment, rollout.route)
    before = decision.before
    where = traffic.Where(environment=rollout.environment, key=rollout.route, by=by, because=because, now=now)
    if view.held_by != rollout.holder:
        flags.take_hold(**where, holder=rollout.holder, trial=rollout.id)
    if view.on_fallback and decision.kind in ("roll_back", "fall_back"):
        flags.restore(**where)
    view = flag_queries.route(rollout.environment, rollout.route)
    rollout.come_back(stage=before["stage"], share=before["share"], shadow=before["shadow"], by=str(by), now=now)
    version = traffic.set_to(rollout, view, where, share=rollout.share, shadow=rollout.shadow)
    decision.mark_undone(str(by))
    telling.record_rollout(
        "rollout.undone", rollout, by=by, because=because, now=now, before={"share": decision.share},
        after={"share": rollout.share}, version=version,
    )  # fmt: skip
    return rollout


def must_be_undoable(decision: Decision, rollout: Rollout, by: Actor, now: datetime) -> None:
    if decision.by != str(by):
        raise NothingToUndo(why="Only one's own act can be undone.")
    if decision.kind not in ("advance", "step_back", "roll_back", "fall_back", "cap_share") or decision.undone_by:
        raise NothingToUndo(why="This act cannot be undone, or was undone already.")
    if now - decision.at > UNDO_WITHIN:
        raise NothingToUndo(why="An act can be undone for five minutes.")
    if last_act(rollout) != decision:
        raise NothingToUndo(why="Something else was decided since.")
    others = Rollout.objects.live().filter(environment=rollout.environment, route=rollout.route)
    if others.exclude(pk=rollout.pk).exists():
        raise AnotherRolloutRuns(route=rollout.route, holder=others.first())


@transaction.atomic
def set_plan(*, environment: str, route: str, by: Actor, because: str, now: datetime, **fields: Any) -> RollbackPlan:
    """The route's plan as asked for; what is not named stays as it is, or gets its default."""
    flag_queries.route(environment, route)
    plan, _ = RollbackPlan.objects.get_or_create(
        environment=environment, route=route, defaults={"updated_at": now, "updated_by": str(by)}
    )
    return change_plan(plan=plan, by=by, because=because, now=now, **fields)


@transaction.atomic
def change_plan(*, plan: RollbackPlan, by: Actor, because: str, now: datetime, **fields: Any) -> RollbackPlan:
    """How the route goes back from now on; a way back that runs already keeps its steps."""
    view = flag_queries.route(plan.environment, plan.route)
    if fields.get("target") == RollbackPlan.Target.FALLBACK and not view.fallback_variant:
        raise flags.NoFallback(key=plan.route)
    before = {name: getattr(plan, name) for name in fields}
    plan.change(fields, by=str(by), now=now)
    telling.record_plan(plan, by=by, because=because, now=now, before=before, after=fields)
    return plan
