"""The stored sentence of a decision, marked up: verb, share, value and limit are strong, moments are <time>.

The words never change here. What comes in is plain text or its (role, text) parts, what goes out is escaped HTML.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from html import escape

from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.console import figures
from apps.core.money import nano_to_text

NAME = re.compile(r"\b[A-Z][A-Za-z]*-\d(?:[\w.]*\w)?")
STRONG = {"verb", "share", "candidate", "metric", "value", "limit"}
BETWEEN = {" was ", ", limit ", " to ", " "}  # strong where both neighbours are
TIME = re.compile(r"\b(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d)?\b")
GLUED = re.compile(r"(?<=\d) (?=(?:%|s|ms|h|min|d|times)\b|%|: ?1\b)")
VERBS = (
    "Rolled back|Fell back|Stepped back|Stopped the shadow|Held|Advanced|Capped|Blocked|Paused|Resumed|Finished|"
    "Restored"
)
LOUD = re.compile(
    rf"^(?:{VERBS})\b"
    r"|\$[\d,.]+ of \$[\d,.]+"
    r"|\d[\d.]*\u00a0% to \d[\d.]*\u00a0%(?: [A-Z][\w.\-]*)*"
    r"|(?:p\d\d|median|error|cost)[a-z \-]* was [^,]+?, limit \$?\d[\d.,]*\d(?:\u00a0(?:s|ms|%|times))?"
)


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
    """A sentence without parts: what can be told from its words is strong."""
    text = glued(text)
    out, end = "", 0
    for found in LOUD.finditer(text):
        out += timed(text[end : found.start()], at) + f"<strong>{timed(found.group(), at)}</strong>"
        end = found.end()
    return out + timed(text[end:], at)


def glued(text: str) -> str:
    """Figures keep their units on the line."""
    return GLUED.sub("\u00a0", text)


def amount(nano: int) -> SafeString:
    """Dollars as people read them, with the exact figure for who looks closer, and for machines."""
    exact = nano_to_text(nano)
    return format_html('<data value="{}" title="${}">{}</data>', exact, exact, figures.nano(nano))


def whole_names(html: str) -> str:
    """GPT-4.1 is never broken at its hyphen."""
    return NAME.sub(r'<span class="nowrap">\g<0></span>', html)


def timed(text: str, at: datetime | None) -> str:
    def one(found: re.Match[str]) -> str:
        whole = f"{at:%Y-%m-%d}T{found.group()}Z" if at else found.group()
        return f'<time datetime="{whole}">{found.group()}</time>'

    return TIME.sub(one, whole_names(escape(text)))
