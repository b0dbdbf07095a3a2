"""Reads the journal, keeps one alert per open condition, and brings its notices to the channels."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from apps.alerts import sending
from apps.alerts.domain import retry
from apps.alerts.domain.messages import Notice
from apps.alerts.domain.signature import new_secret
from apps.alerts.models import SEEN_FOR, Alert, Channel, Delivery, SeenEntry
from apps.core.actors import Actor
from apps.core.claims import claim_next
from apps.core.ids import new_id
from apps.core.refusals import AlreadyThere, Invalid, Refused
from apps.journal import services as journal
from apps.journal.models import Entry

LOOK_BACK = timedelta(days=1)  # an entry older than this alerts nobody any more


class AlertIsResolved(Refused):
    code = "alert_is_resolved"
    sentence = "This alert is resolved already."


@transaction.atomic
def create_channel(
    *, environment: str, kind: str, name: str, config: dict[str, Any], by: Actor, now: datetime, because: str = ""
) -> Channel:
    """`config`: webhook {"url", "secret" (made if left out)}, email {"to": [addresses]}."""
    if Channel.objects.filter(environment=environment, name=name).exists():
        raise AlreadyThere(what="channel", key=name)
    channel = Channel.objects.create(
        environment=environment, kind=kind, name=name, config=checked(kind, config), created_at=now
    )
    shown = {"kind": kind, "name": name}
    about = {"channel": channel.id}
    journal.record(
        "channel.created", environment=environment, by=by, because=because, about=about, now=now, after=shown
    )
    return channel


def checked(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    if kind == Channel.Kind.EMAIL:
        to = config.get("to")
        if not isinstance(to, list) or not to or not all(isinstance(address, str) and "@" in address for address in to):
            raise Invalid("An e-mail channel needs a list of addresses.", config='as in {"to": ["ops@example.com"]}')
        return {"to": to}
    if kind == Channel.Kind.WEBHOOK:
        url = config.get("url")
        if not isinstance(url, str) or (refusal := sending.why_not(url)):
            raise Invalid(refusal if isinstance(url, str) else "A webhook needs an address.", config="url")
        return {"url": url, "secret": config.get("secret") or new_secret()}
    raise Invalid(f"There is no channel of kind {kind}.", kind="webhook or email")


def read_journal(now: datetime) -> int:
    """Turns each new entry that carries a condition into an alert or the end of one. Says how many there were."""
    seen = SeenEntry.objects.values("entry")
    entries = Entry.objects.with_condition().filter(at__gt=now - LOOK_BACK).exclude(pk__in=seen).order_by("at", "id")
    told = [tell(entry, now) for entry in entries[:200]]
    SeenEntry.objects.filter(at__lt=now - SEEN_FOR).delete()
    return sum(told)


@transaction.atomic
def tell(entry: Entry, now: datetime) -> bool:
    """One entry, once: False if another worker was faster."""
    _, first = SeenEntry.objects.get_or_create(entry=entry.id, defaults={"at": now})
    if not first:
        return False
    alert = Alert.objects.open().filter(environment=entry.environment, condition=entry.condition).first()
    if entry.effect == Entry.Effect.CLOSES:
        if alert:
            alert.resolve(now)
            leave_deliveries(alert, entry, event="resolved", now=now)
        return True
    if alert:
        alert.repeat(sentence=entry.sentence, severity=entry.severity, link=entry.link, at=entry.at)
        return True
    alert = Alert.objects.create(
        environment=entry.environment,
        condition=entry.condition,
        severity=entry.severity,
        route=entry.route,
        owner=entry.owner,
        sentence=entry.sentence,
        link=entry.link,
        runbook=entry.runbook,
        entry=entry.id,
        opened_at=entry.at,
        last_at=entry.at,
    )
    leave_deliveries(alert, entry, event="firing", now=now)
    return True


def leave_deliveries(alert: Alert, entry: Entry, *, event: str, now: datetime) -> None:
    notice = notice_of(alert, event=event, sentence=entry.sentence or alert.sentence, at=entry.at)
    channels = Channel.objects.filter(environment=alert.environment, is_active=True).order_by("id")
    Delivery.objects.bulk_create(
        Delivery(
            alert=alert, channel=channel, event=event, entry=entry.id, notice=notice, next_try_at=now, created_at=now
        )
        for channel in channels
    )


def notice_of(alert: Alert, *, event: str, sentence: str, at: datetime) -> dict[str, Any]:
    notice = Notice(
        event=event,
        alert=alert.id,
        condition=alert.condition,
        severity=alert.severity,
        environment=alert.environment,
        route=alert.route,
        owner=alert.owner,
        sentence=sentence,
        link=f"{settings.PUBLIC_URL}{alert.link}" if alert.link.startswith("/") else alert.link,
        runbook=alert.runbook,
        at=at,
    )
    return asdict(notice) | {"at": at.isoformat()}


def deliver_due(now: datetime, *, most: int = 50) -> int:
    """Claims and sends what is due, one at a time. Says how many were tried."""
    for tried in range(most):
        delivery = claim_next(Delivery.objects.due(now), claim=new_id(), now=now)
        if delivery is None:
            return tried
        deliver(delivery, now)
    return most


def deliver(delivery: Delivery, now: datetime) -> None:
    notice = Notice(**delivery.notice | {"at": datetime.fromisoformat(delivery.notice["at"])})
    outcome = sending.send(delivery.channel, notice, message_id=delivery.id, now=now)
    if outcome.taken:
        delivery.finish(answer=outcome.answer, at=now)
        return
    tries = delivery.attempts + 1
    over = outcome.final or tries >= retry.ATTEMPTS
    wait = retry.wait_after(tries, retry_after=outcome.retry_after)
    delivery.fail(answer=outcome.answer, next_try_at=None if over else now + wait)


def end_silences(now: datetime) -> None:
    for alert in Alert.objects.filter(state=Alert.State.SILENCED, silenced_until__lte=now):
        alert.wake()


def dispatch(now: datetime) -> None:
    end_silences(now)
    read_journal(now)
    deliver_due(now)


def load_open(alert: Alert) -> Alert:
    locked = Alert.objects.select_for_update().get(pk=alert.pk)
    if locked.state == Alert.State.RESOLVED:
        raise AlertIsResolved
    return locked


@transaction.atomic
def acknowledge(*, alert: Alert, by: Actor, now: datetime, because: str = "") -> Alert:
    """Somebody has seen it. Moves no traffic; a second acknowledgement changes nothing."""
    alert = load_open(alert)
    if alert.acknowledged_at is None:
        alert.acknowledge(by=str(by), at=now)
        record("alert.acknowledged", alert, by=by, because=because, now=now)
    return alert


@transaction.atomic
def silence(*, alert: Alert, until: datetime, by: Actor, now: datetime, because: str = "") -> Alert:
    if until <= now:
        raise Invalid("A silence ends in the future.", until="a moment later than now")
    alert = load_open(alert)
    alert.silence(by=str(by), until=until)
    record("alert.silenced", alert, by=by, because=because, now=now, after={"until": until.isoformat()})
    return alert


@transaction.atomic
def resolve(*, alert: Alert, by: Actor, now: datetime, because: str = "") -> Alert:
    alert = load_open(alert)
    alert.resolve(now)
    entry = record("alert.resolved", alert, by=by, because=because, now=now)
    leave_deliveries(alert, entry, event="resolved", now=now)
    return alert


def record(
    kind: str, alert: Alert, *, by: Actor, because: str, now: datetime, after: dict[str, Any] | None = None
) -> Entry:
    about = {"alert": alert.id} | ({"route": alert.route} if alert.route else {})
    return journal.record(
        kind, environment=alert.environment, by=by, because=because, about=about, now=now, after=after
    )


@transaction.atomic
def send_again(*, delivery: Delivery, by: Actor, now: datetime) -> None:
    """A dead letter gets a new life."""
    delivery.send_again(now)
    journal.record(
        "delivery.sent_again",
        environment=delivery.channel.environment,
        by=by,
        because="",
        about={"delivery": delivery.id, "channel": delivery.channel_id},
        now=now,
    )


def test_channel(*, channel: Channel, by: Actor, now: datetime) -> sending.Outcome:
    """Really sends, and tells what the receiver answered."""
    notice = Notice(
        event="test",
        alert="",
        condition="test",
        severity="info",
        environment=channel.environment,
        route="",
        owner="",
        sentence=f"This is a test of the channel {channel.name}, asked for by {by}. Nothing is wrong.",
        link=settings.PUBLIC_URL,
        runbook="",
        at=now,
    )
    return sending.send(channel, notice, message_id=new_id(), now=now)
