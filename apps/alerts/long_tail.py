"""The long tail of services through apprise, imported only when such a channel exists.

Its plugins open their own connections, in their own ways and threads, so each message is sent by a process of its own
(`long_tail_process`): there the rule for outgoing addresses holds for whatever is done, and it can be ended when its
time is over. Addresses and messages are secrets: the process is told them on its input, never on its command line.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.utils.crypto import salted_hmac

from apps.alerts.outgoing import TOTAL_SECONDS

ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")  # no more of ours


@dataclass(frozen=True, slots=True)
class Sent:
    taken: bool
    answer: str
    reached: tuple[str, ...]  # marks of the addresses that have it


def why_not(urls: Sequence[str]) -> str:
    """Why apprise cannot send there; empty if it can. Addresses are secrets: only their place in the list is told."""
    import apprise

    for place, url in enumerate(urls, start=1):
        if apprise.Apprise.instantiate(url, suppress_exceptions=True) is None:
            return f"Apprise does not understand address {place}."
    return ""


def mark_of(url: str) -> str:
    """What may be kept of an address, to know it again."""
    return salted_hmac("apps.alerts.long_tail", url, algorithm="sha256").hexdigest()[:16]


def notify(urls: Sequence[str], *, title: str, body: str, kind: str, reached: Sequence[str] = ()) -> Sent:
    """To each that is not `reached` yet, side by side. Taken if then every address has it."""
    marks = {mark_of(url): url for url in urls}
    wanted = [mark for mark in marks if mark not in reached]
    told = {
        "urls": {mark: marks[mark] for mark in wanted},
        "title": title,
        "body": body,
        "kind": kind,
        "only_public": not settings.ALERT_PRIVATE_ADDRESSES,
    }
    lines = [json.loads(line) for line in send_apart(json.dumps(told)).splitlines() if line.endswith("}")]
    answers = {line["mark"]: line for line in lines}
    has_it = tuple(mark for mark in marks if mark in reached or answers.get(mark, {}).get("taken"))
    if len(has_it) == len(marks):
        return Sent(True, "sent through apprise", has_it)
    if refused := next((line["refused"] for line in lines if line["refused"]), ""):
        return Sent(False, f"{refused} is a private address; ALERT_PRIVATE_ADDRESSES allows it.", has_it)
    late = sum(mark not in answers for mark in wanted)
    said = f"{len(marks) - len(has_it)} of {len(marks)} addresses did not take it"
    return Sent(False, f"{said}, {late} within {TOTAL_SECONDS:.0f} s" if late else said, has_it)


def send_apart(told: str) -> str:
    """What the process said until it was done or its time was over."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "apps.alerts.long_tail_process"],
            input=told,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # plugins log their addresses
            text=True,
            cwd=settings.ROOT,
            env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
            | {"NO_PROXY": "*", "NETRC": os.devnull},
            timeout=TOTAL_SECONDS,
        )
    except subprocess.TimeoutExpired as over:
        said: bytes | str = over.stdout or ""  # bytes, whatever was asked for
        return said.decode() if isinstance(said, bytes) else said
    return done.stdout
