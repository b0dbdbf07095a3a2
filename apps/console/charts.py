"""Charts as the server draws them: plain values in, SVG text out. `chart_values` has what they show as numbers.

Times are seconds since 1970 (UTC), values are in the unit of the axis. A gap is None and stays a gap. Colours, widths
and dashes are classes (`components.css`): no style attribute, so the content security policy needs no exception. The
server draws each chart twice, wide and for the phone, because the text of a scaled drawing would not be readable.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from typing import Literal

from apps.console import figures

Value = float | None
Scale = Callable[[float], float]
Write = Callable[[float], str]
Arm = Literal["baseline", "candidate", "ink"]
Unit = Literal["seconds", "usd", "percent", "odds", "plain"]

WIDE, PHONE = 800, 330
TOP, AXIS = 18, 20
MARK_WORDS, STAGE_WORDS = 130, 34  # about how wide they are
STEPS = (60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800)


@dataclass(frozen=True, slots=True)
class Series:
    name: str
    arm: Arm
    points: Sequence[tuple[float, Value]]
    band: Sequence[tuple[float, float, float]] = ()  # time, low, high
    open_last: bool = False  # the newest window is still filling: its line is dotted
    told: str = ""  # the last value in words, beside the line's end
    area: bool = False
    steps: bool = False
    kind: Literal["", "forecast", "pace"] = ""  # what may come is dashed, what even spending would be is dotted

    @property
    def css(self) -> str:
        return f"is-{self.arm} is-{self.kind}" if self.kind else f"is-{self.arm}"

    @property
    def last(self) -> tuple[float, float] | None:
        return next(((t, v) for t, v in reversed(self.points) if v is not None), None)


@dataclass(frozen=True, slots=True)
class Limit:
    value: float
    words: str
    kind: Literal["limit", "second"] = "limit"


@dataclass(frozen=True, slots=True)
class Mark:
    at: float
    words: str
    kind: Literal["act", "stage"] = "act"


@dataclass(frozen=True, slots=True)
class Chart:
    key: str
    title: str
    says: str  # the chart in one sentence, for those who do not see it
    series: Sequence[Series]
    since: float
    until: float
    unit: Unit = "seconds"
    height: int = 150
    limits: Sequence[Limit] = ()
    marks: Sequence[Mark] = ()
    shade: tuple[float, float, str] | None = None
    gaps: Sequence[tuple[float, float]] = ()
    log: bool = False
    floor: float = 0.0  # of a log scale
    ticks: Sequence[float] = ()
    with_time: bool = True
    waits: str = ""  # said in the empty chart
    end_room: int = 84  # for the words at the lines' ends

    @property
    def write(self) -> Write:
        return {
            "seconds": lambda v: f"{v:g}{figures.NBSP}s",
            "usd": lambda v: f"${v / 1000:g}k" if v >= 1000 else f"${v:g}",
            "percent": lambda v: f"{v:g}{figures.NBSP}%",
            "odds": figures.short_odds,
            "plain": lambda v: f"{v:g}",
        }[self.unit]

    @property
    def exact(self) -> Write:
        return {
            "seconds": figures.seconds,
            "usd": figures.usd,
            "percent": lambda v: figures.percent(v / 100),
            "odds": figures.odds,
            "plain": figures.three,
        }[self.unit]

    @property
    def data_id(self) -> str:
        return f"{self.key}-data"

    @property
    def has_points(self) -> bool:
        return any(v is not None for one in self.series for _, v in one.points)


@dataclass(slots=True)
class Frame:
    """Where time and value lie on the paper."""

    chart: Chart
    width: int
    left: int
    right: int
    ticks: list[float] = field(default_factory=list)
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        highest = self.highest()
        self.ticks = list(self.chart.ticks) or nice_ticks(highest)
        self.low = (self.chart.floor or min(self.ticks)) if self.chart.log else 0.0
        self.high = max([highest if self.chart.log else 0, *self.ticks])

    def highest(self) -> float:
        values = [v for one in self.chart.series for _, v in one.points if v is not None]
        values += [high for one in self.chart.series for _, _, high in one.band]
        values += [limit.value for limit in self.chart.limits]
        return max(values, default=1.0) or 1.0

    def x(self, t: float) -> float:
        span = (self.chart.until - self.chart.since) or 1
        inside = self.width - self.left - self.right
        return round(
            self.left + inside * (min(max(t, self.chart.since), self.chart.until) - self.chart.since) / span, 1
        )

    def y(self, value: float) -> float:
        bottom = TOP + self.chart.height
        if self.chart.log:
            floor = math.log10(self.low)
            part = (math.log10(max(value, self.low)) - floor) / (math.log10(self.high) - floor or 1)
        else:
            part = value / (self.high or 1)
        return round(bottom - self.chart.height * min(max(part, 0), 1), 1)


def nice_ticks(highest: float, most: int = 4) -> list[float]:
    """Three to five round values from zero that reach above the highest."""
    raw = highest / most
    size = 10 ** math.floor(math.log10(raw))
    step = next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= raw * 0.999)
    steps = math.ceil(highest / step - 1e-9)
    return [round(step * n, 10) for n in range(max(steps, 2) + 1)]


def time_ticks(since: float, until: float, most: int) -> list[tuple[float, str]]:
    span = until - since
    step = next((one for one in STEPS if span / one <= most), STEPS[-1])
    first: float = math.ceil(since / step) * step
    out: list[tuple[float, str]] = []
    while first <= until:
        at = datetime.fromtimestamp(first, UTC)
        out.append((first, f"{at:%H:%M}" if step < 86400 else figures.day(at)))
        first += step
    return out


def pieces(points: Sequence[tuple[float, Value]]) -> list[list[tuple[float, float]]]:
    """Unbroken runs: a gap is never bridged."""
    runs: list[list[tuple[float, float]]] = [[]]
    for t, value in points:
        if value is None:
            runs.append([])
        else:
            runs[-1].append((t, value))
    return [run for run in runs if run]


def path(run: Sequence[tuple[float, float]], x: Scale, y: Scale, *, steps: bool = False) -> str:
    out = [f"M{x(run[0][0]):g} {y(run[0][1]):g}"]
    for (_, before), (t, value) in pairwise(run):
        if steps:
            out.append(f"H{x(t):g}")
            if value != before:
                out.append(f"V{y(value):g}")
        else:
            out.append(f"L{x(t):g} {y(value):g}")
    if len(run) == 1:
        out.append("h.1")
    return "".join(out)


def line(one: Series, frame: Frame) -> str:
    runs = pieces(one.points)
    out = ""
    for index, run in enumerate(runs):
        newest = index == len(runs) - 1
        closed = run[:-1] if one.open_last and newest and len(run) > 1 else run
        out += f'<path class="line {one.css}" d="{path(closed, frame.x, frame.y, steps=one.steps)}"/>'
        if closed is not run:
            out += f'<path class="line is-{one.arm} is-open" d="{path(run[-2:], frame.x, frame.y)}"/>'
        if one.area:
            ground = frame.y(0)
            drawn = path(run, frame.x, frame.y, steps=one.steps)
            out += f'<path class="area is-{one.arm}" d="{drawn}V{ground:g}H{frame.x(run[0][0]):g}z"/>'
    return out


def band(one: Series, frame: Frame) -> str:
    if len(one.band) < 2:
        return ""
    out, run = "", [one.band[0]]
    width = min(b[0] - a[0] for a, b in pairwise(one.band)) * 1.6
    for before, point in pairwise(one.band):
        if point[0] - before[0] > width:
            out += closed_band(run, one.arm, frame)
            run = []
        run.append(point)
    return out + closed_band(run, one.arm, frame)


def closed_band(run: Sequence[tuple[float, float, float]], arm: str, frame: Frame) -> str:
    if len(run) < 2:
        return ""
    upper = path([(t, high) for t, _, high in run], frame.x, frame.y)
    lower = path([(t, low) for t, low, _ in reversed(run)], frame.x, frame.y).replace("M", "L", 1)
    return f'<path class="band is-{arm}" d="{upper}{lower}z"/>'


def text(x: float, y: float, words: str, css: str = "", anchor: str = "start") -> str:
    named = f' class="{css}"' if css else ""
    return f'<text x="{x:g}" y="{y:g}"{named} text-anchor="{anchor}">{escape(words)}</text>'


def ends(frame: Frame) -> str:
    """Names and last values beside the lines' ends, pushed apart where they would overlap."""
    told = [(one, last) for one in frame.chart.series if one.told and (last := one.last)]
    told.sort(key=lambda pair: frame.y(pair[1][1]))
    places = spread([frame.y(value) for _, (_, value) in told], TOP + frame.chart.height - 16)
    x = frame.width - frame.right + 8
    return "".join(
        text(x, y, one.name, f"end-word is-{one.arm}") + text(x, y + 14, one.told, "end-word")
        for y, (one, _) in zip(places, told, strict=True)
    )


def spread(wanted: list[float], bottom: float, room: float = 30) -> list[float]:
    """Where two-line labels stand: near what they name, never on each other, never beneath the chart."""
    places: list[float] = []
    for y in wanted:
        places.append(max(y, places[-1] + room) if places else y)
    limit = bottom
    for index in range(len(places) - 1, -1, -1):
        places[index] = min(places[index], limit)
        limit = places[index] - room
    return places


def svg(chart: Chart, width: int = WIDE) -> str:
    """The whole chart. Empty charts keep their axes and say what they wait for."""
    phone = width <= PHONE
    frame = Frame(chart, width, left=40 if phone else 44, right=8 if phone else chart.end_room)
    bottom = TOP + chart.height
    total = bottom + (AXIS if chart.with_time else 6)
    x0, x1 = frame.left, width - frame.right
    parts = [
        f'<svg viewBox="0 0 {width} {total}" width="{width}" height="{total}" role="img" '
        f'aria-label="{escape(chart.says)}">'
    ]
    parts += [
        f'<rect class="gap" x="{frame.x(a):g}" y="{TOP}" width="{max(frame.x(b) - frame.x(a), 1):g}" '
        f'height="{chart.height}"/>' + text((frame.x(a) + frame.x(b)) / 2, TOP - 6, "no data", "", "middle")
        for a, b in chart.gaps
    ]
    if chart.shade:
        a, b, words = chart.shade
        wide = f'width="{frame.x(b) - frame.x(a):g}" height="{chart.height}"'
        parts.append(f'<rect class="shade" x="{frame.x(a):g}" y="{TOP}" {wide}/>')
        if words:  # beneath the line of the marks' words where these would run into it
            crowded = frame.x(b) - frame.x(a) < MARK_WORDS
            parts.append(text(frame.x(a) - 4, TOP + 12 if crowded else TOP - 6, words, "halo", "end"))
    for tick in frame.ticks:
        y = frame.y(tick)
        parts.append(f'<path class="grid" d="M{x0} {y:g}H{x1}"/>' + text(x0 - 8, y + 4, chart.write(tick), "", "end"))
    if chart.with_time:
        parts += [
            text(frame.x(t), bottom + 16, words, "", "middle")
            for t, words in time_ticks(chart.since, chart.until, max(3, width // 90))
            if x0 + 8 <= frame.x(t) <= x1 - 8
        ]
    parts += [band(one, frame) for one in chart.series]
    parts += [line(one, frame) for one in chart.series]
    for limit in chart.limits:
        y = frame.y(limit.value)
        if limit.kind == "limit":
            below = y < TOP + 14  # no room above: stage marks are named there
            word = text(x0 + 3, y + 13 if below else y - 5, limit.words, "limit-word")
            parts.append(f'<path class="limit" d="M{x0} {y:g}H{x1}"/>{word}')
        else:
            parts.append(text(x0 + 3, y - 5, limit.words, "halo"))
    parts += [mark(one, frame, x1, phone) for one in apart(chart.marks, frame)]
    for one in chart.series:
        if (last := one.last) and not one.steps and not one.kind:
            x, y = frame.x(last[0]), frame.y(last[1])
            parts.append(f'<circle class="dot is-{one.arm}" cx="{x:g}" cy="{y:g}" r="3"/>')
    if not phone:
        parts.append(ends(frame))
    if not chart.has_points:
        parts.append(text((x0 + x1) / 2, TOP + chart.height / 2 + 4, chart.waits or "No calls yet.", "", "middle"))
    parts.append("</svg>")
    return "".join(parts)


def apart(marks: Sequence[Mark], frame: Frame) -> list[Mark]:
    """Every act, the newest of a crowd with its words; a stage only where its words run into nobody's."""
    acts = [one for one in marks if one.kind == "act"]
    taken = [frame.x(one.at) for one in acts]
    kept = [
        replace(one, words="") if any(0 < other - x < STAGE_WORDS for other in taken) else one
        for one, x in zip(acts, taken, strict=True)
    ]
    for one in marks:
        x = frame.x(one.at)
        if one.kind == "stage" and all(abs(x - other) >= STAGE_WORDS for other in taken):
            taken.append(x)
            kept.append(one)
    return kept


def mark(one: Mark, frame: Frame, x1: float, phone: bool) -> str:
    x = frame.x(one.at)
    bottom = TOP + frame.chart.height
    if one.kind == "stage":
        return f'<path class="mark is-stage" d="M{x:g} {TOP - 10}V{bottom}"/>' + text(x + 4, TOP - 4, one.words)
    drawn = f'<path class="mark" d="M{x:g} {TOP - 8}V{bottom}"/>'
    if one.words:
        drawn += f'<path class="mark-top" d="m{x:g} {TOP - 5}-4-6h8z"/>'
        if not phone:
            end = x > (frame.left + x1) / 3
            drawn += text(x - 7 if end else x + 7, TOP - 6, one.words, "mark-word halo", "end" if end else "start")
    return drawn
