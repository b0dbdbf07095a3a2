"""Semantic versions as `sem_ver` compares them: a key that sorts, or None for what is no version."""

from __future__ import annotations

import re
from typing import Any

# Core numbers, then pre-release identifiers that sort: numbers by value before texts; a release after all of its own.
VersionKey = tuple[int, int, int, int, tuple[tuple[int, int, str], ...]]

_VERSION = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?\Z",
    re.ASCII,
)


def parse(value: Any) -> VersionKey | None:
    text = str(value)
    if text.startswith(("v", "V")):
        text = text[1:]
    numbers = text.split("-")[0].split("+")[0]
    dots = numbers.count(".")
    if dots < 2:
        text = numbers + ".0" * (2 - dots) + text[len(numbers) :]
    found = _VERSION.match(text)
    if found is None:
        return None
    major, minor, patch, pre = found.groups()
    try:
        core = int(major), int(minor), int(patch)
    except ValueError:  # more digits than Python will read
        return None
    if pre is None:
        return (*core, 1, ())
    return (*core, 0, tuple((0, len(p), p) if p.isdigit() else (1, 0, p) for p in pre.split(".")))


def compare(a: VersionKey | None, op: Any, b: VersionKey | None) -> bool | None:
    if a is None or b is None:
        return None
    match op:
        case "=":
            return a == b
        case "!=":
            return a != b
        case "<":
            return a < b
        case "<=":
            return a <= b
        case ">":
            return a > b
        case ">=":
            return a >= b
        case "^":  # the same major version; flagd sets no lower bound
            return a[0] == b[0]
        case "~":  # the same major and minor version; no lower bound either
            return a[:2] == b[:2]
    return None
