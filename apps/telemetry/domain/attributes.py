"""Attributes by our own names: of each field the newest name that has a value. What no name stands for is not seen."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

from apps.telemetry.domain import aliases

Told = dict[str, Any]  # by our own names; texts in which numbers are packed stand under their sender's
_FIELDS_OF: dict[str, tuple[tuple[str, int], ...]] = {}
for _field, _names in aliases.FIELDS.items():
    for _rank, _name in enumerate(_names):
        _FIELDS_OF[_name] = (*_FIELDS_OF.get(_name, ()), (_field, _rank))
for _name in (*aliases.INVOCATION, *aliases.USAGE, *aliases.COSTS):
    _FIELDS_OF[_name] = ((_name, 0),)


def fields_of(attributes: Mapping[str, Any]) -> Told:
    """Of each field the newest name that has a value. One walk over what was sent."""
    told: Told = {}
    ranks: dict[str, int] = {}
    for name, value in attributes.items():
        if value is None or value == "":
            continue
        for field, rank in _FIELDS_OF.get(name, ()):
            if rank < ranks.get(field, 99):
                told[field], ranks[field] = value, rank
    return told


def of_resource_named(attributes: Mapping[str, Any], field: str) -> str:
    """A resource's own name of a field; the newest that has a value."""
    for name in aliases.RESOURCE[field]:
        value = attributes.get(name)
        if isinstance(value, str) and value:
            return value
    return ""


def text(told: Told, field: str, length: int = 128) -> str:
    value = told.get(field)
    return value[:length] if isinstance(value, str) else ""


def packed(value: Any) -> dict[str, Any]:
    """JSON in a text, or the repr of a Python dictionary."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, str) or not value.startswith("{"):
        return {}
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        try:
            found = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return {}
    return found if isinstance(found, dict) else {}
