"""Which acts a person sees on a route, each with its effect and its price before the press."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.urls import reverse

from apps.access.domain.roles import Role
from apps.console import figures
from apps.console.acts import Act
from apps.console.queries import Standing
from apps.console.visits import Visit
from apps.rollouts.domain import stages
from apps.rollouts.domain.plan import Cost
from apps.rollouts.models import Decision, Rollout

UNDO_WITHIN = timedelta(minutes=5)
A_DAY = timedelta(days=1)
UNDOABLE = {"advance", "step_back", "roll_back", "fall_back", "cap_share"}


@dataclass(frozen=True, slots=True)
class Prices:
    """By the hour, of all the route's traffic on each target."""

    rows: Sequence[Cost]

    def more(self, target: str) -> str:
        """`Costs $12.56 more an hour at this load.`"""
        by_target = {row.target: row.nano_per_hour for row in self.rows}
        here, there = by_target.get("now"), by_target.get(target)
        if here is None or there is None:
            return "What it costs by the hour has not been measured yet."
        if there == here:
            return "Costs the same by the hour."
        word = "Costs" if there > here else "Saves"
        more = " more" if there > here else ""
        return f"{word} {figures.nano(abs(there - here))}{more} an hour at this load."


def address(visit: Visit, key: str, act: str) -> str:
    return f"{reverse('act', args=[key, act])}?{urlencode({'environment': visit.environment.key})}"


def home(visit: Visit, key: str) -> str:
    return f"{reverse('route', args=[key])}?{urlencode({'environment': visit.environment.key})}"


def of_route(visit: Visit, one: Standing, prices: Prices) -> list[Act]:
    """The safest first; at most one of them is a main act."""
    route, rollout = one.route, one.live
    acts: list[Act] = []
    if route.switch:
        acts.append(restore(visit, one))
    if rollout is not None:
        if one.approval is not None:
            acts.append(approve(visit, one, rollout))
        acts.append(
            pause(visit, rollout, one) if rollout.state == Rollout.State.RUNNING else resume(visit, rollout, one)
        )
        acts.append(roll_back(visit, one, rollout, prices))
        if rollout.state == Rollout.State.RUNNING and one.approval is None and rollout.progress().following is not None:
            acts.append(next_stage(visit, one, rollout))
    elif back := lately_finished(one, visit.now):
        acts.append(roll_back(visit, one, back, prices))
    if route.fallback_variant and not route.switch and route.weights.get(route.fallback_variant) != stages.WHOLE:
        acts.append(fall_back(visit, one, prices))
    return acts


def to_take_back(one: Standing, now: datetime) -> Rollout | None:
    """The live rollout, or one that has just finished."""
    return one.live or lately_finished(one, now)


def lately_finished(one: Standing, now: datetime) -> Rollout | None:
    """A rollout that finished within a day can still be taken back."""
    last = one.rollout
    if last is None or last.state != Rollout.State.FINISHED or last.ended_at is None or now - last.ended_at > A_DAY:
        return None
    return last


def named(visit: Visit, one: Standing, name: str) -> Act | None:
    """The act behind an address; None where it is not offered now. Its price is told by `of_route`."""
    live, unpriced = one.live, Prices(())
    match name:
        case "pause":
            return pause(visit, live, one) if live else None
        case "resume":
            return resume(visit, live, one) if live else None
        case "roll-back":
            back = to_take_back(one, visit.now)
            return roll_back(visit, one, back, unpriced) if back else None
        case "next-stage":
            return next_stage(visit, one, live) if live else None
        case "approve":
            return approve(visit, one, live) if live else None
        case "fall-back":
            return fall_back(visit, one, unpriced) if one.route.fallback_variant else None
        case "restore":
            return restore(visit, one)
        case "undo":
            return undo(visit, one, one.act) if one.act else None
    return None


def who(visit: Visit, role: Role) -> tuple[bool, str]:
    return (True, "") if visit.may(role) else (False, visit.who_may(role))


def pause(visit: Visit, rollout: Rollout, one: Standing) -> Act:
    can, why_not = who(visit, Role.OPERATOR)
    return Act(
        key="pause",
        label=f"Pause at {figures.share(rollout.share)}" if rollout.share else "Pause",
        href=address(visit, one.route.key, "pause"),
        icon="pause",
        css="is-big",
        effect="Traffic stays as it is. Nothing advances until you resume. Rollback stays armed.",
        shortcut="p",
        can=can,
        why_not=why_not,
        back=home(visit, one.route.key),
    )


def resume(visit: Visit, rollout: Rollout, one: Standing) -> Act:
    can, why_not = who(visit, Role.OPERATOR)
    present = rollout.progress().present
    comes_back = present is not None and not rollout.share and not rollout.shadow
    effect = "The plan goes on from here; guardrails decide when."
    if comes_back and present is not None:
        effect = f"{figures.share(present.share or present.shadow)} goes to {rollout.candidate_name} again."
    return Act(
        key="resume",
        label="Resume",
        href=address(visit, one.route.key, "resume"),
        presses=2 if comes_back else 1,
        icon="play",
        css="is-big",
        effect=effect,
        shortcut="p",
        can=can,
        why_not=why_not,
        title=f"Resume {one.route.key}",
        question=f"Send {figures.share(present.share or present.shadow)} to {rollout.candidate_name} again?"
        if present
        else "",
        yes="Yes, resume",
        yes_css="is-main",
        keep="Stay paused",
        back=home(visit, one.route.key),
    )


def roll_back(visit: Visit, one: Standing, rollout: Rollout, prices: Prices) -> Act:
    can, why_not = who(visit, Role.OPERATOR)
    baseline = figures.short_name(rollout.baseline_name)
    moved = figures.share(rollout.share) if rollout.share else "no live traffic"
    effect = f"Moves {moved} back." if rollout.share else "No live traffic moves; the shadow ends."
    return Act(
        key="roll-back",
        label=f"Roll back to {baseline}",
        href=address(visit, one.route.key, "roll-back"),
        presses=2,
        icon="undo-2",
        css="is-big is-danger",
        effect=f"{effect} {prices.more('baseline')}" if prices.rows else effect,
        shortcut="b",
        can=can,
        why_not=why_not,
        title=f"Roll back {one.route.key}",
        question=f"Send 100{figures.NBSP}% to {baseline}?",
        yes=f"Yes, send 100{figures.NBSP}% to {baseline}",
        keep=f"Keep {figures.share(rollout.share)} on {figures.short_name(rollout.candidate_name)}"
        if rollout.share
        else "Keep it",
        back=home(visit, one.route.key),
    )


def next_stage(visit: Visit, one: Standing, rollout: Rollout) -> Act:
    can, why_not = who(visit, Role.OPERATOR)
    progress = rollout.progress()
    following = progress.following
    share = figures.share(following.share or following.shadow) if following else f"100{figures.NBSP}%"
    if rollout.warned:
        can, why_not = False, "Not while there is evidence of harm."
    elif progress.needs_approval:
        can, why_not = False, "The next stage needs an approval; it is asked for when the guardrails allow it."
    return Act(
        key="next-stage",
        label=f"Next stage, {share}",
        href=address(visit, one.route.key, "next-stage"),
        presses=2,
        icon="skip-forward",
        css="is-big is-quiet",
        effect="Without waiting for time or samples.",
        can=can,
        why_not=why_not,
        title=f"Next stage of {one.route.key}",
        question=f"Send {share} to {rollout.candidate_name} now?",
        yes=f"Yes, send {share} to {figures.short_name(rollout.candidate_name)}",
        yes_css="is-main",
        keep=f"Stay at {figures.share(rollout.share)}",
        back=home(visit, one.route.key),
        expected=rollout.revision,
    )


def approve(visit: Visit, one: Standing, rollout: Rollout) -> Act:
    can, why_not = who(visit, Role.APPROVER)
    if can and str(visit.actor) in (rollout.requested_by, rollout.created_by):
        can, why_not = False, "You asked for this; somebody else must approve it."
    following = rollout.progress().following
    share = figures.share(following.share or following.shadow) if following else f"100{figures.NBSP}%"
    return Act(
        key="approve",
        label=f"Approve {share}",
        href=address(visit, one.route.key, "approve"),
        presses=2,
        icon="check",
        css="is-big is-main",
        effect="The stage begins as soon as nothing else holds it.",
        shortcut="A",
        can=can,
        why_not=why_not,
        title=f"Approve the next stage of {one.route.key}",
        question=f"Approve {share} for {rollout.candidate_name}?",
        yes=f"Yes, approve {share}",
        yes_css="is-main",
        keep="Not yet",
        back=home(visit, one.route.key),
    )


def fall_back(visit: Visit, one: Standing, prices: Prices) -> Act:
    can, why_not = who(visit, Role.OPERATOR)
    target = figures.short_name(one.name(one.route.fallback_variant))
    effect = "Everybody gets the fallback, whatever rules and split say."
    return Act(
        key="fall-back",
        label=f"Fall back to {target}",
        href=address(visit, one.route.key, "fall-back"),
        presses=2,
        icon="life-buoy",
        css="is-big is-quiet",
        effect=f"{effect} {prices.more('fallback')}" if prices.rows else effect,
        shortcut="f",
        can=can,
        why_not=why_not,
        title=f"Fall back on {one.route.key}",
        question=f"Send everybody to {target}?",
        yes=f"Yes, send 100{figures.NBSP}% to {target}",
        keep="Keep the split",
        back=home(visit, one.route.key),
    )


def restore(visit: Visit, one: Standing) -> Act:
    can, why_not = who(visit, Role.OPERATOR)
    return Act(
        key="restore",
        label="Restore",
        href=address(visit, one.route.key, "restore"),
        presses=2,
        icon="history",
        css="is-big",
        effect="Rules and split decide again. A rollout that was interrupted stays paused.",
        can=can,
        why_not=why_not,
        title=f"Restore {one.route.key}",
        question="Let rules and split decide again?",
        yes="Yes, restore",
        yes_css="is-main",
        keep="Stay on the fallback",
        back=home(visit, one.route.key),
    )


def undo(visit: Visit, one: Standing, decision: Decision) -> Act | None:
    """One's own act, for five minutes."""
    left = UNDO_WITHIN - (visit.now - decision.at)
    mine = decision.by == str(visit.actor) and decision.kind in UNDOABLE and not decision.undone_by
    if not mine or left <= timedelta(0) or decision.rollout_id is None:
        return None
    whole = int(left.total_seconds())
    return Act(
        key="undo",
        label=f"Undo, {whole // 60}:{whole % 60:02d} left",
        href=address(visit, one.route.key, "undo"),
        presses=2,
        icon="rotate-cw",
        css="is-quiet",
        title=f"Undo on {one.route.key}",
        question="Undo your own act?",
        effect="Everything as it was, but paused.",
        yes="Yes, undo",
        yes_css="is-main",
        keep="Leave it",
        back=home(visit, one.route.key),
    )


def acknowledge(visit: Visit, alert_id: str, *, big: bool = False, effect: str = "") -> Act:
    can, why_not = who(visit, Role.OPERATOR)
    return Act(
        key=f"acknowledge-{alert_id}",
        label="Acknowledge",
        href=reverse("acknowledge", args=[alert_id]),
        icon="check" if big else "",
        css="is-main is-big" if big else "is-main",
        effect=effect,
        shortcut="a",
        can=can,
        why_not=why_not,
    )


def silence(visit: Visit, alert_id: str, hours: int, until: datetime, *, css: str = "is-quiet") -> Act:
    can, why_not = who(visit, Role.OPERATOR)
    return Act(
        key=f"silence-{alert_id}-{hours}",
        label=f"Silence to {figures.minute(until)}",
        href=reverse("silence", args=[alert_id, hours]),
        css=css,
        can=can,
        why_not=why_not,
    )
