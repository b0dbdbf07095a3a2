"""Channels: made, changed, tested, broken and mended."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from apps.alerts import long_tail, outgoing, sending, telling
from apps.alerts.domain.formats import PAGERDUTY
from apps.alerts.domain.life import SEVERITIES
from apps.alerts.domain.messages import Message, Notice
from apps.alerts.domain.signature import key_of, new_secret
from apps.alerts.models import Channel, EscalationPolicy
from apps.core.actors import WORKER, Actor
from apps.core.ids import new_id
from apps.core.refusals import AlreadyThere, Invalid, NotFound, Refused
from apps.journal import services as journal

OVERLAP = timedelta(hours=24)
LONGEST_OVERLAP = timedelta(days=30)
ROUTING_KEY = 32  # characters
LONGEST_NAME = 128
SECRET_FIELDS = ("secret", "old_secret", "old_secret_until")


class ChannelIsNamed(Refused):
    code = "channel_is_named"
    sentence = "A step of escalation names the channel {name}. Take it out there first."


@transaction.atomic
def create_channel(
    *,
    environment: str,
    kind: str,
    name: str,
    config: dict[str, Any],
    by: Actor,
    now: datetime,
    because: str = "",
    least_severity: str = "info",
) -> Channel:
    """`config`: webhook {"url", "secret" (made if left out)}, email {"to": [addresses]}, slack {"url"},
    pagerduty {"routing_key", "url" (left out: theirs)}, teams {"url"}, apprise {"urls": [addresses]}."""
    channel = Channel.objects.create(
        environment=environment,
        kind=kind,
        name=checked_name(environment, name),
        config=checked(kind, config),
        least_severity=checked_severity(least_severity),
        created_at=now,
    )
    record("channel.created", channel, by=by, because=because, now=now, after=shown(channel))
    telling.tell_newcomers(environment, now)
    return channel


def checked_name(environment: str, name: str) -> str:
    if len(name) > LONGEST_NAME:
        raise Invalid("This name is too long.", name=f"{LONGEST_NAME} characters at most")
    if Channel.objects.filter(environment=environment, name=name).exists():
        raise AlreadyThere(what="channel", key=name)
    return name


def checked(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    if kind == Channel.Kind.EMAIL:
        return {"to": checked_addresses(config.get("to"))}
    if kind == Channel.Kind.WEBHOOK:
        secret = config.get("secret") or new_secret()
        try:
            key_of(secret if isinstance(secret, str) else "")
        except ValueError as error:
            raise Invalid(f"The secret cannot be used: {error}.", config="secret: whsec_ and base64") from None
        return {"url": checked_url(config), "secret": secret}
    if kind in (Channel.Kind.SLACK, Channel.Kind.TEAMS):
        return {"url": checked_url(config)}
    if kind == Channel.Kind.PAGERDUTY:
        key = config.get("routing_key")
        if not isinstance(key, str) or len(key.strip()) != ROUTING_KEY:
            raise Invalid(f"PagerDuty's routing key has {ROUTING_KEY} characters.", config="routing_key")
        return {"routing_key": key.strip(), "url": checked_url({"url": config.get("url") or PAGERDUTY})}
    if kind == Channel.Kind.APPRISE:
        urls = texts(config.get("urls"))
        if not urls:
            raise Invalid("An apprise channel needs a list of addresses.", config='as in {"urls": ["ntfy://topic"]}')
        if refusal := long_tail.why_not(urls):
            raise Invalid(refusal, config="urls")
        return {"urls": urls}
    raise Invalid(f"There is no channel of kind {kind}.", kind=f"one of {', '.join(Channel.Kind.values)}")


def texts(value: Any) -> list[str]:
    """The list, if it is one of texts; else an empty one."""
    return list(value) if isinstance(value, list) and all(isinstance(one, str) and one for one in value) else []


def checked_addresses(value: Any) -> list[str]:
    to = texts(value)
    if not to:
        raise Invalid("An e-mail channel needs a list of addresses.", config='as in {"to": ["ops@example.com"]}')
    for address in to:
        try:
            validate_email(address)
        except ValidationError:
            raise Invalid(f"{address} is no mail address.", config='as in {"to": ["ops@example.com"]}') from None
    return list(dict.fromkeys(to))


def checked_url(config: Mapping[str, Any]) -> str:
    url = config.get("url")
    if not isinstance(url, str):
        raise Invalid("This channel needs an address.", config="url")
    if refusal := outgoing.why_not(url):
        raise Invalid(refusal, config="url")
    return url


def checked_severity(severity: str) -> str:
    if severity not in SEVERITIES:
        raise Invalid(f"There is no severity {severity}.", least_severity=f"one of {', '.join(SEVERITIES)}")
    return severity


def shown(channel: Channel) -> dict[str, Any]:
    """What the journal and everybody may read of it: no address, no secret."""
    return {
        "kind": channel.kind,
        "name": channel.name,
        "is_active": channel.is_active,
        "least_severity": channel.least_severity,
        "target": channel.target,
    }


@transaction.atomic
def update_channel(
    *,
    channel: Channel,
    by: Actor,
    now: datetime,
    because: str = "",
    name: str | None = None,
    config: dict[str, Any] | None = None,
    is_active: bool | None = None,
    least_severity: str | None = None,
) -> Channel:
    """What is left out stays. A webhook keeps its secret unless another is given."""
    channel = locked(channel.pk)
    before = shown(channel)
    fields: dict[str, Any] = {}
    if name is not None and name != channel.name:
        fields["name"] = checked_name(channel.environment, name)
    if config is not None:
        kept = {key: channel.config[key] for key in SECRET_FIELDS if key in channel.config and "secret" not in config}
        fields["config"] = checked(channel.kind, {**channel.config, **config}) | kept
    if is_active is not None:
        fields["is_active"] = is_active
    if least_severity is not None:
        fields["least_severity"] = checked_severity(least_severity)
    if fields:
        channel.change(**fields)
        record("channel.changed", channel, by=by, because=because, now=now, before=before, after=shown(channel))
    if is_active and not before["is_active"]:
        tell("channel.switched_on", channel, effect="closes", sentence=f"{channel.name} is on again.", now=now)
    if "is_active" in fields or "least_severity" in fields:
        telling.tell_newcomers(channel.environment, now)
    return channel


@transaction.atomic
def delete_channel(*, channel: Channel, by: Actor, now: datetime, because: str = "") -> None:
    """With what was sent to it. What waits for it is not sent."""
    channel = locked(channel.pk)
    policy = EscalationPolicy.objects.filter(environment=channel.environment).first()
    if policy and any(channel.pk in step["channels"] for step in policy.steps):
        raise ChannelIsNamed(name=channel.name)
    if channel.broken_at or channel.off_because:
        tell("channel.gone", channel, effect="closes", sentence=f"The channel {channel.name} is deleted.", now=now)
    record("channel.deleted", channel, by=by, because=because, now=now, before=shown(channel))
    channel.delete()


@transaction.atomic
def rotate_secret(
    *, channel: Channel, by: Actor, now: datetime, because: str = "", overlap: timedelta = OVERLAP, secret: str = ""
) -> Channel:
    """A new secret; until the overlap ends every message is signed with both."""
    channel = locked(channel.pk)
    if channel.kind != Channel.Kind.WEBHOOK:
        raise Invalid("Only a signed webhook has a secret to rotate.", kind=channel.kind)
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise Invalid("The overlap is between nothing and 30 days.", overlap_hours="0 to 720")
    fresh = checked(channel.kind, {**channel.config, "secret": secret or new_secret()})
    old = {"old_secret": channel.config["secret"], "old_secret_until": (now + overlap).isoformat()}
    channel.change(config=fresh | old)
    after = {"old_secret_until": old["old_secret_until"]}
    record("channel.secret_rotated", channel, by=by, because=because, now=now, after=after)
    return channel


@transaction.atomic
def seal_anew() -> None:
    """Under the newest SECRET_KEY."""
    for channel in Channel.objects.select_for_update().order_by("pk"):
        if channel.config and channel.is_sealed_under_an_older_key():
            channel.change(config=channel.config)


def locked(id: str) -> Channel:
    channel = Channel.objects.select_for_update().filter(pk=id).first()
    if channel is None:
        raise NotFound(what="channel", key=id)
    return channel


def test_channel(*, channel: Channel, by: Actor, now: datetime) -> sending.Outcome:
    """Really sends, and tells what the receiver answered. A test that is taken mends a broken channel. PagerDuty makes
    an incident of it, which ends at once."""
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
        opened_at=now,
    )
    id = new_id()
    message = Message(id=id, key=id, notices=(notice,), home=settings.PUBLIC_URL)
    outcome = sending.send(channel, message, now=now)
    if not outcome.taken:
        return outcome
    note_taken(channel, answer=outcome.answer, now=now)
    if channel.kind != Channel.Kind.PAGERDUTY:
        return outcome
    over = sending.send(channel, replace(message, notices=(replace(notice, event="resolved"),)), now=now)
    if over.taken:
        return outcome
    return replace(outcome, answer=f"{outcome.answer}; the incident of the test is still open: {over.answer}")


@transaction.atomic
def note_taken(channel: Channel, *, answer: str, now: datetime) -> None:
    if channel.note_taken(answer=answer, at=now):
        sentence = f"The channel {channel.name} takes messages again."
        tell("channel.mended", channel, effect="closes", sentence=sentence, now=now)


@transaction.atomic
def note_failed(channel: Channel, *, answer: str, broken_after: int, now: datetime) -> None:
    if channel.note_failed(answer=answer, broken_after=broken_after, at=now):
        sentence = (
            f"The channel {channel.name} is broken: {channel.failures_in_row} messages in a row were not taken, "
            f"the last with {answer}."
        )
        tell("channel.broke", channel, effect="opens", sentence=sentence, now=now)


@transaction.atomic
def switch_off(channel: Channel, *, answer: str, now: datetime) -> None:
    if not channel.switch_off(f"The receiver answered {answer}: it wants no more messages."):
        return
    sentence = f"The channel {channel.name} is switched off: its receiver answered {answer}."
    tell("channel.switched_off", channel, effect="opens", sentence=sentence, now=now)


def tell(kind: str, channel: Channel, *, effect: Any, sentence: str, now: datetime) -> None:
    journal.record(
        kind,
        environment=channel.environment,
        by=WORKER,
        because=sentence,
        about={"channel": channel.id},
        now=now,
        condition=journal.Condition(
            key=f"channel:{channel.id}", effect=effect, severity="error", sentence=sentence, link="/alerts/"
        ),
    )


def record(
    kind: str,
    channel: Channel,
    *,
    by: Actor,
    because: str,
    now: datetime,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    about = {"channel": channel.id}
    journal.record(
        kind,
        environment=channel.environment,
        by=by,
        because=because,
        about=about,
        now=now,
        before=before,
        after=after,
    )
