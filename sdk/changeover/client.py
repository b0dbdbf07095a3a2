"""What a service holds: evaluate flags, resolve routes, report calls."""

from __future__ import annotations

import atexit
import logging
import math
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from changeover import forks
from changeover.hold import Hold
from changeover.holds import Holds
from changeover.ids import new_id
from changeover.remote import Remote, version_of
from changeover.reporting import Reporter
from changeover.resolution import Resolution, Resolved, failed
from changeover.snapshot import Snapshot
from changeover.version import __version__
from changeover.watching import Listener, Watcher

log = logging.getLogger("changeover")

SDK = f"changeover-python/{__version__}"


class Client:
    """One for each process; threads may share it.

    It keeps the environment's snapshot and evaluates locally; with `remote=True` it asks the control plane at each
    evaluation instead. `wait_seconds` is how long the first evaluation may wait for the first snapshot; without one
    it answers PROVIDER_NOT_READY. `snapshot_file` keeps a copy to start from while the control plane is away.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        name: str,
        poll_seconds: float = 15.0,
        remote: bool = False,
        stream: bool = True,
        wait_seconds: float = 5.0,
        timeout_seconds: float = 5.0,
        hold_timeout_seconds: float = 1.0,
        flush_seconds: float = 1.0,
        max_queued: int = 10_000,
        snapshot_file: str | os.PathLike[str] | None = None,
    ) -> None:
        self.name = name
        self._wait_seconds = wait_seconds
        self._remote = Remote(url, key, timeout=timeout_seconds) if remote else None
        self._watcher: Watcher | None = None
        if not remote:
            self._watcher = Watcher(
                url,
                key,
                poll_seconds=poll_seconds,
                uses_stream=stream,
                timeout=timeout_seconds,
                snapshot_file=None if snapshot_file is None else Path(snapshot_file),
            )
        self._reporter = Reporter(
            url,
            key,
            client=self._describe,
            flush_seconds=flush_seconds,
            max_queued=max_queued,
            timeout=timeout_seconds,
        )
        self._holds = Holds(url, key, timeout=min(hold_timeout_seconds, timeout_seconds))
        self._starting = threading.Lock()
        self._is_started = False
        self._is_closed = False
        self._was_forked = False
        self._has_waited = False
        forks.restart(self)
        atexit.register(self.close)
        self._start()

    # Asking

    @property
    def snapshot(self) -> Snapshot | None:
        return None if self._watcher is None else self._watcher.snapshot

    @property
    def version(self) -> int:
        """The newest snapshot known; 0 if none is."""
        if self._remote is not None:
            return self._remote.version
        snapshot = self.snapshot
        return 0 if snapshot is None else snapshot.version

    @property
    def is_ready(self) -> bool:
        return self._remote is not None or self.snapshot is not None

    @property
    def is_refused(self) -> bool:
        """The control plane was asked last and does not take the key."""
        return self._watcher is not None and self._watcher.is_refused

    def wait(self, timeout: float) -> bool:
        """True as soon as flags can be evaluated; False at once where the key is refused."""
        self._start()
        return self._watcher is None or self._watcher.wait(timeout)

    def listen(self, listener: Listener) -> None:
        """Tells this listener what becomes of the snapshot. A client that asks remotely keeps none, and is silent."""
        if self._watcher is not None:
            self._watcher.listener = listener

    def evaluate(self, flag: str, context: Mapping[str, Any] | None = None) -> Resolution:
        """What this flag answers to this context. Never raises: what goes wrong is in `error_code`."""
        return self._evaluate(flag, context or {})[0]

    def resolve(self, flag: str, request_id: str | None = None, *, default: Any = None, **attributes: Any) -> Resolved:
        """The configuration that this request shall use, and what its report must carry.

        The request is the subject of the split: each gets an id of its own unless `request_id` gives one. `default` is
        the value where the flag has none.
        """
        request_id = new_id() if request_id is None else request_id
        answer, version = self._evaluate(flag, {**attributes, "targetingKey": request_id})
        return Resolved(
            flag=flag,
            request_id=request_id,
            value=answer.value if answer.has_value else default,
            variant=answer.variant,
            reason=answer.reason,
            error_code=answer.error_code,
            error_details=answer.error_details,
            snapshot=version,
            assigned_by=answer.assigned_by,
        )

    def _evaluate(self, flag: str, context: Mapping[str, Any]) -> tuple[Resolution, int]:
        if not self._is_started:
            self._start()
        if self._remote is not None:  # the control plane counts the exposures of its own evaluations
            answer = self._remote.evaluate(flag, context)
            return answer, version_of(answer.metadata)
        snapshot = self.snapshot or self._first_snapshot()
        if snapshot is None:
            return failed("PROVIDER_NOT_READY", "There is no snapshot yet.", {}), 0
        answer = snapshot.evaluate(flag, context)
        if answer.variant is not None:
            self._reporter.exposures.add(
                flag, answer.variant, snapshot.version, answer.assigned_by, context.get("targetingKey")
            )
        return answer, snapshot.version

    def _first_snapshot(self) -> Snapshot | None:
        if not self._has_waited and self._watcher is not None:
            self._watcher.wait(self._wait_seconds)
            self._has_waited = True  # once: a service must not stand still at every request
        return self.snapshot

    # Holding

    def budgeted(
        self,
        resolved: Resolved | str,
        *,
        input_tokens: int | None = None,
        max_tokens: int | None = None,
        cache_write_tokens: int | None = None,
        usd: Decimal | str | float | None = None,
        variant: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        service_tier: str | None = None,
        arm: str | None = None,
        tag: str | None = None,
        on_unreachable: Literal["open", "closed"] = "closed",
    ) -> Hold:
        """Room under all hard caps that count this call, before it is made.

            with client.budgeted(route, input_tokens=812, max_tokens=500) as hold:
                answer = ask(…, max_tokens=hold.max_tokens)
                hold.settle(input_tokens=812, output_tokens=64)

        Tokens that are not said to be written to a cache may be, at the dearest rate of the model. `service_tier` is
        what the provider will be asked for; the variant's own, if it has one.
        Raises BudgetExceeded, and BudgetUnverifiable where nobody can be asked and a cap is closed to such calls.
        """
        facts = self._facts(resolved, None, variant)
        scope = {name: facts[name] for name in ("route", "variant")}
        more = {"model": model or facts["model"], "provider": provider, "arm": arm, "tag": tag}
        return self._holds.hold(
            scope | more,
            input_tokens=input_tokens,
            max_tokens=max_tokens,
            cache_write_tokens=cache_write_tokens,
            usd=usd,
            service_tier=service_tier or _config(resolved, variant).get("service_tier"),
            on_unreachable=on_unreachable,
        )

    # Reporting

    def report(
        self,
        resolved: Resolved | str,
        *,
        latency_ms: float,
        at: datetime | None = None,
        request_id: str | None = None,
        variant: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        attempt: int = 1,
        final: bool = True,
        first_token_ms: float | None = None,
        input_tokens: int | None = None,
        cached_input_tokens: int | None = None,
        output_tokens: int | None = None,
        cache_write_tokens: int | None = None,
        cache_write_1h_tokens: int | None = None,
        output_chars: int | None = None,
        tokens_source: str | None = None,
        service_tier: str | None = None,
        cost_usd: Decimal | str | float | None = None,
        error: str | None = None,
        arm: str = "live",
        pair_id: str | None = None,
        tag: str | None = None,
        call_id: str | None = None,
    ) -> str:
        """Queues the report of one call, sent within a second. Answers the call's id.

        `resolved` is what `resolve` gave, or just the route's key. `at` is when the call began; `latency_ms` ago if it
        is not given. Of several attempts at one request only the last is `final`. Tokens nobody knows are None, not 0:
        of a stream that broke off say `output_chars`, of tokens that you counted yourself `tokens_source="counted"`.
        """
        facts = self._facts(resolved, request_id, variant)
        given, _, named = str(facts.pop("model") or "").partition("/")
        call_id = new_id() if call_id is None else call_id
        began = datetime.now(UTC) - timedelta(milliseconds=latency_ms) if at is None else at
        call = {
            "id": call_id,
            "at": _moment(began),
            **facts,
            "provider": provider or (given if named else None),
            "model": model or named or given or None,
            "attempt": attempt,
            "final": final,
            "latency_ms": _number("latency_ms", latency_ms),
            "first_token_ms": _number("first_token_ms", first_token_ms),
            "input_tokens": input_tokens,
            "cached_input_tokens": cached_input_tokens,
            "output_tokens": output_tokens,
            "cache_write_tokens": cache_write_tokens,
            "cache_write_1h_tokens": cache_write_1h_tokens,
            "output_chars": output_chars,
            "tokens_source": tokens_source,
            "service_tier": service_tier,
            "cost_usd": None if cost_usd is None else str(cost_usd),
            "error": error,
            "arm": arm,
            "pair_id": pair_id,
            "tag": tag,
        }
        self._start()
        self._reporter.add_call({name: value for name, value in call.items() if value is not None})
        return call_id

    def outcome(
        self,
        resolved: Resolved | str,
        name: str,
        value: float = 1,
        *,
        at: datetime | None = None,
        request_id: str | None = None,
        variant: str | None = None,
        outcome_id: str | None = None,
    ) -> str:
        """Queues how a request turned out: `outcome(resolved, "handoff", 0)`. Answers the outcome's id."""
        facts = self._facts(resolved, request_id, variant)
        facts.pop("model")
        outcome_id = new_id() if outcome_id is None else outcome_id
        told = {
            "id": outcome_id,
            "at": _moment(datetime.now(UTC) if at is None else at),
            **facts,
            "name": name,
            "value": _number("value", value),
        }
        self._start()
        self._reporter.add_outcome({name: value for name, value in told.items() if value is not None})
        return outcome_id

    def _facts(self, resolved: Resolved | str, request_id: str | None, variant: str | None) -> dict[str, Any]:
        if isinstance(resolved, str):
            return {"route": resolved, "request_id": request_id, "variant": variant, "model": None}
        return {
            "route": resolved.flag,
            "request_id": request_id or resolved.request_id,
            "variant": variant or resolved.variant,
            "model": _config(resolved, variant).get("model"),
            "snapshot": resolved.snapshot or None,
            "assigned": resolved.variant,
            "assigned_by": resolved.assigned_by,
        }

    @property
    def counts(self) -> dict[str, int]:
        """What became of the reports so far: sent, dropped, rejected, retried."""
        counts = asdict(self._reporter.counts)
        return {**counts, "dropped_exposures": self._reporter.exposures.dropped}

    # Living

    def flush(self, timeout: float = 5.0) -> bool:
        """Sends all that is queued; True if it was taken within the time."""
        self._start()
        return self._reporter.flush(timeout)

    def close(self, timeout: float = 5.0) -> bool:
        """Sends what is queued and stops. Also done when the process ends."""
        with self._starting:
            if self._is_closed:
                return True
            self._is_closed = True
        atexit.unregister(self.close)
        forks.leave(self)
        self._holds.close(timeout)
        flushed = self._reporter.stop(timeout) if self._is_started else True
        if self._watcher is not None:
            self._watcher.stop()
        if self._remote is not None:
            self._remote.close()
        return flushed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> None:
        if self._is_started:
            return
        with self._starting:
            if self._is_started or self._is_closed:
                return
            if self._was_forked:
                log.warning("this process was forked: the threads of the Changeover client begin anew in it")
            if self._watcher is not None:
                self._watcher.start()
            self._reporter.start()
            self._is_started = True

    def after_fork(self) -> None:
        """All anew, but for the snapshot."""
        self._starting = threading.Lock()
        self._is_started = False
        self._was_forked = True
        if self._watcher is not None:
            self._watcher.reset()
        if self._remote is not None:
            self._remote.reset()
        self._reporter.reset()
        self._holds.reset()

    def _describe(self) -> dict[str, Any]:
        return {"name": self.name, "sdk": SDK, "snapshot": self.version or None}


def _config(resolved: Resolved | str, variant: str | None) -> Mapping[str, Any]:
    """Of another variant than the assigned one, a fallback say, nothing is known."""
    return {} if isinstance(resolved, str) or variant not in (None, resolved.variant) else resolved.config


def _moment(at: datetime) -> str:
    if at.tzinfo is None:
        raise ValueError("a moment needs its time zone")
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _number(name: str, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number")
    return value
