import json
import re
import socketserver
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Receiver:
    """A real receiver; `answers` says what each call gets, the last one for ever. `hangs` holds each call up."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str]]] = [(204, {})]
        self.body = b""
        self.hangs = 0.0
        self.drips = False
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.paths: list[str] = []
        self.released = threading.Event()
        self.hung_up = threading.Event()  # the caller, before it had heard all
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.paths.append(self.path)
                receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                status, headers = receiver.answers[min(len(receiver.got), len(receiver.answers)) - 1]
                receiver.released.wait(receiver.hangs)
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    if receiver.drips:
                        while not receiver.released.wait(0.2):
                            self.wfile.write(b".")
                            self.wfile.flush()
                    self.wfile.write(receiver.body)
                except OSError:
                    receiver.hung_up.set()

            do_GET = do_POST

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def told(self) -> list[dict[str, Any]]:
        """The bodies that came."""
        return [json.loads(body) for _, body in self.got]

    def types(self) -> list[str]:
        return [told["type"] for told in self.told()]

    def routes(self) -> list[str]:
        """Of the alerts that came, each in a message of its own."""
        return [told["data"]["route"] for told in self.told()]

    def wait_for(self, n: int, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while len(self.got) < n and time.monotonic() < deadline:
            time.sleep(0.01)

    def close(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver(settings) -> Iterator[Receiver]:
    settings.ALERT_PRIVATE_ADDRESSES = True
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def other(settings) -> Iterator[Receiver]:
    """A second receiver."""
    settings.ALERT_PRIVATE_ADDRESSES = True
    receiver = Receiver()
    yield receiver
    receiver.close()


class MailServer:
    """A real mail server, as far as Django speaks to it. `refuses`: the code that an address is answered with."""

    def __init__(self) -> None:
        self.refuses: dict[str, int] = {}
        self.got: list[tuple[str, str]] = []  # address and mail
        mail_server = self

        class Handler(socketserver.StreamRequestHandler):
            def say(self, line: str) -> None:
                self.wfile.write(f"{line}\r\n".encode())

            def handle(self) -> None:
                to: list[str] = []
                self.say("220 ready")
                while line := self.rfile.readline().decode().strip():
                    if line.upper().startswith("RCPT"):
                        address = re.findall("<(.*)>", line)[0]
                        code = mail_server.refuses.get(address, 250)
                        to += [address] if code == 250 else []
                        self.say(f"{code} {address}")
                    elif line.upper() == "DATA":
                        self.say("354 go on")
                        lines = iter(self.rfile.readline, b".\r\n")
                        mail = b"".join(lines).decode()
                        mail_server.got += [(each, mail) for each in to]
                        self.say("250 taken")
                    elif line.upper() == "QUIT":
                        return self.say("221 bye")
                    else:
                        to = []
                        self.say("250 yes")

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def addresses(self) -> list[str]:
        return [address for address, _ in self.got]


@pytest.fixture
def mail_server(settings) -> Iterator[MailServer]:
    mail_server = MailServer()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = mail_server.server.server_address
    settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
    settings.EMAIL_HOST_USER = ""
    yield mail_server
    mail_server.server.shutdown()
    mail_server.server.server_close()
