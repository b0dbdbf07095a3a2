"""What stands beneath a route's state, and how its traffic is told."""

from datetime import datetime, timedelta

from apps.alerts.models import Alert
from apps.console import figures
from apps.console.queries import Standing
from apps.rollouts.domain import stages
from apps.rollouts.models import Rollout


def alert_words(alert: Alert | None, now: datetime) -> str:
    if alert is None:
        return ""
    if alert.state == Alert.State.SILENCED and alert.silenced_until:
        return f"silenced to {figures.moment(alert.silenced_until, now)}"
    if alert.state == Alert.State.ACKNOWLEDGED:
        return f"with {alert.acknowledged_by}"
    return "firing, nobody yet"


def traffic(one: Standing, now: datetime) -> tuple[str, str]:
    """`25 % now, next 50 %`, and what the next step waits for."""
    route = one.route
    if route.is_off:
        return "switched off", f"by {route.changed_by}, {figures.moment(route.changed_at, now)}"
    if route.on_fallback:
        return (
            f"100{figures.NBSP}% {figures.short_name(one.name(route.fallback_variant))}",
            f"switched {figures.moment(route.changed_at, now)}",
        )
    rollout = one.live
    if rollout is not None:
        return live_traffic(one, rollout, now)
    answering = max(route.weights, key=lambda variant: route.weights[variant], default=route.default_variant)
    whole = f"{figures.share(route.weights.get(answering, 0))} {figures.short_name(one.name(answering))}"
    last = one.rollout
    if last is None:
        return whole, "no rollout"
    if last.state == Rollout.State.ROLLED_BACK:
        before = one.act.before if one.act and one.act.rollout_id == last.id else {}
        was = before.get("share", 0)
        told = f"0{figures.NBSP}% now, was {figures.share(was)}" if was else f"0{figures.NBSP}% now"
        stage = before.get("stage")
        return (
            told,
            f"stopped at stage {stage + 1} of {len(last.stages)}" if stage is not None else "before its first stage",
        )
    ended = figures.day(last.ended_at) if last.ended_at else ""
    return whole, f"{last.state} {ended}".strip()


def live_traffic(one: Standing, rollout: Rollout, now: datetime) -> tuple[str, str]:
    progress = rollout.progress()
    following = progress.following
    then = ""
    if following is not None:
        then = f", next {figures.share(following.share)}" if following.share else ", next shadow"
    if rollout.state == Rollout.State.PAUSED:
        by = f"by {rollout.paused_by}" if rollout.paused_by else "paused"
        return (
            f"{figures.share(rollout.share)} now, no next",
            f"{by}, {figures.ago(rollout.stage_began_at or now, now)}",
        )
    present = progress.present
    if present is not None and present.is_shadow:
        gone = (now - progress.stage_began_at) / timedelta(days=1)
        whole = present.min_seconds / 86_400
        told = (
            f"Shadow, day {int(gone) + 1} of {whole:.0f}" if whole >= 1 else f"Shadow {figures.share(rollout.shadow)}"
        )
        return told, then.removeprefix(", ").replace("next", "then", 1)
    return f"{figures.share(rollout.share)} now{then}", waits_for(one, rollout, present, now)


def waits_for(one: Standing, rollout: Rollout, present: stages.Stage | None, now: datetime) -> str:
    if one.approval is not None:
        return f"asked {figures.moment(one.approval.asked_at, now)}"
    if present is None:
        return "not in its first stage yet"
    if rollout.samples < present.min_samples:
        return f"{figures.count(rollout.samples)} of {figures.counted(present.min_samples, 'request')}"
    ends_at = (rollout.stage_began_at or now) + present.least_time
    if now < ends_at:
        return f"not before {figures.moment(ends_at, now)}"
    return f"{figures.counted(rollout.samples, 'request')} judged"


def part_of(one: Standing) -> float:
    """The pie of the glyph: the candidate's share now."""
    rollout = one.live
    return 0.0 if rollout is None else rollout.share / stages.WHOLE
