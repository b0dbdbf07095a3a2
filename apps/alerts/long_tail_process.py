"""`python -m apps.alerts.long_tail_process`: sends one message through apprise and ends. No Django here.

In: one JSON object, {"urls": {mark: url}, "title", "body", "kind", "only_public"}. Out: a line for each address as soon
as it is known, {"mark", "taken", "refused"}; `refused` is the private address that it would have gone to. The caller
ends the process when its time is over.

Every connect and every datagram of a Python program passes the interpreter's audit events, which carry the address
itself, after every resolving and every redirect.
"""

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, TextIO

import apprise

from apps.alerts.domain.addresses import is_public

CONNECT_SECONDS = 3.0
READ_SECONDS = 10.0
MOST_BYTES = 64 * 1024  # of one answer
SENDING = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})

refused: list[str] = []


def refuse_private(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in SENDING:
        return
    asked, address = arguments[:2]
    if address is None:  # a message on a socket that is connected
        return
    if asked.family not in (socket.AF_INET, socket.AF_INET6) or not is_public(str(address[0])):
        where = str(address[0] if isinstance(address, tuple) else "this machine")
        refused.append(where)
        raise PermissionError(f"{where} is a private address")


class ShortAnswer(socket.SocketIO):
    """What an answer is read through, of plain and of TLS sockets: it ends after the most that is read of any."""

    got = 0

    def readinto(self, buffer: Any) -> int | None:
        if self.got >= MOST_BYTES:
            return 0
        n = super().readinto(memoryview(buffer)[: MOST_BYTES - self.got])
        self.got += n or 0
        return n


def send(url: str, *, title: str, body: str, kind: str) -> bool:
    service = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    if service is None:
        return False
    service.redirects = False
    service.socket_connect_timeout, service.socket_read_timeout = CONNECT_SECONDS, READ_SECONDS
    return bool(service.notify(title=title, body=body, notify_type=apprise.NotifyType(kind)))


def run(told: dict[str, Any], out: TextIO) -> None:
    socket.SocketIO = ShortAnswer  # type: ignore[misc]  # the name that makefile() looks up
    if told["only_public"]:
        sys.addaudithook(refuse_private)
    urls = told["urls"]
    with ThreadPoolExecutor(max(len(urls), 1)) as threads:
        sent = {
            threads.submit(send, url, title=told["title"], body=told["body"], kind=told["kind"]): mark
            for mark, url in urls.items()
        }
        for done in as_completed(sent):
            taken = done.exception() is None and done.result()
            line = {"mark": sent[done], "taken": taken, "refused": "" if taken or not refused else refused[0]}
            print(json.dumps(line), file=out, flush=True)


if __name__ == "__main__":
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a plugin prints is no answer
    run(json.load(sys.stdin), answers)
