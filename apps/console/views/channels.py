"""Channels: who is told, a test that really sends, and who is told next when nobody acknowledges."""

import re
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse

from apps.access.domain.roles import Role
from apps.alerts import queries as alerts
from apps.alerts import services
from apps.alerts.domain.life import SEVERITIES
from apps.alerts.models import Channel, Delivery
from apps.console.acts import Result
from apps.console.presenters import channels as presented
from apps.console.presenters.channels import ChannelRow
from apps.console.views.answers import answer
from apps.console.visits import ConsoleRequest, Visit, console, visit_of, visited
from apps.core.refusals import Invalid, NotFound, Refused

FIELDS = ("kind", "name", "to", "least_severity")
MOST_STEPS = 10
BECAUSE = "Set in the console."


@visited
def page(visit: Visit) -> HttpResponse:
    asked = read(visit.request)
    wrong = ""
    if visit.request.method == "POST":
        visit.must(Role.OPERATOR)
        try:
            return created(visit, asked)
        except Refused as refused:
            wrong = refused.detail
    return shown(visit, asked=asked, wrong=wrong)


def read(request: ConsoleRequest) -> dict[str, str]:
    return {name: request.POST.get(name, "").strip()[:2000] for name in FIELDS}


def shown(
    visit: Visit,
    *,
    asked: dict[str, str] | None = None,
    wrong: str = "",
    steps: list[dict[str, Any]] | None = None,
    wrong_steps: str = "",
) -> HttpResponse:
    policy = alerts.escalation(visit.environment.key)
    return visit.page(
        "console/channels.html",
        current="alerts",
        channels=channel_rows(visit),
        steps=presented.steps(
            alerts.channels(visit.environment.key), (policy.steps if policy else []) if steps is None else steps
        ),
        wrong_steps=wrong_steps,
        asked=asked or dict.fromkeys(FIELDS, ""),
        wrong=wrong,
        kinds=Channel.Kind.choices,
        hints=list(presented.HINTS.values()),
        severities=SEVERITIES,
        may_edit=visit.may(Role.OPERATOR),
        who_may=visit.who_may(Role.OPERATOR),
        status=422 if wrong or wrong_steps else 200,
    )


def channel_rows(visit: Visit) -> list[ChannelRow]:
    rows = alerts.channels(visit.environment.key)
    last: dict[str, Delivery] = {}
    for one in alerts.deliveries(visit.environment.key, state="taken")[:200]:
        last.setdefault(one.channel_id, one)
    stuck = {one.channel_id: one for one in reversed(alerts.failing_deliveries(visit.environment.key))}
    return [presented.channel_row(visit, one, last.get(one.pk), stuck.get(one.pk)) for one in rows]


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
    if channel.kind == Channel.Kind.WEBHOOK:
        return secret_once(visit, channel, f"{channel.name} is added")
    return HttpResponseRedirect(reverse("channels"))


def secret_once(visit: Visit, channel: Channel, title: str) -> HttpResponse:
    secret = channel.config["secret"]
    return visit.page("console/channel_secret.html", current="alerts", channel=channel, title=title, secret=secret)


def config_of(kind: str, to: str) -> dict[str, Any]:
    """`to` is one address or several; of PagerDuty the routing key, and behind it the region's address if there is
    one."""
    between = r"[,;\n]" if kind == Channel.Kind.EMAIL else r"[,\n]"
    many = [one.strip() for one in re.split(between, to) if one.strip()]
    if kind == Channel.Kind.EMAIL:
        return {"to": many}
    if kind == Channel.Kind.PAGERDUTY:
        key, _, url = to.partition(" ")
        return {"routing_key": key} | ({"url": url.strip()} if url else {})
    return {"urls": many} if kind == Channel.Kind.APPRISE else {"url": to}


# --- one channel --------------------------------------------------------------------------------------------------


def channel_visit(request: ConsoleRequest, id: str, role: Role = Role.OPERATOR) -> tuple[Channel, Visit]:
    channel = Channel.objects.filter(pk=id).first()
    if channel is None:
        raise NotFound(what="channel", key=id)
    return channel, visit_of(request, channel.environment, role=role)


@console
def one(request: ConsoleRequest, *, id: str) -> HttpResponse:
    """Its form. The address is a secret: it is not shown, and an empty field keeps it."""
    channel, visit = channel_visit(request, id, Role.VIEWER)
    asked = {"name": channel.name, "least_severity": channel.least_severity, "to": ""}
    if channel.kind == Channel.Kind.EMAIL:
        asked["to"] = channel.target
    wrong = ""
    if request.method == "POST":
        visit.must(Role.OPERATOR)
        asked = read(request)
        try:
            services.update_channel(
                channel=channel,
                name=asked["name"] or None,
                config=config_of(channel.kind, asked["to"]) if asked["to"] else None,
                least_severity=asked["least_severity"],
                by=visit.actor,
                now=visit.now,
                because=BECAUSE,
            )
            return HttpResponseRedirect(reverse("channels"))
        except Refused as refused:
            wrong = refused.detail
    return visit.page(
        "console/channel.html",
        current="alerts",
        channel=channel,
        kind=Channel.Kind(channel.kind).label,
        hints=[hint for kind, hint in presented.HINTS.items() if kind == channel.kind],
        is_mail=channel.kind == Channel.Kind.EMAIL,
        is_signed=channel.kind == Channel.Kind.WEBHOOK,
        asked=asked,
        wrong=wrong,
        severities=SEVERITIES,
        test=presented.test(visit, channel),
        may_edit=visit.may(Role.OPERATOR),
        who_may=visit.who_may(Role.OPERATOR),
        status=422 if wrong else 200,
    )


@console
def test(request: ConsoleRequest, *, id: str) -> HttpResponse:
    channel, visit = channel_visit(request, id)
    if request.method != "POST":
        return HttpResponseRedirect(reverse("alerts"))
    outcome = services.test_channel(channel=channel, by=visit.actor, now=visit.now)
    if outcome.taken:
        words = "Accepted" if channel.kind == Channel.Kind.TEAMS else "Taken"
        result = Result(words=words, second=outcome.answer)
    else:
        result = Result(words="Not taken", second=outcome.answer, refused=True)
    if not visit.is_fragment:
        return visit.page(
            "console/alert_result.html", current="alerts", title=f"Test of {channel.name}", result=result,
            act={"key": f"test-{id}"},
        )  # fmt: skip
    return answer(visit, f"test-{id}", result)


@console
def switch(request: ConsoleRequest, *, id: str) -> HttpResponse:
    channel, visit = channel_visit(request, id)
    if request.method != "POST":
        return HttpResponseRedirect(reverse("channel", args=[id]))
    is_active = request.POST.get("is_active", "") == "1"
    services.update_channel(channel=channel, is_active=is_active, by=visit.actor, now=visit.now, because=BECAUSE)
    return HttpResponseRedirect(reverse("channel", args=[id]))


@console
def rotate(request: ConsoleRequest, *, id: str) -> HttpResponse:
    channel, visit = channel_visit(request, id)
    if request.method != "POST":
        return HttpResponseRedirect(reverse("channel", args=[id]))
    channel = services.rotate_secret(channel=channel, by=visit.actor, now=visit.now, because="Rotated in the console.")
    return secret_once(visit, channel, f"{channel.name} has a new secret")


# --- when nobody acknowledges -------------------------------------------------------------------------------------


@visited
def escalation(visit: Visit) -> HttpResponse:
    if visit.request.method != "POST":
        return HttpResponseRedirect(reverse("channels"))
    visit.must(Role.OPERATOR)
    steps: list[dict[str, Any]] = []
    try:
        for number in range(MOST_STEPS):
            if chosen := visit.request.POST.getlist(f"channels-{number}"):
                after = visit.request.POST.get(f"after-{number}", "")
                steps.append({"after_minutes": after, "channels": chosen})
        services.set_escalation(
            environment=visit.environment.key,
            steps=[step | {"after_minutes": minutes(step["after_minutes"])} for step in steps],
            by=visit.actor,
            now=visit.now,
            because=BECAUSE,
        )
    except Refused as refused:
        return shown(visit, steps=steps, wrong_steps=refused.detail)
    return HttpResponseRedirect(reverse("channels"))


def minutes(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise Invalid("A step comes so many whole minutes after the alert began to fire, 0 is at once.")
    return int(text)
