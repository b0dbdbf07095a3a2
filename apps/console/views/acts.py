"""The presses. GET is the first press: the confirm in place, or the same confirm as a page. POST is the act, once."""

from collections.abc import Callable
from datetime import timedelta

from django.db import transaction
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse

from apps.access.domain.roles import Role
from apps.access.models import RememberedAnswer
from apps.alerts import services as alerts
from apps.alerts.models import Alert
from apps.console import figures, queries
from apps.console.acts import Act, Result
from apps.console.presenters import presses, rows
from apps.console.queries import Standing
from apps.console.visits import ConsoleRequest, Visit, console, visit_of, visited
from apps.core.refusals import NotFound, Refused
from apps.rollouts import queries as rollout_queries
from apps.rollouts import services as rollouts

ROLES = {"approve": Role.APPROVER}
DONE = {
    "pause": "Paused", "resume": "Resumed", "roll-back": "Done", "next-stage": "Done", "approve": "Approved",
    "fall-back": "Done", "restore": "Restored", "undo": "Undone",
}  # fmt: skip


@visited
def press(visit: Visit, *, key: str, act: str) -> HttpResponse:
    one = queries.standing(visit.environment.key, key, visit.now)
    if visit.request.method == "POST":
        return second_press(visit, one, key, act)
    offered = presses.named(visit, one, act) if visit.request.GET.get("keep") is None else None
    if offered is None or visit.request.GET.get("keep") is not None:
        return kept(visit, one, key, act)
    priced = with_price(visit, one, act)
    if visit.is_fragment:
        template = "console/_confirm.html" if priced.can else "console/_act.html"
        return visit.fragment(template, act=priced, key=key)
    return visit.page("console/confirm.html", current="routes", act=priced, key=key)


def with_price(visit: Visit, one: Standing, act: str) -> Act:
    """The act as the route's page offers it, with what it costs."""
    _, prices = rollout_queries.way_back(
        visit.environment.key, one.route.key, visit.now, rollout=presses.to_take_back(one, visit.now)
    )
    offered = presses.of_route(visit, one, presses.Prices(prices))
    found = next((each for each in offered if each.key == act), None) or presses.named(visit, one, act)
    if found is None:
        raise NotFound(what="act", key=act)
    return found


def kept(visit: Visit, one: Standing, key: str, act: str) -> HttpResponse:
    """Nothing was done: the button as it was."""
    if not visit.is_fragment:
        return HttpResponseRedirect(presses.home(visit, key))
    return visit.fragment("console/_act.html", act=with_price(visit, one, act))


def second_press(visit: Visit, one: Standing, key: str, act: str) -> HttpResponse:
    visit.must(ROLES.get(act, Role.OPERATOR))
    if act not in DONE:
        raise NotFound(what="act", key=act)
    try:
        first = once(visit, f"{key}/{act}", lambda: do(visit, one, key, act))
        result = done(visit, key, act) if first else Result(words="Done already", second="The same press came before.")
    except Refused as refused:
        result = Result(words=refused.detail, refused=True)
    if visit.is_fragment:
        return visit.fragment("console/_done.html", act={"key": act}, result=result)
    if result.refused:
        return visit.page(
            "console/confirm.html",
            current="routes",
            act={"key": act, "back": presses.home(visit, key), "title": result.words},
            key=key,
            result=result,
            status=409,
        )
    return HttpResponseRedirect(presses.home(visit, key))


@transaction.atomic
def once(visit: Visit, what: str, act: Callable[[], None]) -> bool:
    """A double tap sends the same key twice: the second finds the first's answer, and does nothing."""
    key = visit.request.POST.get("idempotency_key", "")[:255]
    if not key:
        act()
        return True
    answer, fresh = RememberedAnswer.objects.get_or_create(
        actor=str(visit.actor), key=key, defaults={"fingerprint": what[:64], "at": visit.now}
    )
    if not fresh:
        return False
    act()
    answer.remember(200, None)
    return True


def do(visit: Visit, one: Standing, key: str, act: str) -> None:
    """One press, one service."""
    by, now, because = visit.actor, visit.now, "Pressed in the console."
    environment, rollout = visit.environment.key, one.rollout
    if act == "fall-back":
        rollouts.fall_back(environment=environment, route=key, by=by, because=because, now=now)
        return
    if act == "restore":
        rollouts.restore(environment=environment, route=key, by=by, because=because, now=now)
        return
    if act == "undo":
        if one.act is None:
            raise NotFound(what="act to undo on", key=key)
        rollouts.undo(decision=one.act, by=by, because=because, now=now)
        return
    if rollout is None:
        raise NotFound(what="rollout on", key=key)
    match act:
        case "pause":
            rollouts.pause(rollout=rollout, by=by, because=because, now=now)
        case "resume":
            rollouts.resume(rollout=rollout, by=by, because=because, now=now)
        case "roll-back":
            rollouts.roll_back(rollout=rollout, by=by, because=because, now=now)
        case "approve":
            rollouts.approve(rollout=rollout, by=by, because=because, now=now)
        case "next-stage":
            expected = visit.request.POST.get("expected", "")
            number = int(expected) if expected.isdigit() else None
            rollouts.advance(rollout=rollout, by=by, because=because, now=now, expected=number)


def done(visit: Visit, key: str, act: str) -> Result:
    """`Done, snapshot 58`, then where the traffic is."""
    after = queries.standing(visit.environment.key, key, visit.now)
    moves = act in ("roll-back", "next-stage", "fall-back", "restore", "undo")
    words = f"{DONE[act]}, snapshot {after.route.since_version}" if moves else DONE[act]
    second = rows.all_on(after) if moves else "Nothing advances until you resume." if act == "pause" else ""
    undo = presses.undo(visit, after, after.act) if after.act is not None and moves and act != "undo" else None
    return Result(words=words, second=second, acts=(undo,) if undo else ())


@console
def acknowledge(request: ConsoleRequest, *, id: str) -> HttpResponse:
    return on_alert(request, id, "acknowledge", 0)


@console
def silence(request: ConsoleRequest, *, id: str, hours: int) -> HttpResponse:
    return on_alert(request, id, "silence", hours)


def on_alert(request: ConsoleRequest, id: str, act: str, hours: int) -> HttpResponse:
    alert = Alert.objects.filter(pk=id).first()
    if alert is None:
        raise NotFound(what="alert", key=id)
    visit = visit_of(request, alert.environment, role=Role.OPERATOR)
    back = alert.link if alert.link.startswith("/") and not alert.link.startswith("//") else reverse("alerts")
    if request.method != "POST":
        return HttpResponseRedirect(back)
    try:
        if act == "acknowledge":
            alerts.acknowledge(alert=alert, by=visit.actor, now=visit.now)
            result = Result(words="Acknowledged", second=f"by {visit.actor}. No traffic was moved.")
        else:
            until = visit.now + timedelta(hours=min(max(hours, 1), 24))
            alerts.silence(alert=alert, until=until, by=visit.actor, now=visit.now)
            result = Result(words=f"Silenced until {figures.moment(until, visit.now)}")
    except Refused as refused:
        result = Result(words=refused.detail, refused=True)
    if visit.is_fragment:
        key = f"{act}-{id}" + (f"-{hours}" if act == "silence" else "")
        return visit.fragment("console/_done.html", act={"key": key}, result=result)
    return HttpResponseRedirect(back)
