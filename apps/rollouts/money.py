"""Crossed money limits, as seen from each route that they cover.

A budget may be wider than a route: it then acts on its routes in the order of what an act saves by the hour. Where all
of the limit is gone it acts on all of them. Where it only will be, or burns too fast, it acts on the one that saves
most, and on the next one only if that was not enough. A limit is never kept by going somewhere dearer: what is asked
for is refused where the target is not known to be cheaper, the refusal is told, and the next gentler act that is asked
for takes its place.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from apps.budgets import ledger
from apps.budgets.domain.money import MoneyVerdict
from apps.budgets.domain.thresholds import AT, Threshold
from apps.flags import queries as flags
from apps.flags.queries import RouteView
from apps.rollouts import acting, costs
from apps.rollouts.costs import Asked
from apps.rollouts.domain import plan, words
from apps.rollouts.domain.machine import MOVES_TRAFFIC, Pressure
from apps.rollouts.models import Decision, Rollout

Where = tuple[str, str]  # environment, route
SETTLES = timedelta(minutes=10)  # an act shows in forecasts and burn rates this long after it
BACK = ("roll_back", "step_back", "cap_share")
OF_A_VARIANT = ("variant", "model", "provider")


@dataclass(frozen=True, slots=True)
class Pressed:
    route: RouteView
    pressures: list[Pressure]
    saves_nano: int  # by the hour, as far as it is known


def pressures(verdicts: Iterable[MoneyVerdict], now: datetime) -> dict[Where, list[Pressure]]:
    """What money asks of every route that it asks anything of, the route first that saves most."""
    by_environment: dict[str, list[MoneyVerdict]] = {}
    for verdict in verdicts:
        if verdict.asks:
            by_environment.setdefault(verdict.environment, []).append(verdict)
    found: dict[Where, list[Pressure]] = {}
    for environment, asking in sorted(by_environment.items()):
        live = Rollout.objects.live().filter(environment=environment).order_by("id")
        found |= pressures_on(flags.routes(environment), asking, list(live), now)
    return found


def pressures_on(
    routes: Sequence[RouteView], verdicts: Iterable[MoneyVerdict], rollouts: Sequence[Rollout], now: datetime
) -> dict[Where, list[Pressure]]:
    """(environment, route) -> what money asks of it."""
    asking = [verdict for verdict in verdicts if verdict.asks]
    running = {(rollout.environment, rollout.route): rollout for rollout in rollouts}
    covered: list[tuple[RouteView, Rollout | None, list[MoneyVerdict]]] = []
    for route in routes:
        rollout = running.get((route.environment, route.key))
        mine = [verdict for verdict in asking if covers(verdict, route, rollout)]
        if mine:
            covered.append((route, rollout, mine))
    rows = costs.of_routes([Asked(route, *arms_of(rollout)) for route, rollout, _ in covered], now)
    pressed = [weighed(route, rollout, mine, rows[route.key]) for route, rollout, mine in covered]
    pressed.sort(key=lambda one: (-one.saves_nano, one.route.key))
    return one_after_the_other(pressed, asking, now)


def arms_of(rollout: Rollout | None) -> tuple[str, str]:
    return (rollout.candidate, rollout.baseline) if rollout else ("", "")


def covers(verdict: MoneyVerdict, route: RouteView, rollout: Rollout | None) -> bool:
    """Whether an act on this route can lower what this budget counts: it spends there now, and the scope fits."""
    if verdict.environment != route.environment:
        return False
    if "route" not in verdict.scope and verdict.by_route and route.key not in verdict.by_route:
        return False
    if not any(counts(verdict, route, variant) for variant in route.variants):
        return False
    for key, value in verdict.scope.items():
        match key:
            case "route":
                fits = value == route.key
            case "owner":
                fits = value == route.owner
            case "rollout":
                fits = rollout is not None and value == rollout.id
            case "arm":
                fits = value != "shadow" or (rollout is not None and rollout.shadow > 0)
            case _:
                fits = True
        if not fits:
            return False
    return True


def counts(verdict: MoneyVerdict, route: RouteView, variant: str) -> bool:
    """Whether this budget counts that variant's calls, as far as its scope speaks of variants and models."""
    named = {name: value for name, value in verdict.scope.items() if name in OF_A_VARIANT}
    return ledger.covers(named, {"variant": variant, "model": route.model(variant)})


def pressure_of(
    verdict: MoneyVerdict, threshold: Threshold, route: RouteView, said: str, refused: str = ""
) -> Pressure:
    return Pressure(
        budget=verdict.budget,
        do=threshold.do,
        once=f"{verdict.once_of(threshold)}/{route.key}",
        spent_nano=verdict.spent_nano,
        limit_nano=verdict.limit_nano,
        estimated_nano=verdict.estimated_nano,
        scope=", ".join(str(value) for _, value in sorted(verdict.scope.items())) or verdict.environment,
        period=verdict.period.replace("_", " "),
        state=verdict.state,
        share=None if threshold.share is None else threshold.share * 100,
        refused=refused,
        costs=said,
    )


def weighed(
    route: RouteView, rollout: Rollout | None, mine: Sequence[MoneyVerdict], rows: Sequence[plan.Cost]
) -> Pressed:
    """What each act would save. Of each budget the most harmful act that can help, behind those that cannot."""
    by_target = {row.target: row.nano_per_hour for row in rows}
    here, there = by_target.get("now"), by_target.get("fallback")
    saves = 0 if there is None or route.switch else max((here or 0) - there, 0)
    said = costs_in_words(rows)
    asked = []
    for verdict in mine:
        for threshold in verdict.asks:
            refused = why_not(threshold.do, verdict, route, rollout, rows)
            asked.append(pressure_of(verdict, threshold, route, said, refused))
            if not refused:
                break
    return Pressed(route, asked, saves)


def costs_in_words(rows: Sequence[plan.Cost]) -> str:
    """now $3.10/h, baseline $3.10/h, fallback $0.16/h by the price list"""
    told = []
    for row in rows:
        if row.nano_per_hour is None:
            told.append(f"{row.target} not known")
        else:
            told.append(
                f"{row.target} {words.nano(row.nano_per_hour)}/h{' by the price list' if row.is_listed else ''}"
            )
    return words.listed(told)


def why_not(
    do: str, verdict: MoneyVerdict, route: RouteView, rollout: Rollout | None, rows: Sequence[plan.Cost]
) -> str:
    """Why this act would not lower what the budget counts, or not surely; empty where it would."""
    if do == "fall_back" or (do == "roll_back" and rollout is not None and acting.plans_fallback(rollout, route)):
        return why_not_to_fallback(verdict, route, rows)
    if do in BACK and rollout is not None:
        return why_not_to_baseline(verdict, route, rollout, rows)
    return ""


def why_not_to_fallback(verdict: MoneyVerdict, route: RouteView, rows: Sequence[plan.Cost]) -> str:
    if not route.fallback_variant:
        return "there is no fallback to go to"
    if route.switch:
        return ""
    if plan.is_cheaper(rows, "fallback", "now") is not True:
        return f"no cheaper fallback ({costs_in_words(rows)})"
    if not counts(verdict, route, route.fallback_variant):
        return ""
    by_target = {row.target: row for row in rows}
    counted = by_target["now"].only(variant for variant in route.variants if counts(verdict, route, variant))
    if plan.is_cheaper([by_target["fallback"], counted], "fallback", "now"):
        return ""
    return f"this budget counts the fallback too ({costs_in_words([counted, by_target['fallback']])})"


def why_not_to_baseline(verdict: MoneyVerdict, route: RouteView, rollout: Rollout, rows: Sequence[plan.Cost]) -> str:
    if not counts(verdict, route, rollout.candidate):
        return f"this budget does not count {rollout.candidate_name}, going back would lower nothing of it"
    if not rollout.share:
        return ""  # a shadow alone: nobody's request goes elsewhere
    cheaper = plan.is_cheaper(rows, "baseline", "candidate")
    if cheaper is None:
        return f"it is not known that the baseline costs less than the candidate ({costs_in_words(rows)})"
    return "" if cheaper else f"the baseline costs more than the candidate ({costs_in_words(rows)})"


def one_after_the_other(
    pressed: Sequence[Pressed], verdicts: Sequence[MoneyVerdict], now: datetime
) -> dict[Where, list[Pressure]]:
    """Of a crossing that lies ahead, only the route that saves most is pressed, and those that acted before."""
    spared: set[str] = set()
    for verdict in verdicts:
        for threshold in verdict.asks:
            if threshold.kind != AT and threshold.do in MOVES_TRAFFIC:
                spared |= spare(verdict.once_of(threshold), pressed, verdict.environment, now)
    kept: dict[Where, list[Pressure]] = {}
    for one in pressed:
        if asked := [pressure for pressure in one.pressures if pressure.once not in spared]:
            kept[one.route.environment, one.route.key] = asked
    return kept


def spare(crossing: str, pressed: Sequence[Pressed], environment: str, now: datetime) -> set[str]:
    """The names of this crossing on routes whose turn has not come."""
    names = [p.once for one in pressed for p in one.pressures if p.once.startswith(crossing) and not p.refused]
    if len(names) < 2:
        return set()
    acts = Decision.objects.filter(environment=environment, reason__contains=crossing).exclude(kind="hold")
    done = list(acts.values_list("reason", "at"))
    acted = {name for name in names if any(f":{name}:" in f":{reason}:" for reason, _ in done)}
    waiting = [name for name in names if name not in acted]
    if done and now - max(at for _, at in done) < SETTLES:
        return set(waiting)
    return set(waiting[1:])
