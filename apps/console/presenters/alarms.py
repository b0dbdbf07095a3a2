"""Alerts as rows: the state, the sentence, when in the last day it was open, who was told, what may be pressed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from html import escape
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe

from apps.access.domain.roles import Role
from apps.alerts.domain.life import BUDGET, PROVIDER
from apps.alerts.models import Alert, Channel, Delivery
from apps.console import figures
from apps.console.acts import Act
from apps.console.presenters import presses
from apps.console.presenters.deliveries import LogLine, log_line
from apps.console.visits import Visit

HOUR, DAY = timedelta(hours=1), timedelta(hours=24)
TABS = {"open": "Open", "firing": "Firing", "silenced": "Silenced", "resolved": "Resolved, 7 days"}
SILENCE_FOR = (("1", "1 h", 1), ("8", "8 h", 8), ("resolved", "until resolved, at most 24 h", 24))
STRIP = 96
LOGGED = 12


@dataclass(frozen=True, slots=True)
class Choice:
    word: str
    href: str
    is_current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The row beneath: for how long it is silenced. The button states the end."""

    choices: list[Choice]
    until: datetime
    button: str
    href: str
    cancel: str
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """The row beneath: whose it is, its end by hand, and what was sent of it."""

    people: list[str]
    assigned_to: str
    assign_href: str
    resolve_href: str
    log: list[LogLine]
    why_not: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRow:
    id: str
    key: str
    word: str
    second: str
    title: str
    title_href: str
    sentence: str
    opened_at: datetime
    link: str
    strip: SafeString
    lasted: str
    owner: str
    delivered: str
    channels: str
    failed: str
    acts: list[Act] = field(default_factory=list)
    silence_href: str = ""
    opened: Opened | None = None
    handle_href: str = ""
    handled: Handled | None = None
    closed_href: str = ""
    runbook: str = ""


def address(**asked: str) -> str:
    kept = {name: value for name, value in asked.items() if value}
    return f"{reverse('alerts')}?{urlencode(kept)}" if kept else reverse("alerts")


@dataclass(frozen=True, slots=True)
class Around:
    """What the rows of a page share: the tab, who can have an alert, how many each condition mutes."""

    show: str
    people: list[str]
    mutes: Mapping[str, int]


def rows(visit: Visit, found: Sequence[Alert], around: Around) -> list[AlertRow]:
    """One main act in the view: that of the first that fires."""
    first = next((one.id for one in found if one.state == Alert.State.FIRING), "")
    return [row(visit, one, around, is_first=one.id == first) for one in found]


def row(visit: Visit, one: Alert, around: Around, *, is_first: bool = False) -> AlertRow:
    now, show = visit.now, around.show
    firing = [each for each in one.deliveries.all() if each.event == "firing"]
    told = [each for each in firing if each.state != "replaced" or each.is_dead]
    sent, took = {each.channel.name for each in told}, {each.channel.name for each in told if each.done_at}
    failed = sorted({each.channel.name for each in told if not each.done_at and each.attempts} - took)
    is_open = one.state != Alert.State.RESOLVED
    opened = None
    if is_open and visit.request.GET.get("silence") == one.id and visit.may(Role.OPERATOR):
        opened = silence_row(visit, one, show)
    is_handled = visit.request.GET.get("handle") == one.id
    ended = one.resolved_at or now
    return AlertRow(
        id=one.id,
        key=f"alert-{one.id}",
        word=Alert.State(one.state).label,
        second=second(one, around.mutes.get(one.condition, 0), now),
        title=one.route or one.environment,
        title_href=reverse("route", args=[one.route]) if one.route else "",
        sentence=one.sentence,
        opened_at=one.opened_at,
        link=one.link if one.link.startswith("/") and one.link not in ("/alerts/",) else "",
        strip=strip(one, now),
        lasted=figures.span((ended - one.opened_at).total_seconds()),
        owner=owner(one),
        delivered=f"{len(took)} of {len(sent)}" if sent else "",
        channels=", ".join(sorted({taker(each) for each in told if each.done_at})) or ("" if sent else why_quiet(one)),
        failed=", ".join(failed),
        acts=acts(visit, one, is_first=is_first) if is_open else [],
        silence_href=address(show=show, silence=one.id)
        if one.state in (Alert.State.FIRING, Alert.State.ACKNOWLEDGED) and opened is None and visit.may(Role.OPERATOR)
        else "",
        opened=opened,
        handle_href="" if is_handled else address(show=show, handle=one.id),
        handled=handled(visit, one, around.people) if is_handled else None,
        closed_href=address(show=show),
        runbook=one.runbook,
    )


def taker(one: Delivery) -> str:
    """Teams has only started a flow."""
    return f"{one.channel.name} (accepted)" if one.channel.kind == Channel.Kind.TEAMS else one.channel.name


def why_quiet(one: Alert) -> str:
    if one.state == Alert.State.RESOLVED:
        return "nobody was told"
    if one.state == Alert.State.SILENCED:
        return "nobody, it is silenced"
    return f"muted by {cause(one.muted_by)}" if one.muted_by else "nobody yet"


def cause(condition: str) -> str:
    """The alert that tells people of others too, in words."""
    if condition.startswith(PROVIDER):
        return f"provider {condition.removeprefix(PROVIDER)}"
    if condition.startswith(BUDGET):
        return "the environment's budget"
    return {"watch:beat": "the silent worker", "watch:telemetry": "the missing telemetry"}.get(condition, condition)


def owner(one: Alert) -> str:
    if one.assigned_to or one.acknowledged_by:
        return one.assigned_to or one.acknowledged_by
    if one.state == Alert.State.RESOLVED:
        return "by itself"
    return "nobody yet" if one.state == Alert.State.FIRING else one.owner


def handled(visit: Visit, one: Alert, people: list[str]) -> Handled:
    is_open = one.state != Alert.State.RESOLVED
    newest_first = sorted(one.deliveries.all(), key=lambda each: (each.created_at, each.id), reverse=True)
    return Handled(
        people=people,
        assigned_to=one.assigned_to,
        assign_href=reverse("alert-assign", args=[one.id]) if is_open else "",
        resolve_href=reverse("alert-resolve", args=[one.id]) if is_open else "",
        log=[log_line(each) for each in newest_first[:LOGGED]],
        why_not="" if visit.may(Role.OPERATOR) else visit.who_may(Role.OPERATOR),
    )


def second(one: Alert, mutes: int, now: datetime) -> str:
    if one.state == Alert.State.SILENCED and one.silenced_until is not None:
        if one.silenced_until <= now:
            return "ends now"
        return f"until {figures.moment(one.silenced_until, now)} by {one.silenced_by}"
    if one.state == Alert.State.ACKNOWLEDGED and one.acknowledged_at is not None:
        return f"by {one.acknowledged_by}, {figures.moment(one.acknowledged_at, now)}"
    if one.state == Alert.State.RESOLVED and one.resolved_at is not None:
        return figures.moment(one.resolved_at, now)
    if one.muted_by:
        return f"muted by {cause(one.muted_by)}"
    told = f"told {one.told} times" if one.told > 1 else one.severity
    return f"{told}, mutes {mutes}" if mutes else told


def acts(visit: Visit, one: Alert, *, is_first: bool) -> list[Act]:
    if one.state == Alert.State.FIRING:
        act = presses.acknowledge(visit, one.id)
        return [act if is_first else replace(act, css="")]
    if one.state == Alert.State.SILENCED and one.silenced_until is not None and one.silenced_until > visit.now:
        can, why_not = presses.who(visit, Role.OPERATOR)
        return [
            Act(
                key=f"end-silence-{one.id}",
                label="End silence",
                shortcut="u",
                href=reverse("alert-end-silence", args=[one.id]),
                css="is-quiet",
                can=can,
                why_not=why_not,
            )
        ]
    return []


def silence_row(visit: Visit, one: Alert, show: str) -> Opened:
    asked = visit.request.GET.get("for", "1")
    chosen = next((each for each in SILENCE_FOR if each[0] == asked), SILENCE_FOR[0])
    until = visit.now + timedelta(hours=chosen[2])
    until = until.replace(second=0, microsecond=0) + (timedelta(minutes=1) if until.second else timedelta())
    until = min(until, visit.now + DAY)
    return Opened(
        choices=[
            Choice(word, address(show=show, silence=one.id, **{"for": key}), key == chosen[0])
            for key, word, _ in SILENCE_FOR
        ],
        until=until,
        button=f"Silence until {told(until, visit.now)}",
        href=reverse("alert-silence", args=[one.id]),
        cancel=address(show=show),
        because=visit.request.GET.get("because", "")[:500],
    )


def told(until: datetime, now: datetime) -> str:
    return figures.minute(until) if until.date() == now.date() else figures.whole_minute(until)


def strip(one: Alert, now: datetime) -> SafeString:
    """When in the last 24 h it was open."""
    begin, end = max(one.opened_at, now - DAY), one.resolved_at or now
    words = f"Open {figures.ago(one.opened_at, now)}" + (f", until {figures.ago(end, now)}" if one.resolved_at else "")
    fill = ""
    if end > now - DAY:
        x = STRIP * ((begin - (now - DAY)) / DAY)
        width = max(STRIP * ((end - begin) / DAY), 1.5)
        tone = "danger" if one.severity == "critical" else "warn" if one.severity in ("error", "warning") else "quiet"
        fill = f'<rect class="fill is-{tone}" x="{min(x, STRIP - width):.1f}" width="{width:.1f}" height="6" rx="1"/>'
    return mark_safe(
        f'<svg class="strip" width="{STRIP}" height="6" role="img" aria-label="{escape(words)}">'
        f'<rect class="track" width="{STRIP}" height="6" rx="1"/>{fill}</svg>'
    )
