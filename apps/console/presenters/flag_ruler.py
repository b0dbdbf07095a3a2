"""The ruler of a split as SVG: the arms on 0 to 100 %, the stages' cut points, and where this subject lies."""

from collections.abc import Sequence
from html import escape

from apps.console import figures
from apps.flags.domain import segments
from apps.flags.tracing import Ruler

WIDE, PHONE = 720, 330
SIDE, TOP, BAR = 10, 24, 14
MOST_PARTS = 4  # colours there are; further arms begin again


def drawn(ruler: Ruler, cuts: Sequence[int], width: int = WIDE) -> str:
    inside = width - 2 * SIDE

    def x(point: float) -> float:
        return round(SIDE + inside * point / segments.WHOLE, 1)

    out = [
        f'<svg class="ruler" viewBox="0 0 {width} 66" role="img" aria-label="{escape(says(ruler))}">',
    ]
    edge = 0
    colours = colours_of(ruler)
    for variant, size in ruler.split:
        begin, end = x(edge), x(edge + size)
        out.append(rect(colours[variant], begin, end))
        edge += size
    last = -100.0
    for cut in cuts:
        at = x(cut)
        out.append(f'<path class="cut" d="M{at} {TOP - 3}v{BAR + 6}"/>')
        if at - last > 34:
            out.append(word("cut-word", at, TOP + BAR + 16, figures.share(cut), anchor(at, width)))
            last = at
    here = x(ruler.point + 0.5)
    words = f"{ruler.point:,} of 9,999"
    out.append(f'<path class="here" d="M{here} {TOP - 1}l-5 -7h10z"/>')
    out.append(word("here-word", here, TOP - 12, words, anchor(here, width)))
    for text, at, where in (("0 %", SIDE, "start"), ("100 %", width - SIDE, "end")):
        out.append(word("cut-word", at, TOP + BAR + 28, text, where))
    return "".join(out) + "</svg>"


def rect(colour: int, begin: float, end: float) -> str:
    width = max(round(end - begin - 1, 1), 0.5)
    return f'<rect class="part-{colour}" x="{begin}" y="{TOP}" width="{width}" height="{BAR}"/>'


def word(css: str, x: float, y: int, text: str, where: str) -> str:
    return f'<text class="{css}" x="{x}" y="{y}" text-anchor="{where}">{escape(text)}</text>'


def colours_of(ruler: Ruler) -> dict[str, int]:
    """The default is the baseline's grey; the others in their order."""
    order = [ruler.default, *(variant for variant, _ in ruler.split if variant != ruler.default)]
    return {variant: number % MOST_PARTS for number, variant in enumerate(dict.fromkeys(order))}


def parts(ruler: Ruler) -> list[tuple[int, str]]:
    """What the colours mean, in the order of the ruler."""
    colours, weights = colours_of(ruler), segments.weights_of(ruler.split)
    return [(colours[variant], f"{figures.share(size)} {variant}") for variant, size in weights.items()]


def anchor(at: float, width: int) -> str:
    return "start" if at < 50 else "end" if at > width - 50 else "middle"


def says(ruler: Ruler) -> str:
    parts = ", ".join(f"{figures.share(size)} {variant}" for variant, size in ruler.split)
    return f"The split is {parts}; this subject lies at {ruler.point} of 9,999."


def joins(ruler: Ruler) -> list[str]:
    """`flash-lite: joins at ≥ 37 %`, for each candidate."""
    told = []
    for one in ruler.joins:
        if one.share is None:
            told.append(f"{one.variant}: not by its share alone, another candidate has this place.")
        elif one.has_it:
            told.append(f"{one.variant}: has it, and keeps it down to a share of {figures.share(one.share)}.")
        else:
            told.append(f"{one.variant}: joins at a share of at least {figures.share(one.share)}.")
    return told
