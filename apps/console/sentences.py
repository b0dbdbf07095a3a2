"""The stored sentence of a decision, marked up: verb, share, value and limit are strong, moments are <time>.

The words never change here. What comes in is plain text or its (role, text) parts, what goes out is escaped HTML.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from html import escape

STRONG = {"verb", "share", "candidate", "metric", "value", "limit"}
BETWEEN = {" was ", ", limit ", " to ", " "}  # strong where both neighbours are
TIME = re.compile(r"\b(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d)?\b")
GLUED = re.compile(r"(?<=\d) (?=(?:%|s|ms|h|min|d|times)\b|%|: ?1\b)")
FIRST_WORDS = re.compile(r"^[A-Z][a-z]+(?: back(?: to)?| to)?\b")


def marked_parts(parts: Sequence[Sequence[str]], at: datetime | None = None) -> str:
    strong = [role in STRONG for role, _ in parts]
    for index in range(1, len(parts) - 1):
        role, words = parts[index]
        if not role and words in BETWEEN and strong[index - 1] and strong[index + 1]:
            strong[index] = True
    out, open_now = "", False
    for is_strong, (_, words) in zip(strong, parts, strict=True):
        if is_strong != open_now:
            out += "<strong>" if is_strong else "</strong>"
            open_now = is_strong
        out += timed(glued(words), at)
    return out + ("</strong>" if open_now else "")


def marked(text: str, at: datetime | None = None) -> str:
    """A sentence without parts: its first words are strong."""
    text = glued(text)
    found = FIRST_WORDS.match(text)
    end = found.end() if found else 0
    head = f"<strong>{escape(text[:end])}</strong>" if end else ""
    return head + timed(text[end:], at)


def glued(text: str) -> str:
    """Figures keep their units on the line."""
    return GLUED.sub("\u00a0", text)


def timed(text: str, at: datetime | None) -> str:
    def one(found: re.Match[str]) -> str:
        whole = f"{at:%Y-%m-%d}T{found.group()}Z" if at else found.group()
        return f'<time datetime="{whole}">{found.group()}</time>'

    return TIME.sub(one, escape(text))
