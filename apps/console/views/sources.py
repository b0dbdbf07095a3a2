"""From where calls come, how well they are covered, and what finds no route or no price."""

from datetime import datetime

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


@visited
def assign(visit: Visit) -> HttpResponse:
    """The second press: calls of this service and model are of that route from now on."""
    if visit.request.method != "POST":
        return HttpResponseRedirect(reverse("sources"))
    visit.must(Role.OPERATOR)
    asked = {name: visit.request.POST.get(name, "").strip() for name in ("service", "model", "route")}
    try:
        services.map_calls(
            environment=visit.environment.key,
            **asked,
            by=visit.actor,
            because="Mapped in the console.",
            now=visit.now,
        )
        result = Result(words=f"Mapped to {asked['route']}", second="Calls from now on are counted there.")
    except Refused as refused:
        result = Result(words=refused.detail, refused=True)
    if not visit.is_fragment and not result.refused:
        return HttpResponseRedirect(f"{reverse('sources')}#mappings")
    return answer(visit, "map", result)


@visited
def take_back(visit: Visit, *, id: str) -> HttpResponse:
    if visit.request.method != "POST":
        return HttpResponseRedirect(reverse("sources"))
    visit.must(Role.OPERATOR)
    try:
        services.unmap_calls(
            environment=visit.environment.key, id=id, by=visit.actor, because="Taken back in the console.",
            now=visit.now,
        )  # fmt: skip
        result = Result(words="Taken back", second="New calls are unassigned again. What was counted by it stays.")
    except Refused as refused:
        result = Result(words=refused.detail, refused=True)
    if not visit.is_fragment and not result.refused:
        return HttpResponseRedirect(f"{reverse('sources')}#mappings")
    return answer(visit, f"unmap-{id}", result)


@visited
def settle_endpoint(visit: Visit) -> HttpResponse:
    """Who answers at a host: from now on its calls have that provider's prices."""
    if visit.request.method != "POST":
        return HttpResponseRedirect(reverse("sources"))
    visit.must(Role.OPERATOR)
    asked = {name: visit.request.POST.get(name, "").strip() for name in ("host", "provider")}
    try:
        made = endpoints.settle_endpoint(
            environment=visit.environment.key, **asked, by=visit.actor, because="Settled in the console.", now=visit.now
        )
        result = Result(words=f"{made.provider} answers at {made.host}", second="Calls from now on have its prices.")
    except Refused as refused:
        result = Result(words=refused.detail, refused=True)
    if not visit.is_fragment and not result.refused:
        return HttpResponseRedirect(f"{reverse('sources')}#endpoints")
    return answer(visit, "endpoint", result)


@visited
def forget_endpoint(visit: Visit, *, id: str) -> HttpResponse:
    if visit.request.method != "POST":
        return HttpResponseRedirect(reverse("sources"))
    visit.must(Role.OPERATOR)
    try:
        endpoints.forget_endpoint(
            environment=visit.environment.key, id=id, by=visit.actor, because="Taken back in the console.",
            now=visit.now,
        )  # fmt: skip
        result = Result(words="Taken back", second="New calls are counted under the host again.")
    except Refused as refused:
        result = Result(words=refused.detail, refused=True)
    if not visit.is_fragment and not result.refused:
        return HttpResponseRedirect(f"{reverse('sources')}#endpoints")
    return answer(visit, f"endpoint-{id}", result)


@visited
def settle_shadow(visit: Visit, *, call_id: str, said: str) -> HttpResponse:
    """Money of a confirmed one moves to the shadow's arm, where the cap of its rollout counts it."""
    if visit.request.method != "POST":
        return HttpResponseRedirect(reverse("sources"))
    visit.must(Role.OPERATOR)
    try:
        found = shadows.settle(
            environment=visit.environment.key, call_id=call_id, said=said, by=visit.actor,
            because="Settled in the console.", now=visit.now,
        )  # fmt: skip
        moved = f"{figures.nano(found.cost_nano)} is of the shadow of {found.route} now."
        result = (
            Result(words="A shadow", second=moved) if said == shadows.SHADOW else Result(words="A call like others")
        )
    except Refused as refused:
        result = Result(words=refused.detail, refused=True)
    if not visit.is_fragment and not result.refused:
        return HttpResponseRedirect(f"{reverse('sources')}#suspected")
    return answer(visit, f"{said}-{call_id}", result)
