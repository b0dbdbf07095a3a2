"""How a call ended: our classes of errors and reasons to finish, whatever a sender calls them."""

from __future__ import annotations

import json
import re
from typing import Any

from apps.telemetry.domain import aliases
from apps.telemetry.domain.otlp import Told

_NO_FAULT = re.compile(r"2\d\d|")  # a success, or nothing at all
_ERROR_CLASS = re.compile(r"[^A-Za-z0-9_.:-]")


def finish_of(told: Told) -> str:
    found = told.get("finish")
    if found is None:
        return ""
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            pass
    if isinstance(found, list):
        found = next((one for one in found if isinstance(one, str)), "")
    reason = found.lower()[:32] if isinstance(found, str) else ""
    return aliases.FINISHES.get(reason, reason)


def error_class(name: Any, code: Any) -> str:
    """One of our classes, or the sender's own word, cut short."""
    if name is None and code is None:
        return ""
    for told in (name, code):
        if isinstance(told, int) and not isinstance(told, bool):
            told = str(told)
        if isinstance(told, str) and told:
            short = told.rpartition(".")[2]
            known = aliases.ERROR_CLASSES.get(short.lower()) or aliases.ERROR_CLASSES.get(told.lower())
            if known:
                return known
    if isinstance(name, str) and name:
        return _ERROR_CLASS.sub("", name.rpartition(".")[2])[:64] or "other"
    return "other" if isinstance(code, str | int) and not _NO_FAULT.fullmatch(str(code)) else ""
