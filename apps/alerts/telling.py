"""Rows that say who is to be told of what, and when. A newer state of an alert replaces what still waits."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.conf import settings
from django.db.models import F, Max, QuerySet

from apps.alerts.domain import escalation, life
from apps.alerts.domain.messages import Notice
from apps.alerts.models import Alert, Channel, Delivery, EscalationPolicy

FIRING, ACKNOWLEDGED, RESOLVED = "firing", "acknowledged", "resolved"
OF_CHANNELS = "channel:"
KNOWS_ACKNOWLEDGED = (Channel.Kind.PAGERDUTY, Channel.Kind.WEBHOOK)  # to the others it would be noise


def fire(alert: Alert, *, occasion: str, now: datetime, at_once: bool = False) -> None:
    """Tells the channels that are due: all of them, or those of the policy's steps that have been reached."""
    if alert.state != Alert.State.FIRING:
        return
    if source := muted_by(alert):
        alert.mute(source)
        return
    steps = policy(alert.environment)
    reached = escalation.reached(steps, since=alert.firing_since or now, now=now)
    leaves_at = now if at_once else when(alert, now)
    leave(
        alert, recipients(alert, steps, first=0, last=reached), event=FIRING, occasion=occasion, at=leaves_at, now=now
    )
    alert.note_told(leaves_at=leaves_at, escalated=reached)


def muted_by(alert: Alert) -> str:
    if not life.may_be_muted(alert.condition):
        return ""
    return life.muted_by(alert.condition, alert.route, sources(alert.environment))


def sources(environment: str) -> list[life.Source]:
    """What is open there and may mute others, the oldest first."""
    found = Alert.objects.open().of_environment(environment).that_may_mute().order_by("opened_at", "id")
    return [source_of(one) for one in found]


def source_of(alert: Alert) -> life.Source:
    return life.Source(alert.condition, alert.mutes)


def mute_others(alert: Alert, now: datetime) -> None:
    """What fires because of this one need not be told beside it. It is told when this one is over and it is not."""
    if not alert.may_mute:
        return
    source = source_of(alert)
    others = Alert.objects.firing().of_environment(alert.environment).filter(muted_by="").exclude(pk=alert.pk)
    for other in others.order_by("id"):
        if life.is_muted(other.condition, other.route, source):
            other.mute(alert.condition)
            hold_back(other, now)


def when(alert: Alert, now: datetime) -> datetime:
    group = Alert.objects.filter(environment=alert.environment, group=alert.group)
    told_at = group.aggregate(newest=Max("told_at"))["newest"]
    return life.leaves_at(group_told_at=told_at, alert_told_at=alert.told_at, severity=alert.severity, now=now)


def policy(environment: str) -> list[escalation.Step]:
    row = EscalationPolicy.objects.filter(environment=environment).first()
    return escalation.read(row.steps) if row else []


def recipients(
    alert: Alert, steps: Sequence[escalation.Step], *, first: int, last: int, active: list[Channel] | None = None
) -> list[Channel]:
    """Without a policy everybody; what is told of a channel goes to one other that works."""
    active = list(Channel.objects.active(alert.environment)) if active is None else active
    wanted = escalation.channels(steps, first=first, last=last)
    if alert.condition.startswith(OF_CHANNELS):
        order = escalation.channels(steps, first=0, last=len(steps))
        others = [one for one in active if f"{OF_CHANNELS}{one.pk}" != alert.condition]
        others.sort(key=lambda one: (one.broken_at is not None, order.index(one.pk) if one.pk in order else len(order)))
        return others[:1]
    if steps:
        active = [one for one in active if one.pk in wanted]
    return [one for one in active if life.rank(alert.severity) >= life.rank(one.least_severity)]


def tell_newcomers(environment: str, now: datetime) -> None:
    """What fires is told to the channels that have not heard of it and should: made or switched on since, told from a
    lower severity on, or of a step that was reached before there was one."""
    steps = policy(environment)
    active = list(Channel.objects.active(environment))
    firing = Alert.objects.firing().of_environment(environment).filter(muted_by="")
    heard = Delivery.objects.filter(alert__in=firing, event=FIRING, created_at__gte=F("alert__firing_since"))
    told = set(heard.exclude(is_dead=True).values_list("alert", "channel"))
    for alert in firing.select_for_update().order_by("id"):
        reached = escalation.reached(steps, since=alert.firing_since or now, now=now)
        due = recipients(alert, steps, first=0, last=reached, active=active)
        if new := [channel for channel in due if (alert.pk, channel.pk) not in told]:
            leave(alert, new, event=FIRING, occasion=alert.occasion("newcomers"), at=now, now=now)


def tell_those_who_know(
    alert: Alert, *, event: str, occasion: str, now: datetime, by: str = "", sentence: str = ""
) -> None:
    """The end of an alert, or that somebody has it: to the channels that it was left for, and at once.

    `sentence`: what is told now, where that is not what the alert was opened for.
    """
    firing = Delivery.objects.filter(alert=alert, event=FIRING).exclude(pk__in=never_sent(alert, now).values("pk"))
    told = Channel.objects.filter(pk__in=firing.values("channel"), is_active=True)
    if event == ACKNOWLEDGED:
        told = told.filter(kind__in=KNOWS_ACKNOWLEDGED)
    channels = [channel for channel in told.order_by("created_at", "id") if last_left(alert, channel) != event]
    if event == RESOLVED:
        replace_older(alert, now)
    leave(alert, channels, event=event, occasion=occasion, at=now, now=now, by=by, sentence=sentence)


def never_sent(alert: Alert, now: datetime) -> QuerySet[Delivery]:
    """What a silence or another alert has held back. A channel that is written to just now may have it in hand."""
    held_back = Delivery.objects.filter(alert=alert, replaced_at__isnull=False, attempts=0, done_at=None)
    return held_back.exclude(channel__lease_ends_at__gt=now)


def last_left(alert: Alert, channel: Channel) -> str:
    """What this channel was last sent about the alert. One that came and went while it waited is not told of again."""
    left = Delivery.objects.filter(alert=alert, channel=channel).exclude(sent_as="")
    return left.order_by("-created_at", "-id").values_list("event", flat=True).first() or ""


def leave(
    alert: Alert,
    channels: Iterable[Channel],
    *,
    event: str,
    occasion: str,
    at: datetime,
    now: datetime,
    by: str = "",
    sentence: str = "",
) -> None:
    channels = list(channels)
    replace_older(alert, now, channels=channels)
    notice = notice_of(alert, event=event, now=now, by=by, sentence=sentence).as_json()
    Delivery.objects.bulk_create(
        [
            Delivery(
                alert=alert,
                channel=channel,
                event=event,
                occasion=occasion,
                notice=notice,
                next_try_at=at,
                created_at=now,
            )
            for channel in channels
        ],
        ignore_conflicts=True,
    )


def replace_older(alert: Alert, now: datetime, *, channels: Sequence[Channel] | None = None) -> None:
    """What was not taken by now is old news, a dead letter too: nobody hears "firing" after "resolved"."""
    older = Delivery.objects.untaken().filter(alert=alert)
    if channels is not None:
        older = older.filter(channel__in=channels)
    older.update(replaced_at=now)


def hold_back(alert: Alert, now: datetime) -> None:
    """What still waits is not sent: a silence or another alert covers it."""
    Delivery.objects.waiting().filter(alert=alert).update(replaced_at=now)


def notice_of(alert: Alert, *, event: str, now: datetime, by: str = "", sentence: str = "") -> Notice:
    return Notice(
        event=event,
        alert=alert.id,
        condition=alert.condition,
        severity=alert.severity,
        environment=alert.environment,
        route=alert.route,
        owner=alert.owner,
        sentence=sentence or alert.sentence,
        link=f"{settings.PUBLIC_URL}{alert.link}" if alert.link.startswith("/") else alert.link,
        runbook=alert.runbook,
        at=alert.last_at if event == FIRING else now,
        opened_at=alert.opened_at,
        again=event == FIRING and alert.told_at is not None and alert.last_at <= alert.told_at,
        by=by,
    )
