"""Stacked bars, one for each day: plain values in, SVG text out. Colours are classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from zoneinfo import ZoneInfo

from django.utils.safestring import SafeString, mark_safe

from apps.console import charts, figures

DAY = timedelta(days=1)
HEIGHT, TOP, AXIS = 110, 10, 20


@dataclass(frozen=True, slots=True)
class Bars:
    title: str
    days: Mapping[datetime, Mapping[str, float]]  # the day's beginning, model, dollars
    arms: Mapping[str, str]  # model -> class, in the order of the legend
    since: datetime
    until: datetime
    now: datetime
    zone: ZoneInfo  # in which the days are days

    @property
    def says(self) -> str:
        total = sum(sum(parts.values()) for parts in self.days.values())
        return f"{self.title}: {figures.usd(total)} on {figures.counted(len(self.days), 'day')}."

    @property
    def drawing(self) -> SafeString:
        wide, phone = svg(self), svg(self, charts.PHONE)
        return mark_safe(f'<div class="only-wide">{wide}</div><div class="only-phone">{phone}</div>')

    @property
    def rows(self) -> list[list[str]]:
        """The newest first."""
        return [
            [
                figures.day(day.astimezone(self.zone).replace(tzinfo=UTC)),
                *(figures.usd(parts[model]) if model in parts else "" for model in self.arms),
            ]
            for day, parts in reversed(list(self.days.items()))
        ]


def svg(one: Bars, width: int = charts.WIDE, end_room: int = 112) -> str:
    phone = width <= charts.PHONE
    left, right = (40 if phone else 44), (8 if phone else end_room)
    highest = max((sum(parts.values()) for parts in one.days.values()), default=0) or 1
    ticks = charts.nice_ticks(highest, 2)
    top, bottom = max(ticks), TOP + HEIGHT
    since, until = one.since.timestamp(), one.until.timestamp()
    inside = width - left - right

    def x(at: datetime) -> float:
        return round(left + inside * (at.timestamp() - since) / ((until - since) or 1), 1)

    total = bottom + AXIS
    out = [
        f'<svg viewBox="0 0 {width} {total}" width="{width}" height="{total}" role="img" '
        f'aria-label="{escape(one.says)}">'
    ]
    for tick in ticks:
        y = round(bottom - HEIGHT * tick / top, 1)
        word = f"${tick / 1000:g}k" if tick >= 1000 else f"${tick:g}"
        out.append(f'<path class="grid" d="M{left} {y:g}H{width - right}"/>')
        out.append(charts.text(left - 8, y + 4, word, "", "end"))
    for day, parts in one.days.items():
        is_open = day <= one.now < day + DAY
        begin, end = max(x(day), left), min(x(day + DAY), width - right)
        gap = max((end - begin) * 0.14, 0.5)
        level = float(bottom)
        for model, arm in one.arms.items():
            height = HEIGHT * parts.get(model, 0.0) / top
            if height < 0.05:
                continue
            level -= height
            css = f"stack-bar is-{arm}" + (" is-open" if is_open else "")
            out.append(
                f'<rect class="{css}" x="{begin + gap:.1f}" y="{level:.1f}" '
                f'width="{max(end - begin - 2 * gap, 1):.1f}" height="{max(height, 1):.1f}"/>'
            )
        if is_open and end + 60 < width - (0 if not phone else 8):
            out.append(charts.text(end + 4, min(level + 12, bottom - 4), "today so far"))
    for at, words in charts.time_ticks(since, until, max(3, width // 90)):
        place = left + inside * (at - since) / ((until - since) or 1)
        if left + 8 <= place <= width - right - 8:
            out.append(charts.text(place, bottom + 16, words, "", "middle"))
    return "".join([*out, "</svg>"])
