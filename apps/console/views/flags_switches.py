"""The presses on a flag's switches: GET is the first, POST the second. Neither waits for a draft or an approval."""

from django.http import HttpResponse, HttpResponseRedirect

from apps.access.domain.roles import Role
from apps.console import flag_queries
from apps.console.acts import Result
from apps.console.presenters import flag_switches
from apps.console.views.acts import once
from apps.console.visits import Visit, visited
from apps.core.refusals import NotFound, Refused
from apps.flags import services as flags
from apps.rollouts import services as rollouts

BECAUSE = "Pressed in the console."
DONE = {"off": "Switched off", "fall-back": "Done", "restore": "Restored"}


@visited
def press(visit: Visit, *, key: str, act: str) -> HttpResponse:
    if act not in DONE:
        raise NotFound(what="switch", key=act)
    found = flag_queries.one(visit.environment.key, key)
    if visit.request.method == "POST":
        return second_press(visit, key, act, found.is_route)
    offered = flag_switches.named(visit, found, act)
    if offered is None or (not visit.is_fragment and "keep" in visit.request.GET):
        return HttpResponseRedirect(flag_switches.home(visit, key))
    if visit.is_fragment:
        armed = offered.can and "keep" not in visit.request.GET
        return visit.fragment("console/_confirm.html" if armed else "console/_act.html", act=offered, key=key)
    return visit.page("console/confirm.html", current="flags", act=offered, key=key)


def second_press(visit: Visit, key: str, act: str, is_route: bool) -> HttpResponse:
    visit.must(Role.OPERATOR)
    try:
        first = once(visit, f"{key}/{act}", lambda: do(visit, key, act, is_route))
        version = flag_queries.one(visit.environment.key, key).flag.since_version
        result = Result(words=f"{DONE[act]}, snapshot {version}" if first else "Done already")
    except Refused as refused:
        result = Result(words=refused.detail, refused=True)
    if visit.is_fragment:
        return visit.fragment("console/_done.html", act={"key": act}, result=result)
    if result.refused:
        told = {"key": act, "back": flag_switches.home(visit, key), "title": result.words}
        return visit.page("console/confirm.html", current="flags", act=told, key=key, result=result, status=409)
    return HttpResponseRedirect(flag_switches.home(visit, key))


def do(visit: Visit, key: str, act: str, is_route: bool) -> None:
    environment, by, now = visit.environment.key, visit.actor, visit.now
    match act, is_route:
        case "off", _:
            flags.switch_off(environment=environment, key=key, by=by, because=BECAUSE, now=now)
        case "fall-back", _:
            rollouts.fall_back(environment=environment, route=key, by=by, because=BECAUSE, now=now)
        case _, True:
            rollouts.restore(environment=environment, route=key, by=by, because=BECAUSE, now=now)
        case _:
            flags.restore(environment=environment, key=key, by=by, because=BECAUSE, now=now)
