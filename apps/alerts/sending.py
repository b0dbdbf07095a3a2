"""One delivery over the wire: a signed webhook or a mail. Says what the receiver answered, raises nothing.

Outgoing hooks follow no redirect, end after ten seconds, and do not reach private addresses unless that is allowed.
"""

import ipaddress
import json
import socket
from dataclasses import dataclass
from datetime import datetime
from smtplib import SMTPException
from urllib.parse import urlsplit

import httpx2
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.utils.html import escape, linebreaks, urlize

from apps.alerts.domain.messages import Notice, document, plain_text, subject
from apps.alerts.domain.retry import is_final
from apps.alerts.domain.signature import sign
from apps.alerts.models import Channel

TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    taken: bool
    answer: str
    final: bool = False  # another try would not change it
    retry_after: float | None = None


def send(channel: Channel, notice: Notice, *, message_id: str, now: datetime) -> Outcome:
    if channel.kind == Channel.Kind.EMAIL:
        return send_mail(channel, notice)
    return send_webhook(channel, notice, message_id=message_id, now=now)


def send_mail(channel: Channel, notice: Notice) -> Outcome:
    text = plain_text(notice)
    mail = EmailMultiAlternatives(subject(notice)[:300], text, to=list(channel.config["to"]))
    mail.attach_alternative(urlize(linebreaks(escape(text))), "text/html")
    try:
        mail.send()
    except (SMTPException, OSError) as error:
        return Outcome(False, f"{type(error).__name__}: {error}")
    return Outcome(True, "handed to the mail server")


def send_webhook(channel: Channel, notice: Notice, *, message_id: str, now: datetime) -> Outcome:
    url = str(channel.config["url"])
    if refusal := why_not(url):
        return Outcome(False, refusal, final=True)
    body = json.dumps(document(notice), ensure_ascii=False, separators=(",", ":")).encode()
    headers = {"content-type": "application/json", "user-agent": "Changeover"}
    headers |= sign(str(channel.config["secret"]), message_id, int(now.timestamp()), body)
    try:
        answer = httpx2.post(url, content=body, headers=headers, timeout=TIMEOUT_SECONDS, follow_redirects=False)
    except httpx2.HTTPError as error:
        return Outcome(False, f"{type(error).__name__}: {error}")
    if answer.is_success:
        return Outcome(True, f"{answer.status_code}")
    wait = answer.headers.get("retry-after", "")
    return Outcome(
        False,
        f"{answer.status_code} {answer.reason_phrase}",
        final=is_final(answer.status_code),
        retry_after=float(wait) if wait.isdigit() else None,
    )


def why_not(url: str) -> str:
    """Why this address may not be called; empty if it may."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "A webhook's address begins with https:// or http://."
    if settings.ALERT_PRIVATE_ADDRESSES:
        return ""
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or parts.scheme, type=socket.SOCK_STREAM)
    except OSError:
        return ""  # not found now is a passing fault: the call itself will say so
    if any(not ipaddress.ip_address(address[4][0]).is_global for address in found):
        return f"{parts.hostname} is a private address; ALERT_PRIVATE_ADDRESSES allows it."
    return ""
