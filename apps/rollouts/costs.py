"""What all traffic of a route costs by the hour as it is split now, and would cost on each target.

The load is that of the last minutes, and each variant's mean cost that of the last hour, or of the week where it had no
request in that hour: an hour that spans a change of models says nothing about what is spent now. A target that nobody
has tried is priced by the list, at the tokens that the route's requests take now, and says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from apps.catalog import queries as catalog
from apps.flags.queries import RouteView
from apps.rollouts.domain import plan
from apps.rollouts.domain.plan import Cost
from apps.rollouts.models import RollbackPlan, Rollout
from apps.telemetry import queries as telemetry
from apps.telemetry.queries import SpendRow, VariantCost

LATELY = timedelta(minutes=5)
ENOUGH = 20  # requests of the last minutes that make a rate; else the whole hour does
MEASURED_OVER = timedelta(hours=1)
KNOWN_FROM = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Asked:
    route: RouteView
    candidate: str = ""
    baseline: str = ""

    @property
    def targets(self) -> list[tuple[str, str]]:
        baseline = self.baseline or self.route.default_variant
        named = [("baseline", baseline), ("fallback", self.route.fallback_variant), ("candidate", self.candidate)]
        return [(target, variant) for target, variant in named if variant]

    @property
    def shares(self) -> dict[str, int]:
        """Variant -> ten-thousandths of the traffic, under whatever switch is set."""
        if self.route.on_fallback and self.route.fallback_variant:
            return {self.route.fallback_variant: 10_000}
        return {variant: part for variant, part in self.route.weights.items() if part}


def of_route(view: RouteView, now: datetime, *, candidate: str = "", baseline: str = "") -> list[Cost]:
    """What the present split costs, then each target; None for a variant of which nothing is known."""
    return of_routes([Asked(view, candidate, baseline)], now)[view.key]


def of_routes(asked: Sequence[Asked], now: datetime) -> dict[str, list[Cost]]:
    """The same for many routes of one environment, in a few statements."""
    if not asked:
        return {}
    environment, keys = asked[0].route.environment, [one.route.key for one in asked]
    hour = telemetry.costs_by_variant(environment, keys, now - MEASURED_OVER, now)
    lately = telemetry.costs_by_variant(environment, list(hour), now - LATELY, now)
    quiet = [one.route.key for one in asked if missing(one, priced(hour.get(one.route.key, ())))]
    week = telemetry.costs_by_variant(environment, quiet, now - KNOWN_FROM, now) if quiet else {}
    unknown = [
        one.route.key
        for one in asked
        if missing(one, priced(week.get(one.route.key, ())) | priced(hour.get(one.route.key, ())))
    ]
    tokens = tokens_of(environment, unknown, now) if unknown else {}
    return {
        key: rows_of(
            one,
            load=load_of(priced(lately.get(key, ())), priced(hour.get(key, ()))),
            known=priced(week.get(key, ())) | priced(hour.get(key, ())),
            tokens=tokens.get(key),
            now=now,
        )
        for key, one in zip(keys, asked, strict=True)
    }


Measured = Mapping[str, tuple[int, int]]  # variant -> (priced live requests, nano-USD)


def load_of(lately: Measured, hour: Measured) -> float:
    """Requests by the hour."""
    n = sum(requests for requests, _ in lately.values())
    return n * (MEASURED_OVER / LATELY) if n >= ENOUGH else float(sum(requests for requests, _ in hour.values()))


def priced(found: Sequence[VariantCost]) -> dict[str, tuple[int, int]]:
    return {row.variant: (row.priced, row.cost_nano) for row in found if row.priced > 0}


def missing(one: Asked, known: Measured) -> list[str]:
    return sorted(({variant for _, variant in one.targets} | one.shares.keys()) - known.keys())


def rows_of(one: Asked, *, load: float, known: Measured, tokens: SpendRow | None, now: datetime) -> list[Cost]:
    listed: dict[str, tuple[int, int]] = {}
    if tokens is not None:
        requests = sum(n for n, _ in known.values())
        for variant in missing(one, known):
            if (nano := by_list(one.route, variant, tokens, requests, now)) is not None:
                listed[variant] = (1, nano)
    every = {**known, **listed}
    rows = plan.costs_per_hour(one.targets, every, load, listed=listed.keys())
    return [plan.cost_of_split(one.shares, every, load), *rows]


def tokens_of(environment: str, keys: Sequence[str], now: datetime) -> dict[str, SpendRow]:
    """Token counts of a week: what nobody has tried yet is priced as if it took the same prompts and answers."""
    where = {"route": list(keys), "arm": "live"}
    rows = telemetry.spend(environment, now - KNOWN_FROM, now, by=("route",), where=where)
    return {row.keys["route"]: row for row in rows if row.calls > 0}


def by_list(view: RouteView, variant: str, tokens: SpendRow, requests: int, now: datetime) -> int | None:
    model = view.model(variant)
    price = catalog.price_book().find(None, model, now) if model else None
    if price is None or not requests or not tokens.input_tokens:
        return None
    inputs, outputs = tokens.input_tokens // requests, tokens.output_tokens // requests
    return price.cost_nano(inputs, min(tokens.cached_input_tokens // requests, inputs), outputs)


def price(rollout: Rollout, view: RouteView, now: datetime) -> None:
    """Before a rollout is armed, its way back says what each target costs."""
    rows = of_route(view, now, candidate=rollout.candidate, baseline=rollout.baseline)
    for planned in RollbackPlan.objects.filter(environment=rollout.environment, route=rollout.route):
        planned.price([row.as_dict() for row in rows], now)
