"""Channels as rows: where each goes, whether it works, what it is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.urls import reverse

from apps.access.domain.roles import Role
from apps.alerts import mail
from apps.alerts.models import Channel, Delivery
from apps.console import figures
from apps.console.acts import Act
from apps.console.presenters import presses
from apps.console.visits import Visit


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
    href: str
    test: Act
    tells: str


CHANNEL_STATES = {
    "working": ("Works", "ok", "within"),
    "broken": ("Failing", "danger", "firing"),
    "off": ("Off", "", "paused"),
}


HINTS = {
    Channel.Kind.PAGERDUTY: "PagerDuty: for the EU region, its address behind the routing key: "
    "https://events.eu.pagerduty.com/v2/enqueue. A test makes an incident that ends at once.",
    Channel.Kind.TEAMS: "Microsoft Teams: a flow belongs to a person and ends with their account, so let a shared "
    "account own it. Teams says only that the flow was started: accepted, not delivered.",
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
    elif one.kind == Channel.Kind.EMAIL and one.state == "working" and (kept := mail.not_sent()):
        word, tone, glyph, second = "Not sent", "warn", "holding", f"{kept}."
    took = ""
    if last is not None and last.done_at is not None:
        took = figures.seconds((last.done_at - last.created_at).total_seconds())
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
        href=reverse("channel", args=[one.id]),
        test=test(visit, one),
    )


def test(visit: Visit, one: Channel) -> Act:
    can, why_not = presses.who(visit, Role.OPERATOR)
    return Act(
        key=f"test-{one.id}",
        label="Test",
        href=reverse("channel-test", args=[one.id]),
        css="is-quiet is-row",
        can=can,
        why_not=why_not,
    )


@dataclass(frozen=True, slots=True)
class Broken:
    name: str
    words: str
    act: Act


def broken(visit: Visit, one: Channel) -> Broken:
    """What a banner says of a channel that takes nothing any more."""
    act = replace(test(visit, one), key=f"test-{one.id}-banner")
    if not one.is_active:
        return Broken(one.name, f"is switched off. {one.off_because}", act)
    since = f"since {figures.moment(one.broken_at, visit.now)}" if one.broken_at else ""
    words = (
        f"is broken {since}: {figures.counted(one.failures_in_row, 'message')} in a row were not taken, the last with "
        f"{one.last_answer}. It is tried once a minute."
    )
    return Broken(one.name, words, act)


@dataclass(frozen=True, slots=True)
class Choice:
    id: str
    name: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class StepRow:
    number: int
    after: str
    choices: list[Choice]
    words: str


def steps(channels: Sequence[Channel], kept: Sequence[Mapping[str, Any]]) -> list[StepRow]:
    """Who is told after how many minutes; the last is empty, for another."""
    names = {one.pk: one.name for one in channels}
    out = []
    for number, step in enumerate([*kept, {"after_minutes": "", "channels": []}]):
        after, chosen = step["after_minutes"], step["channels"]
        out.append(
            StepRow(
                number,
                after=f"{after:.0f}" if isinstance(after, float) else str(after),
                choices=[Choice(id, name, id in chosen) for id, name in names.items()],
                words=", ".join(names.get(id, "a channel that is gone") for id in chosen),
            )
        )
    return out
