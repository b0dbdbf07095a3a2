"""Keeps the newest snapshot: a conditional GET when the change stream rings, and now and then without it.

Two threads. `fetch` asks for the flags whenever it is due; `stream` reads the change stream and makes it due. While the
stream is silent or away, fetching falls back to polling. A snapshot older than the one at hand is never taken.
"""

from __future__ import annotations

import json
import logging
import os
import random
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Protocol

from changeover.snapshot import Snapshot, UnreadableDocument
from changeover.transport import Connection, Stream, Unreachable, jittered

log = logging.getLogger("changeover")

FLAGS = "/flagd/flags.json"
CHANGES = "/api/v1/changes"
BESIDE_A_STREAM = 60.0  # seconds between polls while the stream is well: a lost notice is caught all the same
SILENCE = 45.0  # the control plane sends a heartbeat every 15 s
HEALTHY = 60.0  # a stream that lived this long ends the count of failures
CATCHING_UP = 5  # how often to ask again where one process does not have yet what another has announced
REFUSED_PAUSE = 30.0


class Listener(Protocol):
    """What somebody beside the client wants to know. Called on the fetching thread, after each question."""

    def changed(self, snapshot: Snapshot, keys: list[str]) -> None:
        """There is a newer snapshot; these flags are not what they were."""

    def well(self) -> None:
        """The control plane has answered: what is at hand is the newest there is."""

    def troubled(self, message: str, *, refused: bool) -> None:
        """It has not. `refused`: it is there, but does not take the key."""


class Watcher:
    def __init__(
        self,
        url: str,
        key: str,
        *,
        poll_seconds: float,
        uses_stream: bool,
        timeout: float,
        snapshot_file: Path | None,
        silence: float = SILENCE,
    ) -> None:
        self._url, self._key, self._timeout = url, key, timeout
        self._poll_seconds = poll_seconds
        self._uses_stream = uses_stream
        self._silence = silence
        self._file = snapshot_file
        self.snapshot: Snapshot | None = None
        self.listener: Listener | None = None
        self._etag = ""
        self._has_warned = False
        self.reset()
        if snapshot_file is not None:
            self._read_file(snapshot_file)

    def reset(self) -> None:
        """Threads, locks and sockets anew: after a fork there are none that can be used."""
        self._stopped = False
        self.is_refused = False  # the last question was answered by: this key may not
        self._changed = threading.Condition()
        self._due = 0.0
        self._is_rung = False
        self._wanted = 0
        self._tries = 0
        self._failures = 0
        self._stream: Stream | None = None
        self.is_streaming = False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        loops = [("changeover-fetch", self._fetch_loop)]
        if self._uses_stream:
            loops.append(("changeover-stream", self._stream_loop))
        self._threads = [threading.Thread(target=loop, name=name, daemon=True) for name, loop in loops]
        for thread in self._threads:
            thread.start()

    def wait(self, timeout: float) -> bool:
        """True as soon as there is a snapshot; False at once where the key is refused."""
        with self._changed:
            self._changed.wait_for(lambda: self.snapshot is not None or self.is_refused or self._stopped, timeout)
            return self.snapshot is not None

    def stop(self, timeout: float = 1.0) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._stream is not None:
            self._stream.interrupt()
        for thread in self._threads:
            thread.join(timeout)

    # Fetching

    def _fetch_loop(self) -> None:
        connection = Connection(self._url, self._key, timeout=self._timeout)
        while True:
            with self._changed:
                while not self._stopped and (left := self._due - time.monotonic()) > 0:
                    self._changed.wait(left)
                if self._stopped:
                    break
                self._due = float("inf")
                was_rung, self._is_rung = self._is_rung, False
            try:
                # What the stream rang for may have come meanwhile, by the very first fetch say.
                pause = self._pause() if was_rung and self._has_wanted() else self._fetch(connection)
            except Exception:  # the edge of this thread: a fault must not freeze the flags for ever
                log.exception("asking for flags failed")
                pause = self._failed("could not be asked for flags")
            with self._changed:
                self._due = min(self._due, time.monotonic() + pause)
        connection.close()

    def _fetch(self, connection: Connection) -> float:
        """Asks once; answers how long to wait for the next time."""
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
        if self._etag:
            headers["If-None-Match"] = self._etag
        try:
            answer = connection.request("GET", FLAGS, headers=headers)
        except Unreachable as fault:
            return self._failed(f"is not reachable: {fault}")
        if answer.status == 200:
            try:
                self._take(answer.body, answer.header("etag"))
            except UnreadableDocument as fault:
                return self._failed(f"sent flags that cannot be read: {fault}")
        elif answer.status in (401, 403):
            return max(REFUSED_PAUSE, self._failed(f"refuses the key for flags ({answer.status})", refused=True))
        elif answer.status != 304:
            pause = self._failed(f"answered {answer.status} when asked for flags")
            return pause if answer.retry_after is None else max(pause, answer.retry_after)
        self._failures = 0
        self._has_warned = self.is_refused = False
        if self.listener is not None:
            self.listener.well()
        return self._pause()

    def _failed(self, what: str, *, refused: bool = False) -> float:
        self._failures += 1
        if not self._has_warned:
            self._has_warned = True
            log.warning("%s %s; flags go on from the last snapshot", self._url, what)
        with self._changed:
            self.is_refused = refused
            self._changed.notify_all()
        if self.listener is not None:
            self.listener.troubled(f"{self._url} {what}", refused=refused)
        return max(0.1, jittered(self._failures, longest=max(1.0, self._poll_seconds)))

    def _pause(self) -> float:
        with self._changed:  # a ring between the question and forgetting would be lost
            if not self._has_wanted() and self._tries < CATCHING_UP:
                self._tries += 1
                return 0.1 * 2.0**self._tries
            self._wanted = 0
        usual = max(BESIDE_A_STREAM, self._poll_seconds) if self.is_streaming else self._poll_seconds
        return usual * random.uniform(0.8, 1.2)

    def _has_wanted(self) -> bool:
        return self.snapshot is not None and self.snapshot.version >= self._wanted

    def _take(self, document: bytes, etag: str) -> None:
        current = self.snapshot
        snapshot = Snapshot.from_flagd(document, previous=current)
        if current is not None and snapshot.version < current.version:
            log.warning("%s sent version %s after %s: not taken", self._url, snapshot.version, current.version)
            return
        with self._changed:
            self.snapshot, self._etag = snapshot, etag
            self._changed.notify_all()
        if self._file is not None:
            self._write_file(self._file, document)
        if self.listener is not None:
            self.listener.changed(snapshot, snapshot.changed_since(current))

    # The change stream

    def _stream_loop(self) -> None:
        failures, connection = 0, Connection(self._url, self._key, timeout=self._timeout)
        while not self._stopped:
            began = time.monotonic()
            try:
                pause = self._listen(connection)
            except Exception:  # the edge of this thread, as above
                log.exception("listening for changes failed")
                pause = None
            if self._stopped:
                return
            failures = 1 if time.monotonic() - began >= HEALTHY else failures + 1
            if pause is None:
                pause = jittered(failures)
            with self._changed:
                self._changed.wait_for(lambda: self._stopped, pause)

    def _listen(self, connection: Connection) -> float | None:
        """Reads one stream to its end; answers the pause that was asked for, if any."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
        if self.snapshot is not None and self.snapshot.version:
            headers["Last-Event-ID"] = str(self.snapshot.version)
        try:
            stream = connection.stream(CHANGES, headers=headers, silence=self._silence)
        except Unreachable:
            return None
        self._stream = stream
        try:
            if stream.answer.status != 200:
                if stream.answer.status in (401, 403, 404):
                    return REFUSED_PAUSE
                return stream.answer.retry_after
            return self._read(stream)
        finally:
            self._stream = None
            stream.close()
            if self.is_streaming:
                self.is_streaming = False
                self._make_due(random.uniform(0.0, self._poll_seconds))

    def _read(self, stream: Stream) -> float | None:
        retry: float | None = None
        data: list[str] = []
        while not self._stopped:
            line = stream.line()
            if line is None:
                return retry
            self.is_streaming = True
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "data":
                data.append(value)
            elif field == "retry" and value.isascii() and value.isdigit():
                retry = min(int(value) / 1000, 60.0)
            elif line == "" and data:
                self._heard("\n".join(data))
                data = []
        return retry

    def _heard(self, data: str) -> None:
        try:
            event: Any = json.loads(data)
            version, after = int(event["version"]), float(event.get("after_ms") or 0) / 1000
        except (ValueError, TypeError, KeyError, AttributeError):
            return
        with self._changed:
            if self.snapshot is None or version > self.snapshot.version:
                self._wanted, self._tries, self._is_rung = max(self._wanted, version), 0, True
                self._make_due(max(0.0, min(after, 5.0)))

    def _make_due(self, after: float) -> None:
        with self._changed:
            self._due = min(self._due, time.monotonic() + after)
            self._changed.notify_all()

    # The copy on disk: a service starts with it where the control plane is away

    def _read_file(self, file: Path) -> None:
        try:
            self.snapshot = Snapshot.from_flagd(file.read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, UnreadableDocument) as fault:
            log.warning("the snapshot in %s is not used: %s", file, fault)

    def _write_file(self, file: Path, document: bytes) -> None:
        try:
            handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # readable by its owner alone
            try:
                with os.fdopen(handle, "wb") as written:
                    written.write(document)
                os.replace(name, file)  # noqa: PTH105 - both are paths we made
            except OSError:
                os.unlink(name)  # noqa: PTH108
                raise
        except OSError as fault:
            log.warning("the snapshot was not written to %s: %s", file, fault)
