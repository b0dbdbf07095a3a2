"""The nine shapes of state, the verdict shapes and the mark. Own drawings, 16 x 16, in the text's colour.

A shape never stands without its word: `state()` in the template tags writes both.
"""

import math
from typing import NamedTuple


class Word(NamedTuple):
    glyph: str
    tone: str  # "danger" | "warn" | "info" | "ok" | ""


# Worst first: the order of the board.
STATES: dict[str, Word] = {
    "Unprotected": Word("unprotected", "danger"),
    "No data": Word("unprotected", "danger"),
    "On fallback": Word("fallback", "danger"),
    "Rolled back": Word("rolled_back", "danger"),
    "Firing": Word("firing", "danger"),
    "Holding": Word("holding", "warn"),
    "Needs approval": Word("approval", "warn"),
    "Paused": Word("paused", ""),
    "Ramping": Word("ramping", "info"),
    "Steady": Word("steady", ""),
    # of an alert
    "Acknowledged": Word("acknowledged", ""),
    "Silenced": Word("silenced", ""),
    "Resolved": Word("within", ""),
    # of a delivery, a step, a proof
    "Done": Word("within", "ok"),
    "Failed": Word("firing", "danger"),
    "Waiting": Word("inconclusive", ""),
    "Running": Word("ramping", "info"),
    "Skipped": Word("holding", ""),
}
VERDICTS: dict[str, Word] = {
    "within": Word("within", "ok"),
    "safe": Word("within", "ok"),
    "exceeded": Word("firing", "danger"),
    "harm": Word("firing", "danger"),
    "warning": Word("holding", "warn"),
    "inconclusive": Word("inconclusive", "warn"),
    "undecided": Word("inconclusive", "warn"),
}
DECISIONS: dict[str, tuple[str, str]] = {  # kind of a decision -> (glyph, tone)
    "hold": ("holding", "warn"),
    "advance": ("ramping", "info"),
    "step_back": ("rolled_back", "danger"),
    "cap_share": ("holding", "warn"),
    "stop_shadow": ("holding", "warn"),
    "roll_back": ("rolled_back", "danger"),
    "fall_back": ("fallback", "danger"),
    "block": ("firing", "danger"),
    "pause": ("paused", ""),
    "resume": ("ramping", "info"),
    "finish": ("within", "ok"),
    "abort": ("rolled_back", "danger"),
}

OCTAGON = "M5.2 1.5h5.6l3.7 3.7v5.6l-3.7 3.7H5.2l-3.7-3.7V5.2z"
SHAPES: dict[str, str] = {
    "unprotected": (
        f'<path fill="currentColor" d="{OCTAGON}"/>'
        '<path class="cut" stroke-width="1.8" stroke-linecap="round" d="M8 4.6v4M8 11.2v.1"/>'
    ),
    "fallback": (
        '<path fill="none" stroke="currentColor" stroke-width="1.6" stroke-linejoin="round" d="m8 1.6 6.4 6.4L8 14.4'
        ' 1.6 8z"/><path fill="currentColor" d="M8 1.6v12.8L1.6 8z"/>'
    ),
    "rolled_back": (
        '<rect fill="currentColor" x="1.5" y="1.5" width="13" height="13" rx="2.6"/>'
        '<path class="cut" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"'
        ' d="M6.6 4.3 4.4 6.5l2.2 2.2M4.7 6.5h4.6a2.5 2.5 0 0 1 0 5H7"/>'
    ),
    "firing": (
        '<path fill="currentColor" stroke="currentColor" stroke-width="1.4" stroke-linejoin="round"'
        ' d="M8 2.2 14.4 13.4H1.6z"/>'
        '<path class="cut" stroke-width="1.7" stroke-linecap="round" d="M8 6.2v3.2M8 11.6v.1"/>'
    ),
    "holding": (
        '<circle fill="none" stroke="currentColor" stroke-width="1.7" cx="8" cy="8" r="6.2"/>'
        '<path stroke="currentColor" stroke-width="1.7" stroke-linecap="round" d="M5.2 8h5.6"/>'
    ),
    "approval": (
        '<circle fill="none" stroke="currentColor" stroke-width="1.7" stroke-dasharray="2.6 2.27"'
        ' cx="8" cy="8" r="6.2"/>'
        '<path fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"'
        ' d="m5.6 8.1 1.7 1.7 3.1-3.4"/>'
    ),
    "paused": '<path stroke="currentColor" stroke-width="2.6" d="M4.9 2.4v11.2M11.1 2.4v11.2"/>',
    "steady": '<circle fill="currentColor" cx="8" cy="8" r="3"/>',
    "within": (
        '<path fill="none" stroke="currentColor" stroke-width="1.9" stroke-linecap="round" stroke-linejoin="round"'
        ' d="m2.8 8.6 3.2 3.2 7.2-7.6"/>'
    ),
    "inconclusive": (
        '<circle fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round"'
        ' stroke-dasharray="1.6 2.72" cx="8" cy="8" r="5.5"/>'
    ),
    "acknowledged": (
        '<circle fill="none" stroke="currentColor" stroke-width="1.5" cx="8" cy="8" r="6.2"/>'
        '<path fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"'
        ' d="m5.4 8.2 1.8 1.8 3.4-3.7"/>'
    ),
    "silenced": (
        '<path fill="none" stroke="currentColor" stroke-width="1.4" stroke-linejoin="round" stroke-linecap="round"'
        ' d="M7.6 3 4.6 5.6H2v4.8h2.6l3 2.6zM10.6 6.3l3.4 3.4M14 6.3l-3.4 3.4"/>'
    ),
    "person": (
        '<circle fill="none" stroke="currentColor" stroke-width="1.5" cx="8" cy="5.4" r="2.9"/>'
        '<path fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round"'
        ' d="M2.6 13.8a5.5 5.5 0 0 1 10.8 0"/>'
    ),
}


def pie(share: float) -> str:
    """A ring with a slice: `share` from 0 to 1."""
    ring = '<circle fill="none" stroke="currentColor" stroke-width="1.7" cx="8" cy="8" r="6.2"/>'
    part = min(max(share, 0.0), 1.0)
    if part >= 0.999:
        return ring + '<circle fill="currentColor" cx="8" cy="8" r="4"/>'
    if part <= 0.001:
        return ring
    angle = 2 * math.pi * max(part, 0.06)
    x, y = 8 + 4.2 * math.sin(angle), 8 - 4.2 * math.cos(angle)
    return f'{ring}<path fill="currentColor" d="M8 8V3.8A4.2 4.2 0 {int(angle > math.pi)} 1 {x:.2f} {y:.2f}z"/>'


def shape(name: str, share: float | None = None) -> str:
    if name == "ramping":
        return pie(0.25 if share is None else share)
    return SHAPES[name]


def drawn(name: str, *, share: float | None = None, size: int = 14) -> str:
    return (
        f'<svg class="glyph" width="{size}" height="{size}" viewBox="0 0 16 16" aria-hidden="true">'
        f"{shape(name, share)}</svg>"
    )


def mark(*, firing: bool = False, size: int = 18) -> str:
    """The cue mark: a frame with the dot in its corner. Hollow is quiet, filled fires."""
    dot = (
        '<circle fill="currentColor" cx="13.2" cy="4.8" r="2.6"/>'
        if firing
        else '<circle fill="none" stroke="currentColor" stroke-width="1.5" cx="13" cy="5" r="2.2"/>'
    )
    return (
        f'<svg class="mark" width="{size}" height="{size}" viewBox="0 0 18 18" aria-hidden="true">'
        '<rect fill="none" stroke="currentColor" stroke-width="1.8" x="1" y="1" width="16" height="16" rx="3.6"/>'
        f"{dot}</svg>"
    )
