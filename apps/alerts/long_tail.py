"""The long tail of services through apprise, imported only when such a channel exists.

Its plugins open their own connections, so the rule for outgoing addresses is kept where each of them must pass: the
interpreter's audit event of `connect` carries the address itself, after every resolving and every redirect.
"""

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from django.conf import settings

from apps.alerts.domain.addresses import is_public


class Watched(threading.local):
    """What the current thread may connect to, and what it was refused."""

    only_public = False
    refused = ""


watched = Watched()


def on_audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "socket.connect" or not watched.only_public:
        return
    asked, address = arguments
    if asked.family not in (socket.AF_INET, socket.AF_INET6) or not is_public(str(address[0])):
        watched.refused = str(address[0])
        raise PermissionError(f"{address[0]} is a private address")


@cache
def watch_connections() -> None:
    """Once per process, and for good: an audit hook cannot be taken back."""
    sys.addaudithook(on_audit)


@contextlib.contextmanager
def only_public() -> Iterator[None]:
    if settings.ALERT_PRIVATE_ADDRESSES:
        yield
        return
    watch_connections()
    watched.only_public, watched.refused = True, ""
    try:
        yield
    finally:
        watched.only_public = False


def why_not(urls: Sequence[str]) -> str:
    """Why apprise cannot send there; empty if it can. Addresses are secrets: only their place in the list is told."""
    import apprise

    for place, url in enumerate(urls, start=1):
        if apprise.Apprise.instantiate(url, suppress_exceptions=True) is None:
            return f"Apprise does not understand address {place}."
    return ""


def notify(urls: Sequence[str], *, title: str, body: str, kind: str) -> tuple[bool, str]:
    """True if every address took it."""
    import apprise

    failed = 0
    refused = ""
    for url in urls:
        service = apprise.Apprise.instantiate(url, suppress_exceptions=True)
        if service is None:
            failed += 1
            continue
        service.redirects = False
        service.socket_connect_timeout, service.socket_read_timeout = 3.0, 10.0
        with only_public():
            taken = bool(service.notify(title=title, body=body, notify_type=apprise.NotifyType(kind)))
            refused = refused or watched.refused
        failed += not taken
    if refused:
        return False, f"{refused} is a private address; ALERT_PRIVATE_ADDRESSES allows it."
    return not failed, "sent through apprise" if not failed else f"{failed} of {len(urls)} addresses did not take it"
