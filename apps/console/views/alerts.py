"""What fires, who has it, and what did not get through."""

from collections import defaultdict
from datetime import datetime, timedelta

from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.dateparse import parse_datetime

from apps.access.domain.roles import Role
from apps.alerts import queries as alerts
from apps.alerts import services
from apps.alerts.models import Alert, Channel, Delivery
from apps.console import figures
from apps.console.acts import Result
from apps.console.presenters import alarms
from apps.console.visits import ConsoleRequest, Visit, console, visit_of, visited
from apps.core.refusals import NotFound, Refused

LOG = 8
WEEK = timedelta(days=7)


@visited
def page(visit: Visit) -> HttpResponse:
    key, now = visit.environment.key, visit.now
    show = visit.request.GET.get("show", "open")
    show = show if show in alarms.TABS else "open"
    found = sorted(alerts.recent_alerts(key, 200), key=lambda one: alarms.ORDER[Alert.State(one.state)])
    is_open = [one for one in found if one.state != Alert.State.RESOLVED]
    over = [one for one in found if one.resolved_at is not None and one.resolved_at > now - WEEK]
    listed = {
        "open": is_open,
        "firing": [one for one in is_open if one.state == Alert.State.FIRING],
        "silenced": [one for one in is_open if one.state == Alert.State.SILENCED],
        "resolved": over,
    }
    lately = [one for one in over if one.resolved_at and one.resolved_at > now - timedelta(days=2)]
    stuck = alerts.failing_deliveries(key)
    return visit.page(
        "console/alerts.html",
        current="alerts",
        rows=alarms.rows(visit, listed[show], show),
        over=alarms.rows(visit, lately, show) if show == "open" else [],
        tabs=[
            {"title": title, "href": alarms.address(show=name), "count": len(listed[name]), "is_current": name == show}
            for name, title in alarms.TABS.items()
        ],
        failing=alarms.failing(visit, stuck, reached(stuck)),
        log=[alarms.log_line(one) for one in alerts.deliveries(key)[:LOG]],
        channels=channel_rows(visit),
        summary=summary(alerts.counts(key), found[0] if found else None, len({one.channel_id for one in stuck}), visit),
        silences=len(alerts.silences(key, now)) + len(alerts.silences(key, now, is_maintenance=True)),
    )


def channel_rows(visit: Visit) -> list[alarms.ChannelRow]:
    rows = alerts.channels(visit.environment.key)
    last: dict[str, Delivery] = {}
    for one in alerts.deliveries(visit.environment.key, state="taken")[:200]:
        last.setdefault(one.channel_id, one)
    stuck = {one.channel_id: one for one in reversed(alerts.failing_deliveries(visit.environment.key))}
    return [alarms.channel_row(visit, one, last.get(one.pk), stuck.get(one.pk)) for one in rows]


def reached(stuck: list[Delivery]) -> dict[str, list[str]]:
    """Which channels took the alerts that these failed to tell."""
    found: dict[str, list[str]] = defaultdict(list)
    taken = Delivery.objects.filter(alert__in={one.alert_id for one in stuck if one.alert_id}, done_at__isnull=False)
    for alert, name in taken.order_by("created_at").values_list("alert_id", "channel__name"):
        if name not in found[str(alert)]:
            found[str(alert)].append(name)
    return found


def summary(counts: dict[str, int], last: Alert | None, broken: int, visit: Visit) -> str:
    told = [f"{n} {state}" for state, n in counts.items() if n]
    fails = f" {broken} {'channel does' if broken == 1 else 'channels do'} not take its messages." if broken else ""
    if told:
        return f"{', '.join(told)}.{fails}"
    quiet = f"The last alert was {figures.ago(last.opened_at, visit.now)}." if last else "Nothing ever has."
    return f"Nothing is firing. {quiet}{fails}"


# --- presses ------------------------------------------------------------------------------------------------------


def alert_visit(request: ConsoleRequest, id: str) -> tuple[Alert, Visit]:
    alert = Alert.objects.filter(pk=id).first()
    if alert is None:
        raise NotFound(what="alert", key=id)
    return alert, visit_of(request, alert.environment, role=Role.OPERATOR)


@console
def silence(request: ConsoleRequest, *, id: str) -> HttpResponse:
    alert, visit = alert_visit(request, id)
    if request.method != "POST":
        return HttpResponseRedirect(alarms.address(silence=id))
    until = moment(request.POST.get("until", ""), visit.now)
    try:
        services.silence(
            alert=alert, until=until, by=visit.actor, now=visit.now, because=request.POST.get("because", "")[:500]
        )
        result = Result(words=f"Silenced until {alarms.told(until, visit.now)}", second=f"by {visit.actor}.")
    except Refused as refused:
        result = Result(words=refused.detail, refused=True)
    return answer(visit, f"silence-{id}", result)


def moment(told: str, now: datetime) -> datetime:
    """The end that the button stated; a page that stood open for long silences no longer than a day."""
    try:
        at = parse_datetime(told)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        return now + timedelta(hours=1)
    return min(at, now + alarms.DAY)


@console
def end_silence(request: ConsoleRequest, *, id: str) -> HttpResponse:
    alert, visit = alert_visit(request, id)
    if request.method != "POST":
        return HttpResponseRedirect(reverse("alerts"))
    try:
        services.end_alert_silence(alert=alert, by=visit.actor, now=visit.now)
        result = Result(words="The silence ends now", second="Who is on call hears of it if it still fires.")
    except Refused as refused:
        result = Result(words=refused.detail, refused=True)
    return answer(visit, f"end-silence-{id}", result)


@console
def send_again(request: ConsoleRequest, *, id: str) -> HttpResponse:
    delivery = Delivery.objects.select_related("channel").filter(pk=id).first()
    if delivery is None:
        raise NotFound(what="delivery", key=id)
    visit = visit_of(request, delivery.channel.environment, role=Role.OPERATOR)
    if request.method != "POST":
        return HttpResponseRedirect(reverse("alerts"))
    try:
        services.send_again(delivery=delivery, by=visit.actor, now=visit.now)
        result = Result(words="It leaves now", second="The log says what the receiver answers.")
    except Refused as refused:
        result = Result(words=refused.detail, refused=True)
    return answer(visit, f"again-{id}", result)


@console
def test_channel(request: ConsoleRequest, *, id: str) -> HttpResponse:
    channel = Channel.objects.filter(pk=id).first()
    if channel is None:
        raise NotFound(what="channel", key=id)
    visit = visit_of(request, channel.environment, role=Role.OPERATOR)
    if request.method != "POST":
        return HttpResponseRedirect(reverse("alerts"))
    outcome = services.test_channel(channel=channel, by=visit.actor, now=visit.now)
    if outcome.taken:
        result = Result(words="Taken", second=outcome.answer)
    else:
        result = Result(words="Not taken", second=outcome.answer, refused=True)
    if not visit.is_fragment:
        return visit.page(
            "console/alert_result.html", current="alerts", title=f"Test of {channel.name}", result=result,
            act={"key": f"test-{id}"},
        )  # fmt: skip
    return answer(visit, f"test-{id}", result)


def answer(visit: Visit, key: str, result: Result) -> HttpResponse:
    if visit.is_fragment:
        return visit.fragment("console/_done.html", act={"key": key}, result=result)
    if result.refused:
        return visit.page(
            "console/alert_result.html", current="alerts", title="Not done", result=result, act={"key": key},
            status=409,
        )  # fmt: skip
    return HttpResponseRedirect(reverse("alerts"))
