"""Versions and patterns as people write them in a condition.

JSONLogic in flagd's clients knows no regular expressions. Those that say nothing but "begins", "ends", "holds" or "is
one of" are taken and written out with what the clients do know; any other is refused, with what to use instead.
"""

import re
from typing import Any

from apps.flags.domain.unfit import Unfit

NUMBER = r"(0|[1-9]\d*)"
PART = r"[0-9A-Za-z-]+"
VERSION = re.compile(rf"[vV]?{NUMBER}(\.{NUMBER}(\.{NUMBER}(-{PART}(\.{PART})*)?(\+{PART}(\.{PART})*)?)?)?")
COMPARISONS = ("=", "!=", "<", "<=", ">", ">=", "^", "~")
SPECIAL = frozenset(".^$*+?{}[]()|\\")


def check_version(value: Any) -> str:
    if not isinstance(value, str) or not VERSION.fullmatch(value):
        raise Unfit("targeting", f"{value!r} is no version: write it like 1.4.0, or 2.0.0-beta.1.")
    return value


def check_comparison(arguments: Any) -> None:
    """The constants of a `sem_ver`: what is read from the context cannot be checked."""
    if not isinstance(arguments, list) or len(arguments) != 3:
        raise Unfit("targeting", "sem_ver compares three things: a version, how, and another version.")
    left, how, right = arguments
    if not isinstance(how, dict) and how not in COMPARISONS:
        raise Unfit("targeting", f"sem_ver compares by {', '.join(COMPARISONS)}; {how!r} is none of them.")
    for side in (left, right):
        if not isinstance(side, dict):
            check_version(side)


Simple = tuple[str, tuple[str, ...]]  # an operator of conditions.py, and its values


def simple(pattern: Any) -> Simple:
    """What the pattern says, in words that every client knows: contains, starts_with, ends_with or is_one_of."""
    if not isinstance(pattern, str) or not pattern:
        raise Unfit("rules", "A pattern is a text that is not empty.")
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as fault:
        raise Unfit("rules", f"{pattern!r} is no regular expression: {fault}.") from fault
    begins, ends = pattern.startswith("^"), pattern.endswith("$") and not pattern.endswith("\\$")
    inner = pattern[begins : len(pattern) - ends]
    if begins and inner.endswith(".*"):
        inner, ends = inner[:-2], False
    if ends and inner.startswith(".*"):
        inner, begins = inner[2:], False
    texts: list[str | None]
    if inner.startswith("(?:") and inner.endswith(")"):
        texts = alternatives(inner[3:-1])
    elif inner.startswith("(") and inner.endswith(")"):
        texts = alternatives(inner[1:-1])
    elif has_bar(inner) and (begins or ends):
        texts = [None]  # `^a|b$` is "begins with a, or ends with b"
    else:
        texts = alternatives(inner)
    known = [text for text in texts if text]
    if len(known) != len(texts):
        raise Unfit(
            "rules",
            f"flagd's clients know no regular expressions, and {pattern!r} is more than a beginning, an end or a"
            " list of words: use starts_with, ends_with, contains or is_one_of.",
        )
    operator = "is_one_of" if begins and ends else "starts_with" if begins else "ends_with" if ends else "contains"
    return operator, tuple(known)


def has_bar(text: str) -> bool:
    return "|" in text.replace("\\|", "")


def alternatives(text: str) -> list[str | None]:
    return [literal(part) for part in re.split(r"(?<!\\)\|", text)]


def literal(text: str) -> str | None:
    """The text that this part of a pattern stands for; None if it stands for more than one."""
    found, escaped = "", False
    for letter in text:
        if escaped:
            if letter.isalnum() or letter.isspace():
                return None
            found, escaped = found + letter, False
        elif letter == "\\":
            escaped = True
        elif letter in SPECIAL:
            return None
        else:
            found += letter
    return None if escaped else found
