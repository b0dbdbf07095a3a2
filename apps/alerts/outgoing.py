"""One POST to an address that somebody has typed in, so that it cannot be turned against our own network.

The name is resolved once, every address that comes back is checked, and the connection goes to a checked one, with
the name still in Host and in the TLS handshake. Each attempt resolves and checks again: a name may change. No
redirects, no proxies from the environment, no password in the address. It ends after 3 s without a connection,
after 10 s in all, and reads 64 kB at most.
"""

import queue
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpcore2
import httpx2
from django.conf import settings

from apps.alerts.domain.addresses import is_public

CONNECT_SECONDS = 3.0
TOTAL_SECONDS = 10.0
MOST_BYTES = 64 * 1024
PORTS = {"https": 443, "http": 80}


class Refusal(Exception):
    """This address may not be called. Another try would not change it."""


class NoAnswer(Exception):
    """It could not be reached or did not answer in time."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def words(self) -> str:
        """Status and the standard words for it: what the receiver says beside is not for everybody's eyes."""
        reason = httpx2.codes.get_reason_phrase(self.status)
        return f"{self.status} {reason}".strip()

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


def why_not(url: str, *, resolve_too: bool = True) -> str:
    """Why this address may not be called; empty if it may, or if its name cannot be resolved just now."""
    try:
        parsed = read(url)
        if resolve_too:
            addresses_of(parsed.host, port_of(parsed), private=settings.ALERT_PRIVATE_ADDRESSES)
    except Refusal as refusal:
        return str(refusal)
    except NoAnswer:
        return ""  # a passing fault: the call itself will say so
    return ""


def read(url: str, *, private: bool | None = None) -> httpx2.URL:
    """The address, if its form is allowed. Where private networks are allowed, so are http and other ports."""
    anywhere = settings.ALERT_PRIVATE_ADDRESSES if private is None else private
    try:
        parsed, plain = httpx2.URL(url), urlsplit(url)
    except (httpx2.InvalidURL, ValueError, TypeError):
        raise Refusal("This is not an address.") from None
    if parsed.scheme not in PORTS or not parsed.host:
        raise Refusal("An address begins with https:// and a host.")
    if parsed.scheme == "http" and not (anywhere or settings.ALERT_PLAIN_HTTP):
        raise Refusal("An address begins with https://; ALERT_PLAIN_HTTP allows http://.")
    if "@" in plain.netloc:  # before it there may be nothing
        raise Refusal("An address has no user and password in it.")
    if "#" in url:
        raise Refusal("An address has no fragment (#…).")
    if not anywhere and port_of(parsed) not in (*PORTS.values(), *settings.ALERT_PORTS):
        raise Refusal(f"Port {port_of(parsed)} is not allowed; ALERT_PORTS lists those that are, beside 443 and 80.")
    return parsed


def port_of(url: httpx2.URL) -> int:
    return PORTS[url.scheme] if url.port is None else url.port


def addresses_of(host: str, port: int, *, private: bool, seconds: float = CONNECT_SECONDS) -> list[str]:
    """Everything the name stands for, checked. Resolving knows no time-out of its own: a thread waits instead of us."""
    found: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def look() -> None:
        try:
            found.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.put(error)

    threading.Thread(target=look, daemon=True, name="resolve").start()
    try:
        result = found.get(timeout=max(seconds, 0.01))
    except queue.Empty:
        raise NoAnswer(f"{host} was not resolved within {seconds:.0f} s") from None
    if isinstance(result, Exception):
        raise NoAnswer(f"{host} is not known")
    addresses = list(dict.fromkeys(str(each[4][0]) for each in result))
    if not private:
        for address in addresses:
            if not is_public(address):
                raise Refusal(f"{host} is a private address; ALERT_PRIVATE_ADDRESSES allows it.")
    return addresses


class Deadlined(httpcore2.NetworkStream):
    """A stream whose every read and write ends with the whole call: a byte a second keeps nobody busy for ever."""

    def __init__(self, stream: httpcore2.NetworkStream, ends_at: float) -> None:
        self.stream = stream
        self.ends_at = ends_at

    def left(self) -> float:
        left = self.ends_at - time.monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout("the call's time is over")
        return left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, self.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, self.left())

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return Deadlined(self.stream.start_tls(ssl_context, server_hostname, self.left()), self.ends_at)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


class Checked(httpcore2.NetworkBackend):
    """Connects to an address that was checked, never to a name that the system would resolve a second time."""

    def __init__(self, *, private: bool, ends_at: float) -> None:
        self.private = private
        self.ends_at = ends_at
        self.system = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        connected_by = min(time.monotonic() + CONNECT_SECONDS, self.ends_at)
        fault: Exception = NoAnswer(f"{host} is not known")
        for address in addresses_of(host, port, private=self.private, seconds=connected_by - time.monotonic()):
            left = connected_by - time.monotonic()
            if left <= 0:
                break
            try:
                stream = self.system.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                fault = error
                continue
            return Deadlined(stream, self.ends_at)
        raise fault


@cache
def trust() -> Any:
    return httpcore2.default_ssl_context()


def post(url: str, body: bytes, headers: Mapping[str, str], *, private: bool | None = None) -> Answer:
    """Raises Refusal or NoAnswer. `private`: an address that the operator of this installation has set."""
    anywhere = settings.ALERT_PRIVATE_ADDRESSES if private is None else private
    parsed = read(url, private=private)
    ends_at = time.monotonic() + TOTAL_SECONDS
    sent = {"host": parsed.netloc.decode("ascii"), "user-agent": "Changeover", "accept-encoding": "identity"}
    sent |= {"connection": "close", "content-length": str(len(body))} | dict(headers)
    backend = Checked(private=anywhere, ends_at=ends_at)
    target = httpcore2.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=port_of(parsed), target=parsed.raw_path)
    try:
        with (
            httpcore2.ConnectionPool(ssl_context=trust(), network_backend=backend, max_connections=1) as pool,
            pool.stream("POST", target, headers=list(sent.items()), content=body) as response,
        ):
            read_bytes = bytearray()
            for piece in response.iter_stream():
                read_bytes += piece
                if len(read_bytes) >= MOST_BYTES:
                    break
            found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            return Answer(response.status, found, bytes(read_bytes[:MOST_BYTES]))
    except (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        raise NoAnswer(words(error)) from error


def words(error: Exception) -> str:
    if isinstance(error, httpcore2.ConnectTimeout):
        return f"no connection within {CONNECT_SECONDS:.0f} s"
    if isinstance(error, httpcore2.TimeoutException):
        return f"no answer within {TOTAL_SECONDS:.0f} s"
    if isinstance(error, httpcore2.ConnectError):
        return f"no connection: {error}"
    return f"{type(error).__name__}: {error}"
