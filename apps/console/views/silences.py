"""Silences and maintenance windows, with what a matcher covers before it is pressed; and the channels."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.dateparse import parse_datetime

from apps.access.domain.roles import Role
from apps.alerts import queries as alerts
from apps.alerts import services
from apps.alerts.domain.matching import Matcher
from apps.alerts.models import Channel, Silence
from apps.console import figures
from apps.console.acts import Result
from apps.console.presenters import alarms
from apps.console.views.alerts import answer, channel_rows
from apps.console.visits import ConsoleRequest, Visit, console, visit_of, visited
from apps.core.refusals import Forbidden, NotFound, Refused
from apps.flags import queries as flags

MATCHER = ("route", "owner", "severity", "condition")
LASTS = {"1": "1 h", "4": "4 h", "8": "8 h", "24": "24 h", "72": "3 days"}


@visited
def page(visit: Visit) -> HttpResponse:
    """GET with a matcher shows what it covers; POST silences it."""
    posted = visit.request.method == "POST"
    asked = read(visit.request.POST if posted else visit.request.GET)
    wrong = ""
    if posted:
        if not visit.may(Role.OPERATOR):
            raise Forbidden(who=str(visit.actor), role=Role.OPERATOR.value, environment=visit.environment.key)
        try:
            create(visit, asked)
            return HttpResponseRedirect(reverse("silences"))
        except Refused as refused:
            wrong = refused.detail
    return shown(visit, asked, wrong)


def read(values: Any) -> dict[str, str]:
    asked = {name: values.get(name, "").strip()[:255] for name in (*MATCHER, "because", "starts_at", "hours", "kind")}
    asked["hours"] = asked["hours"] if asked["hours"] in LASTS else "1"
    return asked


def create(visit: Visit, asked: dict[str, str]) -> Silence:
    is_maintenance = asked["kind"] == "maintenance"
    starts_at = start_of(asked["starts_at"]) if is_maintenance else None
    return services.create_silence(
        environment=visit.environment.key,
        starts_at=starts_at,
        ends_at=max(starts_at or visit.now, visit.now) + timedelta(hours=int(asked["hours"])),
        is_maintenance=is_maintenance,
        by=visit.actor,
        now=visit.now,
        because=asked["because"],
        **{name: asked[name] for name in MATCHER},
    )


def start_of(told: str) -> datetime | None:
    """As a browser's field writes it, in UTC."""
    try:
        at = parse_datetime(told)
    except ValueError:
        return None
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


def shown(visit: Visit, asked: dict[str, str], wrong: str) -> HttpResponse:
    key, now = visit.environment.key, visit.now
    preview = None
    is_asked = visit.request.GET.get("preview") is not None or bool(wrong)
    if is_asked:
        preview = alerts.preview(key, Matcher(**{name: asked[name] for name in MATCHER}), now)
    open_now = alerts.open_alerts(key)

    def rows(*, is_maintenance: bool) -> list[alarms.SilenceRow]:
        found = alerts.silences(key, now, is_maintenance=is_maintenance, over=True)[:20]
        return [
            alarms.silence(visit, one, sum(1 for alert in open_now if one.ends_at > now and one.covers(alert)))
            for one in found
        ]

    hours = int(asked["hours"])
    starts = start_of(asked["starts_at"]) if asked["kind"] == "maintenance" else None
    return visit.page(
        "console/silences.html",
        current="alerts",
        silences=rows(is_maintenance=False),
        windows=rows(is_maintenance=True),
        asked=asked,
        preview=preview,
        wrong=wrong,
        lasts=LASTS,
        ends=alarms.told(max(starts or now, now) + timedelta(hours=hours), now),
        severities=alarms.severities(),
        routes=[view.key for view in flags.routes(key)],
        may_edit=visit.may(Role.OPERATOR),
        who_may=visit.who_may(Role.OPERATOR),
        status=422 if wrong else 200,
    )


@console
def end(request: ConsoleRequest, *, id: str) -> HttpResponse:
    row = Silence.objects.filter(pk=id).first()
    if row is None:
        raise NotFound(what="silence", key=id)
    visit = visit_of(request, row.environment, role=Role.OPERATOR)
    if request.method != "POST":
        return HttpResponseRedirect(reverse("silences"))
    try:
        services.end_silence(silence=row, by=visit.actor, now=visit.now)
        result = Result(words="Ended", second="What still fires is told within seconds.")
    except Refused as refused:
        result = Result(words=refused.detail, refused=True)
    if not visit.is_fragment and not result.refused:
        return HttpResponseRedirect(reverse("silences"))
    return answer(visit, f"end-{id}", result)


# --- channels -----------------------------------------------------------------------------------------------------


@visited
def channels(visit: Visit) -> HttpResponse:
    asked = {name: visit.request.POST.get(name, "").strip()[:500] for name in ("kind", "name", "to", "least_severity")}
    wrong = ""
    if visit.request.method == "POST":
        if not visit.may(Role.OPERATOR):
            raise Forbidden(who=str(visit.actor), role=Role.OPERATOR.value, environment=visit.environment.key)
        try:
            return created(visit, asked)
        except Refused as refused:
            wrong = refused.detail
    return visit.page(
        "console/channels.html",
        current="alerts",
        channels=channel_rows(visit),
        escalation=steps(visit),
        asked=asked,
        wrong=wrong,
        kinds=Channel.Kind.choices,
        severities=alarms.severities(),
        may_edit=visit.may(Role.OPERATOR),
        who_may=visit.who_may(Role.OPERATOR),
        status=422 if wrong else 200,
    )


def created(visit: Visit, asked: dict[str, str]) -> HttpResponse:
    channel = services.create_channel(
        environment=visit.environment.key,
        kind=asked["kind"],
        name=asked["name"] or asked["kind"],
        config=config_of(asked["kind"], asked["to"]),
        least_severity=asked["least_severity"] or "info",
        by=visit.actor,
        now=visit.now,
        because="Added in the console.",
    )
    if channel.kind == Channel.Kind.WEBHOOK:  # its secret is shown this once
        return visit.page(
            "console/channel_secret.html", current="alerts", channel=channel, secret=channel.config["secret"]
        )
    return HttpResponseRedirect(reverse("channels"))


def config_of(kind: str, to: str) -> dict[str, Any]:
    many = [one.strip() for one in to.replace("\n", ",").split(",") if one.strip()]
    if kind == Channel.Kind.EMAIL:
        return {"to": many}
    if kind == Channel.Kind.PAGERDUTY:
        return {"routing_key": to}
    return {"urls": many} if kind == Channel.Kind.APPRISE else {"url": to}


def steps(visit: Visit) -> list[dict[str, str]]:
    """Who is told when nobody acknowledges, in words."""
    policy = alerts.escalation(visit.environment.key)
    names = {one.pk: one.name for one in alerts.channels(visit.environment.key)}
    if policy is None:
        return []
    return [
        {
            "when": "at once" if not step["after_minutes"] else f"after {figures.span(step['after_minutes'] * 60)}",
            "who": ", ".join(names.get(id, "a channel that is gone") for id in step["channels"]),
        }
        for step in policy.steps
    ]
