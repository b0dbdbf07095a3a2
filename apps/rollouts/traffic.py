"""What a decision does to the flag: weights, shadow and switches, through the services of flags."""

from datetime import datetime
from typing import TypedDict

from apps.core.actors import Actor
from apps.flags import services as flags
from apps.flags.queries import RouteView
from apps.rollouts.domain import machine, split, stages
from apps.rollouts.models import Rollout


class Where(TypedDict):
    environment: str
    key: str
    by: Actor
    because: str
    now: datetime


def move(
    rollout: Rollout,
    route: RouteView,
    decision: machine.Decision,
    *,
    to_fallback: bool,
    by: Actor,
    because: str,
    now: datetime,
) -> int | None:
    """The flag as the decision wants it; the snapshot that carries it, or None where no byte changes."""
    where = Where(environment=rollout.environment, key=rollout.route, by=by, because=because[:500], now=now)
    match decision.kind:
        case "finish":
            published = flags.settle_on(**where, holder=rollout.holder, variant=rollout.candidate)
            flags.release_hold(**where, holder=rollout.holder)
            return published.version
        case "roll_back" | "fall_back" | "block":
            version = take_out(rollout, route, where)
            if decision.kind == "block":
                version = flags.switch_off(**where).version
            elif to_fallback:
                version = flags.switch_to_fallback(**where).version
            if machine.ends(decision):
                released = let_go(rollout, route, where)
                version = version or released
            return version
        case "advance" | "step_back" | "cap_share" | "stop_shadow":
            return set_to(rollout, route, where, share=decision.share, shadow=decision.shadow)
    return None


def take_out(rollout: Rollout, route: RouteView, where: Where) -> int | None:
    """The candidate at 0, whatever the weights are by now. Nobody's hold stands against it."""
    if rollout.candidate == route.default_variant:  # it had finished
        return flags.settle_on(**where, holder=route.held_by, variant=rollout.baseline).version
    if not route.weights.get(rollout.candidate):
        return None
    weights = split.without(route.weights, rollout.candidate, rollout.baseline)
    return flags.change_weights(**where, holder=route.held_by, weights=weights).version


def let_go(rollout: Rollout, route: RouteView, where: Where) -> int | None:
    """The flag is free again; from its next split on no call belongs to this trial."""
    if route.held_by != rollout.holder:
        return None
    return flags.release_hold(**where, holder=rollout.holder).version


def set_to(rollout: Rollout, route: RouteView, where: Where, *, share: int, shadow: int) -> int | None:
    version = None
    wanted = {"variant": rollout.candidate, "percent": stages.percent(shadow)} if shadow else None
    if route.shadow != wanted:
        version = flags.set_shadow(**where, holder=rollout.holder, shadow=wanted).version
    weights = split.with_share(rollout.baseline, rollout.candidate, share)
    if any(route.weights.get(variant, 0) != weight for variant, weight in weights.items()):
        version = flags.change_weights(**where, holder=rollout.holder, weights=weights).version
    return version


def stop_shadow(rollout: Rollout, route: RouteView, where: Where) -> int | None:
    """Only this candidate's shadow, and only while nobody else holds the flag."""
    if not route.shadow or route.shadow.get("variant") != rollout.candidate:
        return None
    if route.held_by not in ("", rollout.holder):
        return None
    return flags.set_shadow(**where, holder=route.held_by, shadow=None).version
