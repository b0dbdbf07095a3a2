"""Takes what calls cost and how they ended to the control plane, a batch each second.

A batch is written once and its bytes are sent until they are accepted, so that the control plane can tell a repeat from
news. All attempts of one request travel in one batch: those that are not final wait for the one that is. The queue has
an end; what does not fit is dropped and counted, never waited for.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from changeover.exposures import Exposures
from changeover.ids import new_id
from changeover.transport import Answer, Connection, Unreachable, jittered

log = logging.getLogger("changeover")

TELEMETRY = "/api/v1/telemetry"
MOST_IN_BATCH = 500
EXPOSURE_SECONDS = 5.0
HELD_SECONDS = 300.0  # attempts whose final one never comes are sent as they are
REFUSED_PAUSE = 30.0
AGAIN = frozenset((401, 403, 408, 425, 429, 500, 502, 503, 504))
MOST_FAULTS = 8  # a batch that the control plane stumbles over each time must not block all others

Row = dict[str, Any]


@dataclass(slots=True)
class Counts:
    """What became of what was reported, since the start of this process."""

    sent_calls: int = 0
    sent_outcomes: int = 0
    dropped: int = 0
    rejected: int = 0
    refused_batches: int = 0
    retries: int = 0


@dataclass(slots=True)
class _Held:
    calls: list[Row]
    since: float


class Reporter:
    def __init__(
        self,
        url: str,
        key: str,
        *,
        client: Callable[[], Row],
        flush_seconds: float,
        max_queued: int,
        timeout: float,
    ) -> None:
        self._url, self._key, self._timeout = url, key, timeout
        self._client = client
        self._flush_seconds = flush_seconds
        self._max_queued = max_queued
        self.reset()

    def reset(self) -> None:
        """Empty, with new locks: after a fork what is queued belongs to the parent, which will send it."""
        self.counts = Counts()
        self.exposures = Exposures()
        self._changed = threading.Condition()
        self._groups: deque[tuple[str, list[Row]]] = deque()
        self._queued = 0
        self._held: dict[tuple[Any, ...], _Held] = {}
        self._added = self._done = 0  # groups ever queued; groups that left, sent or given up
        self._is_asked = False
        self._stopped = False
        self._gives_up_at = float("inf")
        self._exposures_due = 0.0
        self._has_warned = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._loop, name="changeover-report", daemon=True)
        self._thread.start()

    # Queueing

    def add_call(self, call: Row) -> None:
        with self._changed:
            key = (call["route"], call.get("arm"), call.get("request_id"))
            if not call["final"] and call.get("request_id") is not None:
                if self._fits(1):
                    self._held.setdefault(key, _Held([], time.monotonic())).calls.append(call)
                    self._queued += 1
                return
            held = self._held.pop(key, None)
            earlier = [] if held is None else held.calls
            self._queued -= len(earlier)
            if self._fits(len(earlier) + 1):
                self._add("calls", [*earlier, call])

    def add_outcome(self, outcome: Row) -> None:
        with self._changed:
            if self._fits(1):
                self._add("outcomes", [outcome])

    def _fits(self, rows: int) -> bool:
        if self._queued + rows <= self._max_queued:
            return True
        if not self.counts.dropped:
            log.warning("the queue of reports is full (%d): what comes now is dropped and counted", self._max_queued)
        self.counts.dropped += rows
        return False

    def _add(self, kind: str, rows: list[Row]) -> None:
        self._groups.append((kind, rows))
        self._queued += len(rows)
        self._added += 1

    def _release(self, older_than: float) -> None:
        for key, held in list(self._held.items()):
            if held.since <= older_than:
                del self._held[key]
                self._queued -= len(held.calls)
                self._add("calls", held.calls)

    # Sending

    def flush(self, timeout: float) -> bool:
        """Sends what is queued now; True if all of it was taken within the time."""
        with self._changed:
            if self._thread is None:
                return not self._groups
            target, refused = self._added, self.counts.refused_batches
            self._exposures_due, self._is_asked = 0.0, True
            self._changed.notify_all()
            has_left = self._changed.wait_for(lambda: self._done >= target and not self._is_asked, timeout)
            return has_left and self.counts.refused_batches == refused

    def stop(self, timeout: float) -> bool:
        with self._changed:
            self._release(float("inf"))
            self._gives_up_at = time.monotonic() + timeout
        flushed = self.flush(timeout)
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(1.0)
        return flushed

    def _loop(self) -> None:
        connection = Connection(self._url, self._key, timeout=self._timeout)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_asked or self._stopped, self._flush_seconds)
                if self._stopped:
                    break
                was_asked = self._is_asked
                self._release(time.monotonic() - HELD_SECONDS)
            try:
                self._send_all(connection)
            except Exception:  # the edge of this thread: the next batch may be better
                log.exception("reporting failed")
            if was_asked:
                with self._changed:
                    self._is_asked = False
                    self._changed.notify_all()
        connection.close()

    def _send_all(self, connection: Connection) -> None:
        while True:
            with self._changed:
                batch, groups = self._next_batch()
            if not batch["calls"] and not batch["outcomes"] and not batch["exposures"]:
                return
            try:
                self._send(connection, batch)
            finally:
                with self._changed:
                    self._queued -= len(batch["calls"]) + len(batch["outcomes"])
                    self._done += groups
                    self._changed.notify_all()

    def _next_batch(self) -> tuple[Row, int]:
        batch: Row = {"batch_id": new_id(), "calls": [], "outcomes": [], "client": self._client(), "exposures": []}
        groups = rows = 0
        while self._groups and (groups == 0 or rows + len(self._groups[0][1]) <= MOST_IN_BATCH):
            kind, more = self._groups.popleft()
            batch[kind].extend(more)
            groups, rows = groups + 1, rows + len(more)
        if time.monotonic() >= self._exposures_due:
            self._exposures_due = time.monotonic() + EXPOSURE_SECONDS
            batch["exposures"] = self.exposures.take()
        return batch, groups

    def _send(self, connection: Connection, batch: Row) -> None:
        body = json.dumps(batch, separators=(",", ":")).encode()
        failures = 0
        while True:
            try:
                answer = connection.request("POST", TELEMETRY, body=body, headers={"Content-Type": "application/json"})
            except Unreachable as fault:
                pause = self._wait_after(f"is not reachable: {fault}", failures := failures + 1)
            else:
                if answer.status < 300:
                    self._accepted(batch, answer)
                    return
                if answer.status == 413 and self._halved(connection, batch):
                    return
                if answer.status not in AGAIN or (answer.status == 500 and failures >= MOST_FAULTS):
                    self._give_up(batch, f"refused a batch ({answer.status}): {_told(answer)}")
                    return
                pause = self._wait_after(f"does not take reports now ({answer.status})", failures := failures + 1)
                pause = REFUSED_PAUSE if answer.status in (401, 403) else (answer.retry_after or pause)
            if not self._pause(pause):
                self._give_up(batch, "did not take the last reports in time")
                return

    def _wait_after(self, what: str, failures: int) -> float:
        self.counts.retries += 1
        if not self._has_warned:
            self._has_warned = True
            log.warning("%s %s; reports wait", self._url, what)
        return max(0.1, jittered(failures))

    def _pause(self, seconds: float) -> bool:
        """Waits; False if it is time to give up."""
        until = time.monotonic() + seconds
        with self._changed:
            while not self._stopped:
                left = min(until, self._gives_up_at) - time.monotonic()
                if left <= 0:
                    return time.monotonic() < self._gives_up_at
                self._changed.wait(left)
        return False

    def _accepted(self, batch: Row, answer: Answer) -> None:
        self._has_warned = False
        self.counts.sent_calls += len(batch["calls"])
        self.counts.sent_outcomes += len(batch["outcomes"])
        rejected = _told(answer).get("rejected")
        if isinstance(rejected, list) and rejected:
            if not self.counts.rejected:
                log.warning("%s rejected %d reported calls, the first: %s", self._url, len(rejected), rejected[0])
            self.counts.rejected += len(rejected)

    def _halved(self, connection: Connection, batch: Row) -> bool:
        """Sends a batch that is too large as two, request by request; False if it cannot be divided."""
        requests: dict[tuple[Any, ...], list[Row]] = {}
        for call in batch["calls"]:
            requests.setdefault((call["route"], call.get("arm"), call.get("request_id") or call["id"]), []).append(call)
        groups, middle = list(requests.values()), len(requests) // 2
        outcomes, half = batch["outcomes"], len(batch["outcomes"]) // 2
        if len(groups) < 2 and len(outcomes) < 2:
            return False
        for some, these, exposures in (
            (groups[:middle], outcomes[:half], []),
            (groups[middle:], outcomes[half:], batch["exposures"]),
        ):
            calls = [call for group in some for call in group]
            part = {"batch_id": new_id(), "calls": calls, "outcomes": these, "exposures": exposures}
            self._send(connection, {**batch, **part})
        return True

    def _give_up(self, batch: Row, why: str) -> None:
        self.counts.refused_batches += 1
        self.counts.dropped += len(batch["calls"]) + len(batch["outcomes"])
        log.error(
            "%s %s; %d calls and %d outcomes are lost", self._url, why, len(batch["calls"]), len(batch["outcomes"])
        )


def _told(answer: Answer) -> Row:
    try:
        told = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
