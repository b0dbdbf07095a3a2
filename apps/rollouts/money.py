"""Crossed money limits, as seen from each route that they cover.

A budget may be wider than a route: it then acts on its routes in the order of what an act saves by the hour. A limit is
never kept by going somewhere dearer: what is asked for is refused where the target is not measurably cheaper, and the
refusal is told.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from apps.budgets.domain.money import MoneyVerdict
from apps.flags.queries import RouteView
from apps.rollouts import costs
from apps.rollouts.domain import plan
from apps.rollouts.domain.machine import Pressure
from apps.rollouts.models import Rollout

SILENT = frozenset({"", "alert"})  # budgets tells these itself; no traffic moves


@dataclass(frozen=True, slots=True)
class Pressed:
    route: RouteView
    pressures: list[Pressure]
    saves_nano: int  # by the hour, as far as it is known


def pressures_on(
    routes: Sequence[RouteView], verdicts: Iterable[MoneyVerdict], rollouts: Sequence[Rollout], now: datetime
) -> dict[tuple[str, str], list[Pressure]]:
    """(environment, route) -> what money asks of it, the route first that saves most."""
    asking = [verdict for verdict in verdicts if verdict.do not in SILENT]
    if not asking:
        return {}
    running = {(rollout.environment, rollout.route): rollout for rollout in rollouts}
    pressed = []
    for route in routes:
        rollout = running.get((route.environment, route.key))
        mine = [pressure_of(verdict, route) for verdict in asking if covers(verdict, route, rollout)]
        if mine:
            pressed.append(weighed(route, mine, rollout, now))
    pressed.sort(key=lambda one: one.saves_nano, reverse=True)
    return {(one.route.environment, one.route.key): one.pressures for one in pressed}


def covers(verdict: MoneyVerdict, route: RouteView, rollout: Rollout | None) -> bool:
    """Whether an act on this route can lower what this budget counts."""
    if verdict.environment != route.environment:
        return False
    models = {route.model(variant) for variant in route.variants}
    for key, value in verdict.scope.items():
        match key:
            case "route":
                fits = value == route.key
            case "owner":
                fits = value == route.owner
            case "rollout":
                fits = rollout is not None and value == rollout.id
            case "variant":
                fits = value in route.variants
            case "model":
                fits = value in models or any(model.partition("/")[2] == value for model in models)
            case "provider":
                fits = any(model.partition("/")[0] == value for model in models)
            case _:
                fits = True
        if not fits:
            return False
    return True


def pressure_of(verdict: MoneyVerdict, route: RouteView) -> Pressure:
    return Pressure(
        budget=verdict.budget,
        do=verdict.do,
        once=f"{verdict.once}/{route.key}",
        spent_nano=verdict.spent_nano,
        limit_nano=verdict.limit_nano,
        estimated_nano=verdict.estimated_nano,
        scope=", ".join(str(value) for _, value in sorted(verdict.scope.items())) or verdict.environment,
        period=verdict.period,
        state=verdict.state,
        share=verdict.share,
    )


def weighed(route: RouteView, mine: list[Pressure], rollout: Rollout | None, now: datetime) -> Pressed:
    """What each act would save; one that would cost more is refused."""
    candidate, baseline = (rollout.candidate, rollout.baseline) if rollout else ("", route.default_variant)
    rows = costs.of_route(route, now, candidate=candidate, baseline=baseline)
    by_target = {row.target: row.nano_per_hour for row in rows}
    here = by_target.get("now")
    there = by_target.get("fallback")
    saves = max((here or 0) - (there or 0), 0) if there is not None else 0
    return Pressed(route, [refuse_if_dearer(one, route, rows) for one in mine], saves)


def refuse_if_dearer(pressure: Pressure, route: RouteView, rows: Sequence[plan.Cost]) -> Pressure:
    if pressure.do == "fall_back":
        if not route.fallback_variant:
            return replace(pressure, refused="there is no fallback to go to")
        if route.on_fallback:
            return pressure
        if plan.is_cheaper(rows, "fallback", "now") is not True:
            return replace(pressure, refused="no cheaper fallback")
    if (
        pressure.do in ("roll_back", "step_back", "cap_share")
        and plan.is_cheaper(rows, "baseline", "candidate") is False
    ):
        return replace(pressure, refused="the baseline costs more than the candidate")
    return pressure
