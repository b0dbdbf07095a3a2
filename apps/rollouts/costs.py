"""What all traffic of a route would cost by the hour on each target, from what was measured lately."""

from datetime import datetime, timedelta

from apps.flags.queries import RouteView
from apps.rollouts.domain import plan
from apps.rollouts.domain.plan import Cost
from apps.rollouts.models import RollbackPlan, Rollout
from apps.telemetry import queries as telemetry

MEASURED_OVER = timedelta(hours=1)
KNOWN_FROM = timedelta(days=7)


def of_route(view: RouteView, now: datetime, *, candidate: str = "", baseline: str = "") -> list[Cost]:
    """Each target at the requests of the last hour, at the mean cost that its variant had in the last hour or week."""
    baseline = baseline or view.default_variant
    hour = measured(view, now, MEASURED_OVER)
    requests = sum(n for n, _ in hour.values())
    targets = [("baseline", baseline), ("fallback", view.fallback_variant), ("candidate", candidate)]
    known = dict(hour)
    missing = [variant for _, variant in targets if variant and not known.get(variant, (0, 0))[0]]
    if missing:
        week = measured(view, now, KNOWN_FROM)
        known |= {variant: week[variant] for variant in missing if variant in week}
    rows = plan.costs_per_hour([(name, v) for name, v in targets if v], known, requests)
    nano = sum(nano for _, nano in hour.values())
    return [Cost("now", "", float(requests), nano if requests else None), *rows]


def measured(view: RouteView, now: datetime, over: timedelta) -> dict[str, tuple[int, int]]:
    """Variant -> (priced live requests, nano-USD)."""
    rows = telemetry.requests(view.environment, view.key, now - over, now)
    return {row.variant: (row.priced, row.cost_nano) for row in rows if row.arm == "live" and row.priced}


def price(rollout: Rollout, view: RouteView, now: datetime) -> None:
    """Before a rollout is armed, its way back says what each target costs."""
    rows = of_route(view, now, candidate=rollout.candidate, baseline=rollout.baseline)
    for planned in RollbackPlan.objects.filter(environment=rollout.environment, route=rollout.route):
        planned.price([row.as_dict() for row in rows], now)
