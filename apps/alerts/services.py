"""What an operator can say about alerts, and the two things that beat asks for: read the journal, deliver."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.db import transaction

from apps.access import queries as access
from apps.access.domain.roles import Role
from apps.access.models import Environment
from apps.alerts import channels, delivering, reading, telling, watching
from apps.alerts.domain import escalation, recurrence
from apps.alerts.domain.life import SEVERITIES
from apps.alerts.domain.matching import LONGEST
from apps.alerts.models import KEPT_FOR, Alert, Channel, Delivery, EscalationPolicy, Silence
from apps.core.actors import Actor
from apps.core.refusals import Invalid, NotFound, Refused
from apps.journal import services as journal
from apps.journal.models import Entry

create_channel = channels.create_channel
update_channel = channels.update_channel
delete_channel = channels.delete_channel
rotate_secret = channels.rotate_secret
test_channel = channels.test_channel
read_journal = reading.read_journal
deliver_due = delivering.deliver_due
watch = watching.watch


class AlertIsResolved(Refused):
    code = "alert_is_resolved"
    sentence = "This alert is resolved already."


class SilenceIsOver(Refused):
    code = "silence_is_over"
    sentence = "This silence has ended already."


class DeliveryIsTaken(Refused):
    code = "delivery_is_taken"
    sentence = "The receiver has taken this already."


def dispatch(now: datetime) -> None:
    """Safe to run in several processes at once: every row is claimed."""
    reading.turn_the_clock(now)
    reading.read_journal(now)
    reading.resolve_cleared(now)
    delivering.deliver_due(now)


def forget_old(now: datetime, *, most: int = 2000) -> int:
    """Deliveries and alerts that have been over for long, some at a time. The journal keeps what happened. What an
    older key has sealed is sealed anew, so that nothing needs that key any more."""
    channels.seal_anew()
    before = now - KEPT_FOR
    over = Delivery.objects.filter(created_at__lt=before).exclude(pk__in=Delivery.objects.waiting().values("pk"))
    gone, _ = Delivery.objects.filter(pk__in=list(over.values_list("pk", flat=True)[:most])).delete()
    alerts = Alert.objects.filter(state=Alert.State.RESOLVED, resolved_at__lt=before, deliveries=None)
    gone += Alert.objects.filter(pk__in=list(alerts.values_list("pk", flat=True)[:most])).delete()[0]
    return gone + Silence.objects.filter(ends_at__lt=before).delete()[0]


def load_open(alert: Alert) -> Alert:
    locked = Alert.objects.select_for_update().get(pk=alert.pk)
    if locked.state == Alert.State.RESOLVED:
        raise AlertIsResolved
    return locked


@transaction.atomic
def acknowledge(*, alert: Alert, by: Actor, now: datetime, because: str = "") -> Alert:
    """Somebody has it: no repeats, no escalation. Moves no traffic; a second acknowledgement changes nothing."""
    alert = load_open(alert)
    if alert.acknowledged_at is None:
        alert.acknowledge(by=str(by), at=now)
        entry = record("alert.acknowledged", alert, by=by, because=because, now=now)
        telling.tell_those_who_know(alert, event=telling.ACKNOWLEDGED, occasion=entry.id, now=now, by=str(by))
    return alert


@transaction.atomic
def silence(*, alert: Alert, until: datetime, by: Actor, now: datetime, because: str = "") -> Alert:
    """This alert alone."""
    if until <= now:
        raise Invalid("A silence ends in the future.", until="a moment later than now")
    alert = load_open(alert)
    alert.silence(by=str(by), until=until)
    telling.hold_back(alert, now)
    record("alert.silenced", alert, by=by, because=because, now=now, after={"until": until.isoformat()})
    return alert


@transaction.atomic
def end_alert_silence(*, alert: Alert, by: Actor, now: datetime, because: str = "") -> Alert:
    """Of this alert alone, before its time. If it still fires, that is told at the next dispatch."""
    alert = load_open(alert)
    if alert.state != Alert.State.SILENCED or alert.silenced_until is None or alert.silenced_until <= now:
        raise SilenceIsOver
    if alert.silence_row is not None and alert.silence_row.ends_at > now:
        raise Invalid(f"A silence of {alert.silence_row.matcher.words} covers it: end that one.")
    alert.silence(by=alert.silenced_by, until=now)
    record("alert.silence_ended", alert, by=by, because=because, now=now)
    return alert


@transaction.atomic
def resolve(*, alert: Alert, by: Actor, now: datetime, because: str = "") -> Alert:
    alert = load_open(alert)
    alert.resolve(now)
    entry = record("alert.resolved", alert, by=by, because=because, now=now)
    telling.tell_those_who_know(alert, event=telling.RESOLVED, occasion=entry.id, now=now)
    return alert


@transaction.atomic
def assign(*, alert: Alert, to: str, by: Actor, now: datetime, because: str = "") -> Alert:
    """`to` operates here: a person's name; empty: nobody's any more. Says who looks after it, moves nothing else."""
    alert = load_open(alert)
    if to == alert.assigned_to:
        return alert
    if to and to not in (able := access.people_with(Role.OPERATOR, Environment.objects.get(key=alert.environment))):
        raise Invalid(f"{to} does not operate {alert.environment}.", to=f"one of {', '.join(able)}")
    before = alert.assigned_to
    alert.assign(to)
    record(
        "alert.assigned",
        alert,
        by=by,
        because=because,
        now=now,
        before={"assigned_to": before},
        after={"assigned_to": to},
    )
    return alert


def record(
    kind: str,
    alert: Alert,
    *,
    by: Actor,
    because: str,
    now: datetime,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> Entry:
    about = {"alert": alert.id} | ({"route": alert.route} if alert.route else {})
    return journal.record(
        kind, environment=alert.environment, by=by, because=because, about=about, now=now, before=before, after=after
    )


@transaction.atomic
def create_silence(
    *,
    environment: str,
    ends_at: datetime,
    by: Actor,
    now: datetime,
    because: str = "",
    starts_at: datetime | None = None,
    is_maintenance: bool = False,
    route: str = "",
    owner: str = "",
    severity: str = "",
    condition: str = "",
    repeats: str = "",
    time_zone: str = "UTC",
) -> Silence:
    """Whatever fits the matcher, open now or later, is told to nobody until `ends_at`. An empty matcher covers all.
    Maintenance may come back `daily` or `weekly`, at the same hour by the clocks of `time_zone`."""
    starts_at = max(starts_at or now, now)
    if ends_at <= starts_at:
        raise Invalid("A silence ends in the future, after it starts.", ends_at="a moment later than its start")
    if severity and severity not in SEVERITIES:
        raise Invalid(f"There is no severity {severity}.", severity=f"one of {', '.join(SEVERITIES)}")
    for name, value in {"route": route, "owner": owner, "condition": condition}.items():
        if len(value) > LONGEST[name]:
            raise Invalid(f"This {name} is too long.", **{name: f"{LONGEST[name]} characters at most"})
    check_zone(time_zone)
    if repeats:
        check_repeats(repeats, is_maintenance=is_maintenance, lasts=ends_at - starts_at)
    row = Silence.objects.create(
        environment=environment,
        is_maintenance=is_maintenance,
        route=route,
        owner=owner,
        severity=severity,
        condition=condition,
        starts_at=starts_at,
        ends_at=ends_at,
        repeats=repeats,
        time_zone=time_zone,
        because=because[:500],
        by=str(by),
        created_at=now,
    )
    record_silence("created", row, by=by, because=because, now=now)
    if starts_at <= now:
        reading.begin_silences(now)
    return row


def check_zone(time_zone: str) -> None:
    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise Invalid(f"There is no time zone {time_zone}.", time_zone="as in Europe/Berlin") from None


def check_repeats(repeats: str, *, is_maintenance: bool, lasts: timedelta) -> None:
    if not is_maintenance:
        raise Invalid("Only maintenance comes back. A silence ends.", repeats="leave it out")
    if repeats not in recurrence.DAYS:
        raise Invalid(f"Maintenance does not come back {repeats}.", repeats=f"one of {', '.join(recurrence.DAYS)}")
    if lasts >= timedelta(days=recurrence.DAYS[repeats]):
        raise Invalid("Maintenance that never stops between two times is no maintenance.", ends_at="earlier")


@transaction.atomic
def end_silence(*, silence: Silence, by: Actor, now: datetime, because: str = "") -> Silence:
    """Before its time. What it covered and still fires is told at the next dispatch."""
    row = Silence.objects.select_for_update().get(pk=silence.pk)
    if row.ends_at <= now:
        raise SilenceIsOver
    row.end(by=str(by), at=now)
    Alert.objects.filter(silence_row=row, state=Alert.State.SILENCED).update(silenced_until=row.ends_at)
    record_silence("ended", row, by=by, because=because, now=now)
    return row


def record_silence(what: str, row: Silence, *, by: Actor, because: str, now: datetime) -> None:
    kind = "maintenance" if row.is_maintenance else "silence"
    after = {"covers": row.matcher.words, "starts_at": row.starts_at.isoformat(), "ends_at": row.ends_at.isoformat()}
    if row.repeats:
        after |= {"repeats": row.repeats, "time_zone": row.time_zone}
    about = {"silence": row.id} | ({"route": row.route} if row.route else {})
    journal.record(
        f"{kind}.{what}", environment=row.environment, by=by, because=because, about=about, now=now, after=after
    )


@transaction.atomic
def set_escalation(
    *, environment: str, steps: Sequence[Mapping[str, Any]], by: Actor, now: datetime, because: str = ""
) -> EscalationPolicy:
    """Steps in order of time: [{"after_minutes": 0, "channels": [ids]}]. None at all: every channel at once."""
    there = set(Channel.objects.filter(environment=environment).values_list("pk", flat=True))
    for place, step in enumerate(steps):
        if missing := [id for id in step["channels"] if id not in there]:
            raise Invalid("This step names a channel that is not there.", **{f"steps.{place}.channels": missing[0]})
    in_order = escalation.read(steps)
    kept = [{"after_minutes": one.after.total_seconds() / 60, "channels": list(one.channels)} for one in in_order]
    before = EscalationPolicy.objects.filter(environment=environment).first()
    row, _ = EscalationPolicy.objects.update_or_create(
        environment=environment, defaults={"steps": kept, "changed_at": now}
    )
    journal.record(
        "escalation.changed",
        environment=environment,
        by=by,
        because=because,
        about={},
        now=now,
        before={"steps": before.steps if before else []},
        after={"steps": kept},
    )
    # Who fires already goes on from the steps that its age has reached, and those who are new to it hear of it now.
    for alert in Alert.objects.firing().filter(environment=environment):
        reached = escalation.reached(in_order, since=alert.firing_since or now, now=now)
        Alert.objects.filter(pk=alert.pk).update(escalated=reached)
    telling.tell_newcomers(environment, now)
    return row


@transaction.atomic
def send_again(*, delivery: Delivery, by: Actor, now: datetime) -> Delivery:
    """A dead letter gets a new life. Old news stays old: what a newer state has replaced is sent no more."""
    delivery = Delivery.objects.select_for_update().get(pk=delivery.pk)
    if delivery.done_at:
        raise DeliveryIsTaken
    if delivery.replaced_at:
        raise Invalid("A newer state of this alert has replaced this message.", delivery=delivery.id)
    if not delivery.channel.is_active:
        raise Invalid(f"The channel {delivery.channel.name} is switched off.", channel=delivery.channel.name)
    delivery.send_again(now)
    delivery.refresh_from_db()
    Channel.objects.filter(pk=delivery.channel_id).update(quiet_until=None)
    journal.record(
        "delivery.sent_again",
        environment=delivery.channel.environment,
        by=by,
        because="",
        about={"delivery": delivery.id, "channel": delivery.channel_id},
        now=now,
    )
    return delivery


def load_channel(id: str) -> Channel:
    channel = Channel.objects.filter(pk=id).first()
    if channel is None:
        raise NotFound(what="channel", key=id)
    return channel
