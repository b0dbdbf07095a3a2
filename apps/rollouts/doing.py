"""What every act of a person on a rollout begins and ends with: the lock, what must be true, the one door of acts."""

from datetime import datetime

from apps.access import services as access
from apps.core.actors import Actor
from apps.core.refusals import NotFound, Refused, Stale
from apps.rollouts import acting
from apps.rollouts.acting import Grounds
from apps.rollouts.domain import machine
from apps.rollouts.models import Decision, Rollout


class WrongState(Refused):
    code = "wrong_state"
    sentence = "This rollout is {state}; it cannot be {asked} now."


class AnotherRolloutRuns(Refused):
    code = "another_rollout_runs"
    sentence = "Another rollout of {route} is under way: {holder}."


def do(
    rollout: Rollout, decision: machine.Decision, *, by: Actor, because: str, now: datetime, state: str | None = None
) -> Decision | None:
    """A person's act: the same door as the machine's, with their reason instead of figures."""
    facts = acting.facts_of(rollout, now)
    return acting.act(
        rollout=rollout,
        decision=decision,
        by=by,
        now=now,
        grounds=Grounds(facts=facts),
        reason=because or "it was asked for",
        state=state,
    )


def locked(rollout: Rollout) -> Rollout:
    row = Rollout.objects.select_for_update().filter(pk=rollout.pk).first()
    if row is None:
        raise NotFound(what="rollout", key=rollout.pk)
    return row


def locked_in_environment(rollout: Rollout) -> Rollout:
    access.lock_environment(rollout.environment)
    return locked(rollout)


def must_be_live(rollout: Rollout, asked: str) -> None:
    if not rollout.is_live:
        raise WrongState(state=words(rollout.state), asked=asked)


def must_be_current(rollout: Rollout, expected: int | None) -> None:
    if expected is None or expected == rollout.revision:
        return
    last = last_act(rollout)
    changes = {"share": {"was": last.before.get("share"), "is": last.share}} if last else {}
    raise Stale(by=last.by if last else "", at=last.at.isoformat() if last else "", changes=changes)


def last_act(rollout: Rollout) -> Decision | None:
    return rollout.decisions.exclude(kind="hold").order_by("-generation").first()


def words(state: str) -> str:
    return state.replace("_", " ")
