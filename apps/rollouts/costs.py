"""What all traffic of a route costs by the hour as it is split now, and would cost on each target.

The load is that of the last minutes, and each variant's mean cost that of the last hour, or of the week where it had no
request in that hour: an hour that spans a change of models says nothing about what is spent now.
"""

from datetime import datetime, timedelta

from apps.flags.queries import RouteView
from apps.rollouts.domain import plan
from apps.rollouts.domain.plan import Cost
from apps.rollouts.models import RollbackPlan, Rollout
from apps.telemetry import queries as telemetry

LATELY = timedelta(minutes=5)
ENOUGH = 20  # requests of the last minutes that make a rate; else the whole hour does
MEASURED_OVER = timedelta(hours=1)
KNOWN_FROM = timedelta(days=7)


def of_route(view: RouteView, now: datetime, *, candidate: str = "", baseline: str = "") -> list[Cost]:
    """What the present split costs, then each target; None for a variant of which no request was measured."""
    baseline = baseline or view.default_variant
    hour = measured(view, now, MEASURED_OVER)
    requests = requests_per_hour(view, hour, now)
    shares = present_shares(view)
    targets = [("baseline", baseline), ("fallback", view.fallback_variant), ("candidate", candidate)]
    known = dict(hour)
    wanted = {variant for _, variant in targets if variant} | shares.keys()
    missing = sorted(variant for variant in wanted if not known.get(variant, (0, 0))[0])
    if missing:
        week = measured(view, now, KNOWN_FROM)
        known |= {variant: week[variant] for variant in missing if variant in week}
    rows = plan.costs_per_hour([(name, v) for name, v in targets if v], known, requests)
    return [plan.cost_of_split(shares, known, requests), *rows]


def requests_per_hour(view: RouteView, hour: dict[str, tuple[int, int]], now: datetime) -> float:
    lately = sum(n for n, _ in measured(view, now, LATELY).values())
    if lately >= ENOUGH:
        return lately * (MEASURED_OVER / LATELY)
    return float(sum(n for n, _ in hour.values()))


def present_shares(view: RouteView) -> dict[str, int]:
    """Variant -> ten-thousandths of the traffic, under whatever switch is set."""
    if view.on_fallback and view.fallback_variant:
        return {view.fallback_variant: 10_000}
    return {variant: part for variant, part in view.weights.items() if part}


def measured(view: RouteView, now: datetime, over: timedelta) -> dict[str, tuple[int, int]]:
    """Variant -> (priced live requests, nano-USD)."""
    rows = telemetry.requests(view.environment, view.key, now - over, now)
    return {row.variant: (row.priced, row.cost_nano) for row in rows if row.arm == "live" and row.priced}


def price(rollout: Rollout, view: RouteView, now: datetime) -> None:
    """Before a rollout is armed, its way back says what each target costs."""
    rows = of_route(view, now, candidate=rollout.candidate, baseline=rollout.baseline)
    for planned in RollbackPlan.objects.filter(environment=rollout.environment, route=rollout.route):
        planned.price([row.as_dict() for row in rows], now)
