"""Asks the control plane for each evaluation, by the OpenFeature Remote Evaluation Protocol."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping
from datetime import date
from typing import Any
from urllib.parse import quote

from changeover.resolution import Resolution, failed
from changeover.transport import Answer, Connection, Unreachable

EVALUATE = "/ofrep/v1/evaluate/flags/"


class Remote:
    def __init__(self, url: str, key: str, *, timeout: float) -> None:
        self._url, self._key, self._timeout = url, key, timeout
        self.version = 0
        self.reset()

    def reset(self) -> None:
        self._idle: deque[Connection] = deque()  # one for each evaluation under way at once
        self._paused_until = 0.0

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def evaluate(self, flag: str, context: Mapping[str, Any]) -> Resolution:
        if time.monotonic() < self._paused_until:
            return failed("GENERAL", "The control plane asked for a pause.", {})
        try:
            body = json.dumps({"context": context}, default=_text_of).encode()
        except (TypeError, ValueError) as fault:
            return failed("INVALID_CONTEXT", str(fault), {})
        connection = self._idle.pop() if self._idle else Connection(self._url, self._key, timeout=self._timeout)
        try:
            answer = connection.request(
                "POST", EVALUATE + quote(flag, safe=""), body=body, headers={"Content-Type": "application/json"}
            )
        except Unreachable as fault:
            return failed("GENERAL", f"The control plane is not reachable: {fault}", {})
        self._idle.append(connection)
        if answer.status == 429:
            self._paused_until = time.monotonic() + (answer.retry_after or 0.0)
        return self._read(answer)

    def _read(self, answer: Answer) -> Resolution:
        try:
            told = json.loads(answer.body) if answer.body else {}
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, dict):
            return failed("PARSE_ERROR", f"The answer ({answer.status}) is no JSON object.", {})
        metadata = told.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        if answer.status != 200:
            code = told.get("errorCode") or ("FLAG_NOT_FOUND" if answer.status == 404 else "GENERAL")
            details = told.get("errorDetails") or f"The control plane answered {answer.status}."
            return failed(str(code), str(details), metadata)
        self.version = max(self.version, version_of(metadata))
        assigned_by, variant = metadata.get("assigned_by"), told.get("variant") or None
        return Resolution(
            value=told.get("value"),
            variant=variant if "value" in told else None,
            reason=str(told.get("reason", "UNKNOWN")),
            error_code=None,
            error_details=None,
            metadata=metadata,
            assigned_by=assigned_by if isinstance(assigned_by, str) else None,
        )


def version_of(metadata: Mapping[str, Any]) -> int:
    """The snapshot that answered; 0 if the answer does not say."""
    revision = metadata.get("revision", metadata.get("version"))
    if isinstance(revision, str):
        return int(revision) if revision.isascii() and revision.isdigit() else 0
    return revision if isinstance(revision, int) and not isinstance(revision, bool) else 0


def _text_of(value: Any) -> str:
    if isinstance(value, date):  # and datetime
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot travel in a context")
