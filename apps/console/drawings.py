"""Small drawings inside rows: sparkline, spend bar, interval, stage. Widths are attributes, colours are classes."""

import math
from collections.abc import Sequence
from html import escape
from typing import Literal

from apps.console import figures, glyphs
from apps.console.charts import Arm, Value, path, pieces

Stage = Literal["done", "now", "stopped", "to_come"]


def spark(
    arms: Sequence[tuple[Arm, Sequence[tuple[float, Value]]]],
    limit: float | None,
    says: str,
    *,
    since: float,
    until: float,
) -> str:
    """112 x 34, both arms, the limit, a dot at the newest value; no axes."""
    values = [v for _, points in arms for _, v in points if v is not None]
    if not values:
        return ""
    high = max([*values, limit or 0]) or 1
    low = min([*values, limit if limit is not None else high])
    room = (high - low) or high or 1
    low = max(0.0, low - room * 0.15)
    room = (high - low) or 1

    def x(t: float) -> float:
        return round(2 + 106 * (t - since) / ((until - since) or 1), 1)

    def y(value: float) -> float:
        return round(30 - 26 * (value - low) / room, 1)

    out = [f'<svg class="spark" viewBox="0 0 112 34" width="112" height="34" role="img" aria-label="{escape(says)}">']
    if limit is not None:
        out.append(f'<path class="limit" d="M0 {y(limit):g}H110"/>')
    for arm, points in arms:
        runs = pieces(points)
        out += [f'<path class="line is-{arm}" d="{path(run, x, y)}"/>' for run in runs]
        if runs and arm == arms[-1][0]:
            t, value = runs[-1][-1]
            out.append(f'<circle class="dot is-{arm}" cx="{x(t):g}" cy="{y(value):g}" r="3"/>')
    out.append("</svg>")
    return "".join(out)


def bar(fraction: float, pace: float | None, *, width: int = 72, full: bool = False) -> str:
    """Spend against its limit, with a tick where even spending would stand."""
    css = "is-over" if fraction >= 1 else "is-ahead" if pace is not None and fraction > pace * 1.05 else ""
    part = min(max(fraction, 0), 1) * 100
    says = f"{figures.percent(fraction)} spent" + (
        f", {figures.percent(pace)} of the period gone" if pace is not None else ""
    )
    tick = f'<rect class="pace" x="{min(pace, 1) * 100:.1f}%" y="0" width="2" height="12"/>' if pace is not None else ""
    wide = "100%" if full else str(width)
    return (
        f'<svg class="bar {css}" width="{wide}" height="12" role="img" aria-label="{escape(says)}">'
        '<rect class="track" y="4" width="100%" height="4" rx="2"/>'
        f'<rect class="fill" y="4" width="{part:.1f}%" height="4" rx="2"/>{tick}</svg>'
    )


def part(fraction: float, says: str, *, width: int = 64) -> str:
    """How much of a whole: neither full nor empty is good or bad."""
    return (
        f'<svg class="bar" width="{width}" height="12" role="img" aria-label="{escape(says)}">'
        '<rect class="track" y="4" width="100%" height="4" rx="2"/>'
        f'<rect class="fill" y="4" width="{min(max(fraction, 0), 1) * 100:.1f}%" height="4" rx="2"/></svg>'
    )


def interval(
    low: float | None,
    value: float | None,
    high: float | None,
    *,
    same: float | None,
    limit: float | None,
    tone: str,
    says: str,
) -> str:
    """120 x 20: track, "no difference", limit, whisker and dot, on one scale that holds all of them."""
    seen = [v for v in (low, value, high, same, limit) if v is not None and math.isfinite(v)]
    if value is None or len(seen) < 2:
        return ""
    least, most = min(seen), max(seen)
    room = (most - least) or abs(most) or 1
    least, most = least - room * 0.16, most + room * 0.16

    def x(v: float) -> float:
        return round(120 * (min(max(v, least), most) - least) / (most - least), 1)

    out = [
        f'<svg class="interval tone-{tone or "none"}" width="120" height="20" viewBox="0 0 120 20" role="img" '
        f'aria-label="{escape(says)}"><rect class="track" width="120" height="20" rx="2"/>'
    ]
    if same is not None:
        out.append(f'<path class="same" d="M{x(same):g} 1V19"/>')
    if limit is not None:
        out.append(f'<path class="limit" d="M{x(limit):g} 1V19"/>')
    if low is not None and high is not None:
        out.append(f'<path class="whisker" d="M{x(low):g} 10H{x(high):g}"/>')
    out.append(f'<circle class="dot" cx="{x(value):g}" cy="10" r="3.5"/></svg>')
    return "".join(out)


def stage_dot(state: Stage, share: float) -> str:
    head = '<svg class="stage-dot is-{}" width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">'
    if state == "done":
        return head.format("done") + (
            '<circle class="disc" cx="8" cy="8" r="7.2"/><path class="tick" d="m4.9 8.3 2.1 2.1 4.1-4.5"/></svg>'
        )
    if state == "now":
        return head.format("now") + glyphs.pie(share) + "</svg>"
    if state == "stopped":
        return head.format("stopped") + glyphs.SHAPES["rolled_back"] + "</svg>"
    return head.format("to-come") + '<circle class="ring" cx="8" cy="8" r="6.6"/></svg>'


def stage_rail(part: float, *, now: bool) -> str:
    css = "stage-rail is-now" if now else "stage-rail"
    return (
        f'<svg class="{css}" width="100%" height="2" aria-hidden="true"><rect class="to-come" width="100%" height="2"/>'
        f'<rect class="gone" width="{min(max(part, 0), 1) * 100:.0f}%" height="2"/></svg>'
    )


def fall(begin: float, end: float, css: str) -> str:
    """One bar of a waterfall, between two fractions of the widest; the words beside it say the same."""
    left, width = begin * 100, max((end - begin) * 100, 0.5)
    return (
        '<svg class="fall" width="100%" height="12" aria-hidden="true">'
        f'<rect class="{css}" x="{left:.1f}%" y="0" width="{width:.1f}%" height="12"/></svg>'
    )
