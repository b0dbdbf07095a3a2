"""What calls that nobody could price are taken for: never for nothing.

The most that their variant allows for a request; else the dearest that is known, the nearest first: what a call of
their route costs, what its other variants allow, what its variants' models would take for the same tokens by the price
list, what a call costs anywhere in the environment, what the dearest model of the catalogue would take. Calls of which
not even that is known (nobody told their tokens, and nothing else was spent) are told as unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from apps.catalog import queries as catalog
from apps.catalog.domain.contenders import CONTENDERS
from apps.flags import queries as flags
from apps.flags.queries import RouteView
from apps.telemetry import queries as telemetry
from apps.telemetry.domain.pricing import cap_of
from apps.telemetry.queries import SpendRow


@dataclass(frozen=True, slots=True)
class Assumed:
    nano: int = 0
    unknown: int = 0  # calls


@dataclass(slots=True)
class UnpricedCalls:
    """Calls of one variant that have no price, and the tokens that were told of them."""

    route: str
    variant: str
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def listed(self, models: Iterable[str], at: datetime) -> int:
        """What the dearest of these models would have taken, in nano-USD; 0 where none has a price."""
        book = catalog.price_book()
        inputs = self.input_tokens // self.calls
        prices = [price for model in models if model and (price := book.find(None, model, at))]
        costs = (
            price.cost_nano(self.input_tokens, 0, self.output_tokens, calls=self.calls, edge=price.edge_of(inputs))
            for price in prices
        )
        return max(costs, default=0)


def assume(environment: str, where: Mapping[str, str], since: datetime, until: datetime) -> Assumed:
    """Of all calls of a scope, in the ledger's columns."""
    unpriced = unpriced_of(environment, where, since, until)
    routes = sorted({one.route for one in unpriced})
    views = {view.key: view for view in flags.routes(environment, routes)}
    known = Known(environment, routes, since, until)
    nano = unknown = 0
    for one in unpriced:
        taken_for = known.cost_of(one, views.get(one.route))
        nano += taken_for
        unknown += one.calls if not taken_for else 0
    return Assumed(nano, unknown)


def unpriced_of(environment: str, where: Mapping[str, str], since: datetime, until: datetime) -> list[UnpricedCalls]:
    """A price that came later and was applied has taken its calls out."""
    found: dict[tuple[str, str], UnpricedCalls] = {}
    for row in telemetry.spend(environment, since, until, by=("route", "variant", "rule"), where=where):
        if row.unpriced:
            key = (row.keys["route"], row.keys["variant"])
            one = found.get(key) or found.setdefault(key, UnpricedCalls(*key))
            one.calls += row.unpriced
            one.input_tokens += row.input_tokens
            one.output_tokens += row.output_tokens
    return [one for one in found.values() if one.calls > 0]


class Known:
    """What other calls of that time cost. Each figure is asked for where one is needed."""

    def __init__(self, environment: str, routes: list[str], since: datetime, until: datetime) -> None:
        self.environment, self.routes, self.since, self.until = environment, routes, since, until

    def cost_of(self, one: UnpricedCalls, view: RouteView | None) -> int:
        variants = view.variants if view else {}
        caps = {name: cap_of(value) or 0 for name, value in variants.items()}
        return (
            one.calls * caps.get(one.variant, 0)
            or one.calls * self.by_route.get(one.route, 0)
            or one.calls * max(caps.values(), default=0)
            or one.listed((view.model(name) for name in variants) if view else (), self.since)
            or one.calls * self.anywhere
            or one.listed(self.catalogue, self.since)
        )

    @cached_property
    def by_route(self) -> dict[str, int]:
        """The dearest variant's mean cost of a call."""
        found: dict[str, int] = {}
        rows = telemetry.spend(
            self.environment, self.since, self.until, by=("route", "variant"), where={"route": self.routes}
        )
        for row in rows:
            found[row.keys["route"]] = max(found.get(row.keys["route"], 0), mean_of(row))
        return found

    @cached_property
    def anywhere(self) -> int:
        rows = telemetry.spend(self.environment, self.since, self.until, by=("route", "variant"))
        return max(map(mean_of, rows), default=0)

    @cached_property
    def catalogue(self) -> list[str]:
        """Those that it is shipped with stand in it from a worker's first start on."""
        return [*(view.model.key for view in catalog.models()), *(one.priced_as for one in CONTENDERS)]


def mean_of(row: SpendRow) -> int:
    priced = row.calls - row.unpriced
    return row.spent_nano // priced if priced > 0 else 0
