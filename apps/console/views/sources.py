"""From where calls come, how well they are covered, and what finds no route or no price."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse

from apps.access.domain.roles import Role
from apps.console import figures, observed
from apps.console.acts import Result
from apps.console.presenters import sources
from apps.console.views.answers import answer
from apps.console.visits import Visit, visited
from apps.core.refusals import Refused
from apps.flags import queries as flags
from apps.telemetry import endpoints, services, shadows
from apps.telemetry import queries as telemetry


@visited
def page(visit: Visit) -> HttpResponse:
    key, now = visit.environment.key, visit.now
    may = visit.may(Role.OPERATOR)
    asked = visit.request.GET.get("map", "") if may else ""
    strays, arrivals = observed.strays(key, now), observed.arrivals(key, now)
    heard = observed.last_heard(key)
    arrival_rows = [sources.arrival_row(one, coarse_windows(one, key, now), now) for one in arrivals]
    rows = [sources.source_row(one, heard.get(one.service), now) for one in observed.sources(key, now)]
    return visit.page(
        "console/sources.html",
        current="sources",
        summary=sources.summary(rows, strays, arrivals),
        sources=rows,
        arrivals=arrival_rows,
        too_coarse=telemetry.TOO_COARSE if any(row.p95_range for row in arrival_rows) else "",
        strays=[sources.stray_row(one, asked, now) for one in strays],
        asked=asked,
        routes=[view.key for view in flags.routes(key)],
        mappings=[sources.mapping_row(visit, one) for one in telemetry.mappings(key)],
        endpoints=[sources.endpoint_row(visit, one) for one in telemetry.endpoints(key, now - observed.DAY, now)],
        suspected=[sources.suspected_row(visit, one) for one in observed.suspected(key)],
        may_edit=may,
        who_may=visit.who_may(Role.OPERATOR),
    )


def coarse_windows(one: observed.Arrival, environment: str, now: datetime) -> list[telemetry.WindowRow]:
    """By variant, for the routes of which some latency is only known between bounds."""
    return telemetry.windows(environment, one.route, now - observed.DAY, now) if one.coarse else []


def press(visit: Visit, part: str, key: str, act: Callable[[], Result]) -> HttpResponse:
    """An operator's. Answered in its place, or on that part of the page."""
    if visit.request.method != "POST":
        return HttpResponseRedirect(reverse("sources"))
    visit.must(Role.OPERATOR)
    try:
        result = act()
    except Refused as refused:
        result = Result(words=refused.detail, refused=True)
    return answer(visit, key, result, back=f"{reverse('sources')}#{part}")


def asked_of(visit: Visit, *names: str) -> dict[str, Any]:
    return {name: visit.request.POST.get(name, "").strip() for name in names}


def taken(visit: Visit, because: str) -> dict[str, Any]:
    """What each act is told of who does it."""
    return {"environment": visit.environment.key, "by": visit.actor, "because": because, "now": visit.now}


@visited
def assign(visit: Visit) -> HttpResponse:
    """The second press: calls of this service and model are of that route from now on."""

    def act() -> Result:
        asked = asked_of(visit, "service", "model", "route")
        services.map_calls(**asked, **taken(visit, "Mapped in the console."))
        return Result(words=f"Mapped to {asked['route']}", second="Calls from now on are counted there.")

    return press(visit, "mappings", "map", act)


@visited
def take_back(visit: Visit, *, id: str) -> HttpResponse:
    def act() -> Result:
        services.unmap_calls(id=id, **taken(visit, "Taken back in the console."))
        return Result(words="Taken back", second="New calls are unassigned again. What was counted by it stays.")

    return press(visit, "mappings", f"unmap-{id}", act)


@visited
def settle_endpoint(visit: Visit) -> HttpResponse:
    """Who answers at a host: from now on its calls have that provider's prices."""

    def act() -> Result:
        asked = asked_of(visit, "host", "provider")
        made = endpoints.settle_endpoint(**asked, **taken(visit, "Settled in the console."))
        return Result(words=f"{made.provider} answers at {made.host}", second="Calls from now on have its prices.")

    return press(visit, "endpoints", "endpoint", act)


@visited
def forget_endpoint(visit: Visit, *, id: str) -> HttpResponse:
    def act() -> Result:
        endpoints.forget_endpoint(id=id, **taken(visit, "Taken back in the console."))
        return Result(words="Taken back", second="New calls are counted under the host again.")

    return press(visit, "endpoints", f"endpoint-{id}", act)


@visited
def settle_shadow(visit: Visit, *, call_id: str, said: str) -> HttpResponse:
    """Money of a confirmed one moves to the shadow's arm, where the cap of its rollout counts it."""

    def act() -> Result:
        found = shadows.settle(call_id=call_id, said=said, **taken(visit, "Settled in the console."))
        moved = f"{figures.nano(found.cost_nano)} is of the shadow of {found.route} now."
        is_shadow = said == shadows.SHADOW
        return Result(words="A shadow", second=moved) if is_shadow else Result(words="A call like others")

    return press(visit, "suspected", f"{said}-{call_id}", act)
