"""One kept-alive HTTP connection to the control plane, by the standard library alone."""

from __future__ import annotations

import gzip
import http.client
import random
import socket
import ssl
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

MOST_BYTES = 64 * 1024 * 1024
LONGEST_PAUSE = 300.0


class Unreachable(Exception):
    """No answer: no connection, a broken one, or none in time."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str:
        return self.headers.get(name.lower(), "")

    @property
    def retry_after(self) -> float | None:
        """The pause asked for, in seconds. A date is not read: whole seconds are what the control plane sends."""
        text = self.header("retry-after").strip()
        return min(float(text), LONGEST_PAUSE) if text.isascii() and text.isdigit() else None


def jittered(failures: int, *, longest: float = 30.0) -> float:
    """How long to wait after so many failures in a row: anything up to 1 s, 2 s, 4 s … `longest`."""
    return random.uniform(0.0, min(longest, 2.0 ** min(failures - 1, 10)))


class Connection:
    """Used by one thread at a time. Every request we send may be sent twice, so a kept connection that the other side
    had closed meanwhile is replaced and the request repeated."""

    def __init__(self, url: str, key: str, *, timeout: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no http address")
        self._is_secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._base = parts.path.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"}
        self._timeout = timeout
        self._kept: http.client.HTTPConnection | None = None

    def request(
        self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        sent = {**self._headers, **(headers or {})}
        while True:
            is_kept = self._kept is not None
            connection = self._kept or self._new()
            self._kept = None
            try:
                connection.request(method, self._base + path, body, sent)
                response = connection.getresponse()
                data = response.read(MOST_BYTES + 1)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as fault:
                connection.close()
                if is_kept:
                    continue
                raise Unreachable(str(fault) or type(fault).__name__) from fault
            except (OSError, http.client.HTTPException) as fault:
                connection.close()
                raise Unreachable(str(fault) or type(fault).__name__) from fault
            if len(data) > MOST_BYTES:
                connection.close()
                raise Unreachable("the answer is too long")
            if not response.will_close:
                self._kept = connection
            return Answer(response.status, _lowered(response), _inflated(response, data))

    def stream(self, path: str, *, headers: Mapping[str, str], silence: float) -> Stream:
        """An answer that is read line by line. More than `silence` seconds without a byte end it."""
        connection = self._new()
        try:
            connection.connect()
            opened = connection.sock
            opened.settimeout(silence)
            connection.request("GET", self._base + path, None, {**self._headers, **headers})
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as fault:
            connection.close()
            raise Unreachable(str(fault) or type(fault).__name__) from fault
        return Stream(connection, opened, response)

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _new(self) -> http.client.HTTPConnection:
        if self._is_secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)


class Stream:
    LONGEST_LINE = 1024 * 1024

    def __init__(
        self, connection: http.client.HTTPConnection, opened: socket.socket, response: http.client.HTTPResponse
    ) -> None:
        self._connection, self._socket, self._response = connection, opened, response
        self.answer = Answer(response.status, _lowered(response), b"")

    def line(self) -> str | None:
        """The next line without its end; None when the stream has ended."""
        try:
            data = self._response.readline(self.LONGEST_LINE)
        except (OSError, ValueError, AttributeError, http.client.HTTPException):  # closed by another thread, too
            return None
        return data.decode(errors="replace").rstrip("\r\n") if data else None

    def interrupt(self) -> None:
        """Ends a read under way in another thread."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self) -> None:
        self._response.close()
        self._connection.close()


def _lowered(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}


def _inflated(response: http.client.HTTPResponse, data: bytes) -> bytes:
    if response.getheader("Content-Encoding", "").lower() != "gzip" or not data:
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as fault:
        raise Unreachable(f"the answer is no gzip: {fault}") from fault
