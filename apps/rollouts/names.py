"""How people call the variants of a route: by the model's name in the catalogue, where that tells them apart."""

from collections import Counter
from collections.abc import Iterable

from apps.catalog.models import Model
from apps.flags.queries import RouteView


def names_of(route: RouteView) -> dict[str, str]:
    """Variant -> GPT-4.1. Two variants of one model keep their own names, and so does a model nobody catalogued."""
    return names_in([route])[route.environment, route.key]


def names_in(routes: Iterable[RouteView]) -> dict[tuple[str, str], dict[str, str]]:
    """The same for many routes with one look into the catalogue."""
    routes = list(routes)
    wanted = {route.model(variant) for route in routes for variant in route.variants}
    known = dict(Model.objects.filter(key__in=wanted).values_list("key", "name"))
    return {(route.environment, route.key): told_apart(route, known) for route in routes}


def told_apart(route: RouteView, known: dict[str, str]) -> dict[str, str]:
    names = {variant: known.get(route.model(variant), variant) for variant in route.variants}
    uses = Counter(names.values())
    return {variant: name if uses[name] == 1 else variant for variant, name in names.items()}
