"""What fires, who has it, and what did not get through."""

from collections import Counter, defaultdict
from datetime import datetime, timedelta

from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.dateparse import parse_datetime

from apps.access import queries as access
from apps.access.domain.roles import Role
from apps.alerts import queries as alerts
from apps.alerts import services
from apps.alerts.models import Alert, Delivery
from apps.console import figures
from apps.console.presenters import alarms, deliveries
from apps.console.presenters import channels as presented
from apps.console.views.answers import pressed
from apps.console.views.channels import channel_rows
from apps.console.visits import ConsoleRequest, Visit, console, visit_of, visited
from apps.core.refusals import NotFound

LOG = 8
SHOWN = 100  # rows: the worst
WEEK = timedelta(days=7)


@visited
def page(visit: Visit) -> HttpResponse:
    key, now = visit.environment.key, visit.now
    show = visit.request.GET.get("show", "open")
    show = show if show in alarms.TABS else "open"
    is_open = alerts.open_alerts(key)
    over = alerts.resolved_alerts(key, since=now - WEEK)
    listed = {
        "open": is_open,
        "firing": [one for one in is_open if one.state == Alert.State.FIRING],
        "silenced": [one for one in is_open if one.state == Alert.State.SILENCED],
        "resolved": over,
    }
    lately = [one for one in over if one.resolved_at and one.resolved_at > now - timedelta(days=2)]
    stuck = alerts.failing_deliveries(key)
    around = alarms.Around(
        show,
        people=access.people_with(Role.OPERATOR, visit.environment),
        mutes=Counter(one.muted_by for one in is_open if one.muted_by),
    )
    return visit.page(
        "console/alerts.html",
        current="alerts",
        rows=alarms.rows(visit, alerts.with_deliveries(listed[show][:SHOWN]), around),
        more=max(len(listed[show]) - SHOWN, 0),
        over=alarms.rows(visit, alerts.with_deliveries(lately[:SHOWN]), around) if show == "open" else [],
        tabs=[
            {"title": title, "href": alarms.address(show=name), "count": len(listed[name]), "is_current": name == show}
            for name, title in alarms.TABS.items()
        ],
        broken=[presented.broken(visit, one) for one in alerts.broken_channels(key)],
        failing=deliveries.failing(visit, stuck, reached(stuck)),
        log=[deliveries.log_line(one) for one in alerts.deliveries(key)[:LOG]],
        channels=channel_rows(visit),
        summary=summary(alerts.counts(key), alerts.last_opened_at(key), len({one.channel_id for one in stuck}), now),
        silences=len(alerts.silences(key, now)) + len(alerts.silences(key, now, is_maintenance=True)),
    )


def reached(stuck: list[Delivery]) -> dict[str, list[str]]:
    """Which channels took the alerts that these failed to tell."""
    found: dict[str, list[str]] = defaultdict(list)
    taken = Delivery.objects.filter(alert__in={one.alert_id for one in stuck if one.alert_id}, done_at__isnull=False)
    for alert, name in taken.order_by("created_at").values_list("alert_id", "channel__name"):
        if name not in found[str(alert)]:
            found[str(alert)].append(name)
    return found


def summary(counts: dict[str, int], last: datetime | None, broken: int, now: datetime) -> str:
    told = [f"{n} {state}" for state, n in counts.items() if n]
    fails = f" {broken} {'channel does' if broken == 1 else 'channels do'} not take its messages." if broken else ""
    if told:
        return f"{', '.join(told)}.{fails}"
    quiet = f"The last alert was {figures.ago(last, now)}." if last else "Nothing ever has."
    return f"Nothing is firing. {quiet}{fails}"


# --- presses ------------------------------------------------------------------------------------------------------


def alert_visit(request: ConsoleRequest, id: str) -> tuple[Alert, Visit]:
    alert = Alert.objects.filter(pk=id).first()
    if alert is None:
        raise NotFound(what="alert", key=id)
    return alert, visit_of(request, alert.environment, role=Role.OPERATOR)


def why(request: ConsoleRequest) -> str:
    return request.POST.get("because", "").strip()[:500]


@console
def silence(request: ConsoleRequest, *, id: str) -> HttpResponse:
    alert, visit = alert_visit(request, id)
    if request.method != "POST":
        return HttpResponseRedirect(alarms.address(silence=id))
    until = moment(request.POST.get("until", ""), visit.now)

    def act() -> None:
        services.silence(alert=alert, until=until, by=visit.actor, now=visit.now, because=why(request))

    return pressed(visit, f"silence-{id}", act, f"Silenced until {alarms.told(until, visit.now)}", f"by {visit.actor}.")


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

    def act() -> None:
        services.end_alert_silence(alert=alert, by=visit.actor, now=visit.now)

    return pressed(
        visit, f"end-silence-{id}", act, "The silence ends now", "Who is on call hears of it if it still fires."
    )


@console
def assign(request: ConsoleRequest, *, id: str) -> HttpResponse:
    alert, visit = alert_visit(request, id)
    if request.method != "POST":
        return HttpResponseRedirect(alarms.address(handle=id))
    to = request.POST.get("to", "").strip()

    def act() -> None:
        services.assign(alert=alert, to=to, by=visit.actor, now=visit.now, because=why(request))

    return pressed(visit, f"assign-{id}", act, f"{to} has it" if to else "Nobody has it")


@console
def resolve(request: ConsoleRequest, *, id: str) -> HttpResponse:
    alert, visit = alert_visit(request, id)
    if request.method != "POST":
        return HttpResponseRedirect(alarms.address(handle=id))

    def act() -> None:
        services.resolve(alert=alert, by=visit.actor, now=visit.now, because=why(request))

    return pressed(visit, f"resolve-{id}", act, "Resolved", "Everybody who was told of it hears that.")


@console
def send_again(request: ConsoleRequest, *, id: str) -> HttpResponse:
    delivery = Delivery.objects.select_related("channel").filter(pk=id).first()
    if delivery is None:
        raise NotFound(what="delivery", key=id)
    visit = visit_of(request, delivery.channel.environment, role=Role.OPERATOR)
    if request.method != "POST":
        return HttpResponseRedirect(reverse("alerts"))

    def act() -> None:
        services.send_again(delivery=delivery, by=visit.actor, now=visit.now)

    return pressed(visit, f"again-{id}", act, "It leaves now", "The log says what the receiver answers.")
