"""Everything to its safe value: every route of the environment to its fallback, in two presses.

Each route falls back by itself, with a decision and a version of its own: one that cannot does not keep the others.
"""

from collections.abc import Sequence

from django.http import HttpResponse

from apps.access.domain.roles import Role
from apps.console import figures
from apps.console.views.flags_draft import sentences_of, to
from apps.console.views.flags_switches import BECAUSE
from apps.console.visits import Visit, visited
from apps.core.refusals import Refused
from apps.flags import queries
from apps.flags.queries import RouteView
from apps.rollouts import services as rollouts


@visited
def fall_back(visit: Visit) -> HttpResponse:
    """The first press is a page that names each route and where it goes; the second is the act."""
    visit.must(Role.OPERATOR)
    if visit.request.method != "POST":
        return page(visit)
    done: list[str] = []
    failed: list[str] = []
    here = visit.environment.key
    for route in going(queries.routes(here)):
        try:
            rollouts.fall_back(environment=here, route=route.key, by=visit.actor, because=BECAUSE, now=visit.now)
            done.append(f"{route.key} to {route.fallback_variant}")
        except Refused as refused:
            failed.append(f"{route.key}: {sentences_of(refused)}")
    return page(visit, done=done, failed=failed)


def going(routes: Sequence[RouteView]) -> list[RouteView]:
    """Those that have a fallback and are not there yet; one that is switched off is left off."""
    return [route for route in routes if route.fallback_variant and not route.on_fallback and not route.is_off]


def page(visit: Visit, *, done: Sequence[str] = (), failed: Sequence[str] = ()) -> HttpResponse:
    routes = queries.routes(visit.environment.key)
    moving = going(routes)
    return visit.page(
        "console/flags/safety.html",
        current="flags",
        status=409 if failed else 200,
        moving=moving,
        staying=[(route, why_not(route)) for route in routes if route not in moving],
        done=done,
        failed=failed,
        count=figures.counted(len(moving), "route"),
        here=to(visit, "fall-back-all"),
        back=to(visit, "flags"),
    )


def why_not(route: RouteView) -> str:
    if route.is_off:
        return "switched off: it stays off"
    return "is on its fallback already" if route.on_fallback else "has no fallback: it stays as it is"
