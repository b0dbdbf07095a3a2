"""Alerts as rows: the state, the sentence, when in the last day it was open, who was told, what may be pressed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from html import escape
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe

from apps.access.domain.roles import Role
from apps.alerts.domain.life import SEVERITIES
from apps.alerts.models import Alert, Channel, Delivery, Silence
from apps.console import figures
from apps.console.acts import Act
from apps.console.presenters import presses
from apps.console.visits import Visit

HOUR, DAY = timedelta(hours=1), timedelta(hours=24)
ORDER = {Alert.State.FIRING: 0, Alert.State.ACKNOWLEDGED: 1, Alert.State.SILENCED: 2, Alert.State.RESOLVED: 3}
TABS = {"open": "Open", "firing": "Firing", "silenced": "Silenced", "resolved": "Resolved, 7 days"}
SILENCE_FOR = (("1", "1 h", 1), ("8", "8 h", 8), ("resolved", "until resolved, at most 24 h", 24))
STRIP = 96


@dataclass(frozen=True, slots=True)
class Choice:
    word: str
    href: str
    is_current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The row beneath: for how long it is silenced. The button states the end."""

    choices: list[Choice]
    hours: str
    until: datetime
    button: str
    href: str
    cancel: str
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRow:
    id: str
    key: str
    word: str
    told_state: str
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
    runbook: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    id: str
    name: str
    words: str
    second: str
    tone: str
    act: Act


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    at: datetime
    glyph: str
    tone: str
    name: str
    words: str
    second: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRow:
    kind: str
    name: str
    target: str
    took: str
    state: str
    tone: str
    glyph: str
    second: str
    test: Act
    tells: str


def address(**asked: str) -> str:
    kept = {name: value for name, value in asked.items() if value}
    return f"{reverse('alerts')}?{urlencode(kept)}" if kept else reverse("alerts")


def rows(visit: Visit, found: Sequence[Alert], show: str) -> list[AlertRow]:
    """One main act in the view: that of the first that fires."""
    first = next((one.id for one in found if one.state == Alert.State.FIRING), "")
    return [row(visit, one, show, is_first=one.id == first) for one in found]


def row(visit: Visit, one: Alert, show: str, *, is_first: bool = False) -> AlertRow:
    now = visit.now
    told = [each for each in one.deliveries.all() if each.event == "firing" and each.state != "replaced"]
    sent, took = {each.channel.name for each in told}, {each.channel.name for each in told if each.done_at}
    failed = sorted({each.channel.name for each in told if not each.done_at and each.attempts} - took)
    is_open = one.state != Alert.State.RESOLVED
    opened = None
    if is_open and visit.request.GET.get("silence") == one.id and visit.may(Role.OPERATOR):
        opened = silence_row(visit, one, show)
    ended = one.resolved_at or now
    return AlertRow(
        id=one.id,
        key=f"alert-{one.id}",
        word=Alert.State(one.state).label,
        told_state="",
        second=second(one, now),
        title=one.route or one.environment,
        title_href=reverse("route", args=[one.route]) if one.route else "",
        sentence=one.sentence,
        opened_at=one.opened_at,
        link=one.link if one.link.startswith("/") and one.link not in ("/alerts/",) else "",
        strip=strip(one, now),
        lasted=figures.span((ended - one.opened_at).total_seconds()),
        owner=owner(one),
        delivered=f"{len(took)} of {len(sent)}" if sent else "",
        channels=", ".join(sorted(took)) or ("" if sent else why_quiet(one)),
        failed=", ".join(failed),
        acts=acts(visit, one, is_first=is_first) if is_open else [],
        silence_href=address(show=show, silence=one.id)
        if one.state in (Alert.State.FIRING, Alert.State.ACKNOWLEDGED) and opened is None and visit.may(Role.OPERATOR)
        else "",
        opened=opened,
        runbook=one.runbook,
    )


def why_quiet(one: Alert) -> str:
    if one.state == Alert.State.RESOLVED:
        return "nobody was told"
    if one.state == Alert.State.SILENCED:
        return "nobody, it is silenced"
    return f"muted by {one.muted_by}" if one.muted_by else "nobody yet"


def owner(one: Alert) -> str:
    if one.acknowledged_by:
        return one.acknowledged_by
    if one.state == Alert.State.RESOLVED:
        return "by itself"
    return "nobody yet" if one.state == Alert.State.FIRING else one.owner


def second(one: Alert, now: datetime) -> str:
    if one.state == Alert.State.SILENCED and one.silenced_until is not None:
        if one.silenced_until <= now:
            return "ends now"
        return f"until {figures.moment(one.silenced_until, now)} by {one.silenced_by}"
    if one.state == Alert.State.ACKNOWLEDGED and one.acknowledged_at is not None:
        return f"by {one.acknowledged_by}, {figures.moment(one.acknowledged_at, now)}"
    if one.state == Alert.State.RESOLVED and one.resolved_at is not None:
        return figures.moment(one.resolved_at, now)
    return f"told {one.told + 1} times" if one.told > 1 else one.severity


def acts(visit: Visit, one: Alert, *, is_first: bool) -> list[Act]:
    if one.state == Alert.State.FIRING:
        act = presses.acknowledge(visit, one.id)
        return [act if is_first else replace(act, css="", shortcut="")]
    if one.state == Alert.State.SILENCED and one.silenced_until is not None and one.silenced_until > visit.now:
        can, why_not = presses.who(visit, Role.OPERATOR)
        return [
            Act(
                key=f"end-silence-{one.id}",
                label="End silence",
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
        hours=chosen[0],
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


# --- deliveries and channels --------------------------------------------------------------------------------------


def failing(visit: Visit, stuck: Sequence[Delivery], reached: dict[str, list[str]]) -> list[Failing]:
    """One line for each channel and answer: the newest of its deliveries stands for all."""
    by_channel: dict[str, list[Delivery]] = {}
    for one in stuck:
        by_channel.setdefault(one.channel_id, []).append(one)
    out = []
    for rows in by_channel.values():
        newest = rows[0]
        often = f", {figures.counted(newest.attempts, 'time')}" if newest.attempts > 1 else ""
        then = "it is not tried again" if newest.is_dead else f"next try at {figures.clock(newest.next_try_at)}"
        also = [name for name in reached.get(str(newest.alert_id), []) if name != newest.channel.name]
        more = f" {figures.counted(len(rows) - 1, 'more message')} wait behind it." if len(rows) > 1 else ""
        can, why_not = presses.who(visit, Role.OPERATOR)
        out.append(
            Failing(
                id=newest.id,
                name=newest.channel.name,
                words=f"{newest.answer or 'no answer'}{often}; {then}.",
                second=(f"The same alert reached {listed(also)}." if also else "Nobody else was reached by this alert.")
                + more,
                tone="danger" if newest.is_dead else "warn",
                act=Act(
                    key=f"again-{newest.id}",
                    label="Send again" if newest.is_dead else "Try now",
                    href=reverse("delivery-again", args=[newest.id]),
                    css="is-quiet",
                    can=can,
                    why_not=why_not,
                ),
            )
        )
    return out


def listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def log_line(one: Delivery) -> LogLine:
    name = one.channel.name
    about = str(one.notice.get("route") or one.notice.get("environment") or "")
    second = f"{one.event} · {about}" if about else one.event
    if one.done_at is not None:
        took = figures.span((one.done_at - one.created_at).total_seconds())
        tries = f" at try {one.attempts}" if one.attempts > 1 else ""
        return LogLine(
            at=one.done_at, glyph="within", tone="ok", name=name, words=f"took it after {took}{tries}.", second=second
        )
    if one.state == "replaced":
        return LogLine(
            at=one.created_at, glyph="holding", tone="", name=name, words="not sent: a newer state replaced it.",
            second=second,
        )  # fmt: skip
    if one.is_dead:
        words = f"answered {one.answer or 'nothing'}. Given up after {figures.counted(one.attempts, 'try', 'tries')}."
        return LogLine(at=one.created_at, glyph="firing", tone="danger", name=name, words=words, second=second)
    if one.attempts:
        words = f"answered {one.answer or 'nothing'}. Next try at {figures.clock(one.next_try_at)}."
        return LogLine(at=one.created_at, glyph="firing", tone="danger", name=name, words=words, second=second)
    return LogLine(
        at=one.created_at, glyph="inconclusive", tone="", name=name,
        words=f"leaves at {figures.clock(one.next_try_at)}.", second=second,
    )  # fmt: skip


CHANNEL_STATES = {
    "working": ("Works", "ok", "within"),
    "broken": ("Failing", "danger", "firing"),
    "off": ("Off", "", "paused"),
}


def channel_row(visit: Visit, one: Channel, last: Delivery | None, stuck: Delivery | None) -> ChannelRow:
    word, tone, glyph = CHANNEL_STATES[one.state]
    if one.state == "working" and (one.failures_in_row or stuck is not None):
        word, tone, glyph = "Failing", "danger", "firing"
    if one.state == "working" and one.last_taken_at is None and not one.failures_in_row:
        word, tone, glyph = "Not used yet", "", "inconclusive"
    second = f"last {figures.moment(one.last_taken_at, visit.now)}" if one.last_taken_at else "nothing was sent yet"
    if one.failures_in_row:
        second = f"{figures.counted(one.failures_in_row, 'failure')} in a row: {one.last_answer}"
    elif stuck is not None:
        second = f"since {figures.moment(stuck.created_at, visit.now)}: {stuck.answer or 'no answer'}"
    took = ""
    if last is not None and last.done_at is not None:
        took = figures.seconds((last.done_at - last.created_at).total_seconds())
    can, why_not = presses.who(visit, Role.OPERATOR)
    tells = "" if one.least_severity == "info" else f"{one.least_severity} and worse"
    return ChannelRow(
        kind=Channel.Kind(one.kind).label,
        name=one.name,
        target=one.target,
        took=took,
        state=word,
        tone=tone,
        glyph=glyph,
        second=one.off_because or second,
        tells=tells,
        test=Act(
            key=f"test-{one.id}",
            label="Test",
            href=reverse("channel-test", args=[one.id]),
            css="is-quiet is-row",
            can=can,
            why_not=why_not,
        ),
    )


# --- silences -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceRow:
    covers: str
    state: str
    until: str
    by: str
    because: str
    open: int
    end: Act | None


def silence(visit: Visit, one: Silence, covered: int) -> SilenceRow:
    now = visit.now
    is_over, is_ahead = one.ends_at <= now, one.starts_at > now
    state = (
        f"begins {figures.moment(one.starts_at, now)}"
        if is_ahead
        else f"ended {figures.moment(one.ends_at, now)}"
        if is_over
        else f"since {figures.moment(one.starts_at, now)}"
    )
    can, why_not = presses.who(visit, Role.OPERATOR)
    end = Act(
        key=f"end-{one.id}",
        label="End now" if not is_ahead else "Call off",
        href=reverse("silence-end", args=[one.id]),
        css="is-quiet is-row",
        can=can,
        why_not=why_not,
    )
    return SilenceRow(
        covers=one.matcher.words,
        state=state,
        until=figures.moment(one.ends_at, now),
        by=one.by,
        because=one.because,
        open=covered,
        end=None if is_over else end,
    )


def severities() -> list[str]:
    return list(SEVERITIES)
