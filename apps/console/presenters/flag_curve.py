"""How fast the newest snapshot reached the clients: their share over the seconds since it was published, as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

from apps.console import figures
from apps.flags.queries import ClientView

WIDE, PHONE = 720, 330
LEFT, RIGHT, TOP, HIGH = 46, 14, 8, 96
LEAST_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Curve:
    version: int
    steps: tuple[tuple[float, int], ...]  # seconds, and how many clients had it by then
    clients: int

    @property
    def says(self) -> str:
        have = self.steps[-1][1] if self.steps else 0
        told = f"{have} of {figures.counted(self.clients, 'client')} said that they have snapshot {self.version}"
        if not self.steps:
            return f"{told}."
        half = next(seconds for seconds, count in self.steps if count * 2 >= have)
        return f"{told}: half of these within {figures.took(half)}, the last after {figures.took(self.steps[-1][0])}."


def of(clients: Sequence[ClientView], version: int, published_at: datetime | None) -> Curve | None:
    """None where nobody can be followed: no snapshot yet, or no client has said what it has."""
    followed = [client for client in clients if client.snapshot is not None]
    if published_at is None or not followed:
        return None
    seconds = sorted(
        max((client.has_since - published_at).total_seconds(), 0.0)
        for client in followed
        if client.has_since is not None and client.snapshot == version
    )
    return Curve(version, tuple((at, number) for number, at in enumerate(seconds, 1)), len(followed))


def drawn(curve: Curve, width: int = WIDE) -> str:
    longest = max([LEAST_SECONDS, *(seconds for seconds, _ in curve.steps)]) * 1.05

    def x(seconds: float) -> float:
        return round(LEFT + (width - LEFT - RIGHT) * seconds / longest, 1)

    def y(count: float) -> float:
        return round(TOP + HIGH * (1 - count / curve.clients), 1)

    line = f"M{x(0)} {y(0)}" + "".join(f"H{x(seconds)}V{y(count)}" for seconds, count in curve.steps)
    out = [f'<svg class="curve" viewBox="0 0 {width} {TOP + HIGH + 24}" role="img" aria-label="{escape(curve.says)}">']
    for share in (0, 50, 100):
        at = y(curve.clients * share / 100)
        out.append(f'<path class="grid" d="M{LEFT} {at}H{width - RIGHT}"/>')
        out.append(f'<text x="{LEFT - 6}" y="{at + 4}" text-anchor="end">{share}{figures.NBSP}%</text>')
    for part, where in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        words = figures.span(longest * part) if part else "published"
        out.append(f'<text x="{x(longest * part)}" y="{TOP + HIGH + 18}" text-anchor="{where}">{escape(words)}</text>')
    out.append(f'<path class="line is-candidate" d="{line}H{x(longest)}"/>')
    return "".join(out) + "</svg>"
