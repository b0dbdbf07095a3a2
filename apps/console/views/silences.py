"""Silences and maintenance windows, with what a matcher covers before it is pressed."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.dateparse import parse_datetime

from apps.access.domain.roles import Role
from apps.alerts import queries as alerts
from apps.alerts import services
from apps.alerts.domain.life import SEVERITIES
from apps.alerts.domain.matching import Matcher
from apps.alerts.models import Silence
from apps.console.presenters import alarms, silences
from apps.console.views.answers import pressed
from apps.console.visits import ConsoleRequest, Visit, console, visit_of, visited
from apps.core.refusals import NotFound, Refused
from apps.flags import queries as flags

MATCHER = ("route", "owner", "severity", "condition")
PLANNED = ("starts_at", "hours", "kind", "repeats", "time_zone")
YEARS = range(2000, 9000)
LASTS = {"1": "1 h", "4": "4 h", "8": "8 h", "24": "24 h", "72": "3 days"}


@visited
def page(visit: Visit) -> HttpResponse:
    """GET with a matcher shows what it covers; POST silences it."""
    posted = visit.request.method == "POST"
    asked = read(visit.request.POST if posted else visit.request.GET)
    wrong = ""
    if posted:
        visit.must(Role.OPERATOR)
        try:
            create(visit, asked)
            return HttpResponseRedirect(reverse("silences"))
        except Refused as refused:
            wrong = refused.detail
    return shown(visit, asked, wrong)


def read(values: Any) -> dict[str, str]:
    asked = {name: values.get(name, "").strip()[:255] for name in (*MATCHER, "because", *PLANNED)}
    asked["hours"] = asked["hours"] if asked["hours"] in LASTS else "1"
    asked["time_zone"] = asked["time_zone"] or "UTC"
    return asked


def create(visit: Visit, asked: dict[str, str]) -> Silence:
    is_maintenance = asked["kind"] == "maintenance"
    starts_at = start_of(asked) if is_maintenance else None
    return services.create_silence(
        environment=visit.environment.key,
        starts_at=starts_at,
        ends_at=max(starts_at or visit.now, visit.now) + timedelta(hours=int(asked["hours"])),
        is_maintenance=is_maintenance,
        repeats=asked["repeats"] if is_maintenance else "",
        time_zone=asked["time_zone"],
        by=visit.actor,
        now=visit.now,
        because=asked["because"],
        **{name: asked[name] for name in MATCHER},
    )


def start_of(asked: dict[str, str]) -> datetime | None:
    """As a browser's field writes it, by the clocks of the zone. None: it is no moment at which something may start."""
    try:
        at, zone = parse_datetime(asked["starts_at"]), ZoneInfo(asked["time_zone"])
    except (ZoneInfoNotFoundError, ValueError):
        return None
    if at is not None and at.year not in YEARS:
        return None
    return at.replace(tzinfo=zone).astimezone(UTC) if at is not None and at.tzinfo is None else at


def shown(visit: Visit, asked: dict[str, str], wrong: str) -> HttpResponse:
    key, now = visit.environment.key, visit.now
    preview = None
    is_asked = visit.request.GET.get("preview") is not None or bool(wrong)
    if is_asked:
        preview = alerts.preview(key, Matcher(**{name: asked[name] for name in MATCHER}), now)
    open_now = alerts.open_alerts(key)

    def rows(*, is_maintenance: bool) -> list[silences.SilenceRow]:
        found = alerts.silences(key, now, is_maintenance=is_maintenance, over=True)[:20]
        return [
            silences.silence(visit, one, sum(1 for alert in open_now if one.ends_at > now and one.covers(alert)))
            for one in found
        ]

    hours = int(asked["hours"])
    starts = start_of(asked) if asked["kind"] == "maintenance" else None
    return visit.page(
        "console/silences.html",
        current="alerts",
        silences=rows(is_maintenance=False),
        windows=rows(is_maintenance=True),
        asked=asked,
        preview=preview,
        wrong=wrong,
        lasts=LASTS,
        repeats=Silence.Repeats.choices,
        ends=alarms.told(max(starts or now, now) + timedelta(hours=hours), now),
        severities=SEVERITIES,
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

    def act() -> None:
        services.end_silence(silence=row, by=visit.actor, now=visit.now)

    return pressed(
        visit, f"end-{id}", act, "Ended", "What still fires is told within seconds.", back=reverse("silences")
    )
