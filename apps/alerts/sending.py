"""One message over the wire, whatever the channel's kind. Says what the receiver answered, raises nothing."""

import json
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from smtplib import SMTPDataError, SMTPException, SMTPRecipientsRefused
from typing import Any

import structlog
from django.core.mail import EmailMultiAlternatives, get_connection
from django.core.mail.backends.base import BaseEmailBackend

from apps.alerts import long_tail, mail, outgoing
from apps.alerts.domain import formats, messages, retry
from apps.alerts.domain.messages import Message
from apps.alerts.domain.signature import sign
from apps.alerts.models import Channel
from apps.core import spans

log = structlog.get_logger()

GONE = 410
MAIL_SECONDS = 10.0  # for all addresses of a channel: others must not take it for the turn of a dead worker
# Answers that another try will not change. A webhook's receiver may be mended within the hours of our tries; services
# that name their errors mean them. A redirect is never followed.
FINAL = {
    Channel.Kind.SLACK: frozenset({400, 403, 404, 410}),
    Channel.Kind.PAGERDUTY: frozenset({400}),
    Channel.Kind.TEAMS: frozenset({400, 401, 403, 404, 410}),
    Channel.Kind.WEBHOOK: frozenset({410}),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    taken: bool
    answer: str
    final: bool = False  # another try would not change it
    asked: timedelta = timedelta(0)  # the receiver's Retry-After
    quiet: timedelta = timedelta(0)  # how long the whole channel keeps still
    is_gone: bool = False  # the receiver wants no more, ever
    reached: tuple[str, ...] = ()  # of several addresses: those that have it, and do not get it again


@spans.traced("deliver")
def send(channel: Channel, message: Message, *, now: datetime) -> Outcome:
    spans.note(channel=channel.kind, alerts=len(message.notices))
    if not channel.config:
        return Outcome(False, "its secrets cannot be read: SECRET_KEY is another one than when they were saved")
    try:
        return SENDERS[Channel.Kind(channel.kind)](channel, message, now)
    except Exception as fault:  # the edge: what one channel cannot do must not stop the others
        place = traceback.extract_tb(fault.__traceback__)[-1]
        name = type(fault).__name__  # not its words: they may quote an address that is a secret
        log.error("sending_failed", channel=channel.pk, kind=channel.kind, fault=name, at=f"{place[0]}:{place[1]}")
        return Outcome(False, f"it could not be sent: {name}")


def send_mail(channel: Channel, message: Message, now: datetime) -> Outcome:
    """To each who does not have it yet, a mail of their own: a server may take one address and refuse another."""
    reached = list(message.reached)
    refused: dict[str, tuple[str, bool]] = {}
    began = time.monotonic()
    try:
        with get_connection() as connection:
            for address in channel.config["to"]:
                if address in reached:
                    continue
                if time.monotonic() - began > MAIL_SECONDS and len(reached) > len(message.reached):
                    raise TimeoutError("the rest of the addresses wait for the next try")
                if refusal := refusal_of(mail_to(address, message, connection)):
                    refused[address] = refusal
                else:
                    reached.append(address)
    except (SMTPException, OSError) as error:
        return Outcome(False, f"{type(error).__name__}: {error}", reached=tuple(reached))
    handed = mail.not_sent() or "handed to the mail server"
    if not refused:
        return Outcome(True, handed)
    words = "the mail server refused " + ", ".join(f"{address}: {answer}" for address, (answer, _) in refused.items())
    if any(not final for _, final in refused.values()):
        return Outcome(False, words, reached=tuple(reached))
    if not reached:
        return Outcome(False, words, final=True)
    return Outcome(True, f"{handed} for {', '.join(reached)}; {words}")


def mail_to(address: str, message: Message, connection: BaseEmailBackend) -> EmailMultiAlternatives:
    thread = f"<{message.key}@changeover>"
    made = EmailMultiAlternatives(
        messages.subject(message),
        messages.plain_text(message),
        to=[address],
        headers={"References": thread, "In-Reply-To": thread, "Auto-Submitted": "auto-generated"},
        connection=connection,
    )
    made.attach_alternative(formats.html(message), "text/html")
    return made


def refusal_of(one: EmailMultiAlternatives) -> tuple[str, bool] | None:
    """Sends it. The server's code where it refuses this address, and whether that is final; none: it is taken."""
    try:
        one.send()
    except SMTPRecipientsRefused as error:
        code = next(iter(error.recipients.values()))[0]
    except SMTPDataError as error:
        code = error.smtp_code
    except ValueError:
        return "not a mail address", True
    else:
        return None
    return str(code), code >= 500


def send_webhook(channel: Channel, message: Message, now: datetime) -> Outcome:
    body = packed(messages.document(message))
    return post(channel, body, now, sign(secrets_of(channel, now), message.id, int(now.timestamp()), body))


def secrets_of(channel: Channel, now: datetime) -> list[str]:
    """The newest first; the one before as long as it overlaps."""
    config = channel.config
    found = [str(config["secret"])]
    if config.get("old_secret") and datetime.fromisoformat(config["old_secret_until"]) > now:
        found.append(str(config["old_secret"]))
    return found


def send_slack(channel: Channel, message: Message, now: datetime) -> Outcome:
    return post(channel, packed(formats.slack(message)), now)


def send_pagerduty(channel: Channel, message: Message, now: datetime) -> Outcome:
    return post(channel, packed(formats.pagerduty(message, str(channel.config["routing_key"]))), now)


def send_teams(channel: Channel, message: Message, now: datetime) -> Outcome:
    """Accepted, not delivered: Teams only says that it has started somebody's flow."""
    return post(channel, packed(formats.teams(message)), now, accepted="accepted")


def send_apprise(channel: Channel, message: Message, now: datetime) -> Outcome:
    first = message.first
    sent = long_tail.notify(
        channel.config["urls"],
        title=messages.subject(message),
        body=messages.plain_text(message),
        kind="success" if message.event == "resolved" else "failure" if first.severity == "critical" else "warning",
        reached=message.reached,
    )
    return Outcome(sent.taken, sent.answer, reached=sent.reached)


SENDERS: Mapping[Channel.Kind, Callable[[Channel, Message, datetime], Outcome]] = {
    Channel.Kind.EMAIL: send_mail,
    Channel.Kind.WEBHOOK: send_webhook,
    Channel.Kind.SLACK: send_slack,
    Channel.Kind.PAGERDUTY: send_pagerduty,
    Channel.Kind.TEAMS: send_teams,
    Channel.Kind.APPRISE: send_apprise,
}


def packed(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def post(
    channel: Channel, body: bytes, now: datetime, headers: Mapping[str, str] | None = None, *, accepted: str = ""
) -> Outcome:
    kind = Channel.Kind(channel.kind)
    url = str(channel.config.get("url") or formats.PAGERDUTY)
    try:
        answer = outgoing.post(url, body, {"content-type": "application/json", **(headers or {})})
    except outgoing.Refusal as refusal:
        return Outcome(False, str(refusal), final=True)
    except outgoing.NoAnswer as fault:
        return Outcome(False, str(fault))
    if answer.is_success:
        return Outcome(True, f"{answer.status} {accepted}".strip())
    asked = asked_wait(answer.headers.get("retry-after", ""), now)
    return Outcome(
        False,
        answer.words,
        final=300 <= answer.status < 400 or answer.status in FINAL[kind],
        asked=asked,
        quiet=retry.quiet_after(answer.status, asked),
        is_gone=answer.status == GONE and kind is Channel.Kind.WEBHOOK,
    )


def asked_wait(header: str, now: datetime) -> timedelta:
    """Retry-After: a number of seconds or a date. What cannot be read or lies behind us was not asked."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=int(text[:9])), retry.LONGEST_ASKED)
    try:
        until = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError):
        return timedelta(0)
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max(until - now, timedelta(0)), retry.LONGEST_ASKED)
