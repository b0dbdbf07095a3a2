"""What was sent and what was not: the log, and what fails, pinned on top."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse

from apps.access.domain.roles import Role
from apps.alerts.models import Channel, Delivery
from apps.console import figures
from apps.console.acts import Act
from apps.console.presenters import presses
from apps.console.visits import Visit


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
        took = figures.took((one.done_at - one.created_at).total_seconds())
        tries = f" at try {one.attempts}" if one.attempts > 1 else ""
        verb = "accepted" if one.channel.kind == Channel.Kind.TEAMS else "took"
        return LogLine(
            at=one.done_at, glyph="within", tone="ok", name=name, words=f"{verb} it after {took}{tries}.",
            second=f"{second} · {one.answer}",
        )  # fmt: skip
    if one.state == "replaced":
        why = f"answered {one.answer or 'nothing'}" if one.attempts else "not sent"
        return LogLine(
            at=one.created_at, glyph="holding", tone="", name=name, words=f"{why}: a newer state replaced it.",
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
