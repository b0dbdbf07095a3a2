"""Attributes by our own names: of each field the newest name that has a value. What no name stands for is not seen."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from apps.telemetry.domain import aliases
from apps.telemetry.domain.otlp import Told

_FIELDS_OF: dict[str, tuple[tuple[str, int], ...]] = {}
for _field, _names in aliases.FIELDS.items():
    for _rank, _name in enumerate(_names):
        _FIELDS_OF[_name] = (*_FIELDS_OF.get(_name, ()), (_field, _rank))
for _name in (*aliases.INVOCATION, *aliases.USAGE, *aliases.COSTS):
    _FIELDS_OF[_name] = ((_name, 0),)
KEPT = {name: name for name in _FIELDS_OF}  # each in one copy, so that it is hashed once
MOST_PLACED = 64  # names of one span; more are rare, and would fill the memory


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


Places = tuple[tuple[int, str], ...]  # where a value stands, and of which field it is


def places_of(names: tuple[str | None, ...]) -> Places:
    """Of attributes by their names (None: one that is not kept). A later place of a field wins if it has a value."""
    return remembered_places(names) if len(names) <= MOST_PLACED else find_places(names)


def find_places(names: tuple[str | None, ...]) -> Places:
    place = {name: number for number, name in enumerate(names) if name is not None}
    ranked = [(rank, number, field) for name, number in place.items() for field, rank in _FIELDS_OF[name]]
    ranked.sort(reverse=True)  # the newest name last
    return tuple((number, field) for _, number, field in ranked)


remembered_places = lru_cache(maxsize=1_000)(find_places)  # a sender's spans carry the same names again and again


def text(told: Told, field: str, length: int = 128) -> str:
    value = told.get(field)
    return value[:length] if isinstance(value, str) else ""


def packed(value: Any) -> dict[str, Any]:
    """JSON in a text, or the repr of a Python dictionary."""
    found = unpacked(value, "{") if isinstance(value, str) else value
    return found if isinstance(found, dict) else {}


def packed_list(value: Any) -> list[Any]:
    found = unpacked(value, "[") if isinstance(value, str) else value
    return found if isinstance(found, list) else []


def unpacked(value: str, opening: str) -> Any:
    if not value.startswith(opening):
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        try:
            return ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return None
