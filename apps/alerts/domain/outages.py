"""Is it the provider? One that fails on several routes at once is told once, not once for each route.

In go the calls of the last minute by provider and route, out comes a word about each provider: down, not down, or
nothing where there are too few calls to say.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

LEAST_CALLS = 20  # of a provider
LEAST_OF_A_ROUTE = 5
LEAST_ROUTES = 2  # one route alone is that route's incident
HALF = 0.5


@dataclass(frozen=True, slots=True)
class Calls:
    provider: str
    route: str
    calls: int
    errors: int

    @property
    def fails(self) -> bool:
        return self.calls >= LEAST_OF_A_ROUTE and self.errors >= HALF * self.calls


@dataclass(frozen=True, slots=True)
class Standing:
    """How a provider does, over all routes that called it."""

    provider: str
    calls: int
    errors: int
    routes: int
    failing: int

    @property
    def is_down(self) -> bool:
        return self.failing >= LEAST_ROUTES and self.failing >= HALF * self.routes and self.errors >= HALF * self.calls

    @property
    def sentence(self) -> str:
        share = round(100 * self.errors / self.calls)
        return (
            f"Provider {self.provider} fails on {self.failing} of {self.routes} routes: "
            f"{share} % of {self.calls} calls in the last minute."
        )


def standings(found: Iterable[Calls]) -> list[Standing]:
    """Of the providers with enough calls to say anything, by name."""
    by_provider: dict[str, dict[str, Calls]] = defaultdict(dict)
    for one in found:
        routes = by_provider[one.provider]
        same = routes.get(one.route)
        routes[one.route] = (
            Calls(one.provider, one.route, one.calls + same.calls, one.errors + same.errors) if same else one
        )
    out = [standing(provider, routes.values()) for provider, routes in sorted(by_provider.items()) if provider]
    return [one for one in out if one.calls >= LEAST_CALLS]


def standing(provider: str, routes: Iterable[Calls]) -> Standing:
    rows = list(routes)
    return Standing(
        provider,
        calls=sum(row.calls for row in rows),
        errors=sum(row.errors for row in rows),
        routes=len(rows),
        failing=sum(row.fails for row in rows),
    )
