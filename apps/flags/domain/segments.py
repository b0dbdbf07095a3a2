"""How a split lies on the range 0 … 10,000: an ordered list of segments, each a variant and its ten-thousandths.

A subject's hash picks a point of the range, so who moves is decided by where the segments lie, not by how large the
shares are. Three rules keep everybody else in place: growth takes from the baseline only and cuts next to the
candidates that lie there already; shrinking gives back what came last; neighbours of one variant merge. Shares are
whole ten-thousandths (0.01 %), and the sum is always 10,000, so a boundary is the same point of the hash for ever.
"""

from collections.abc import Iterable, Mapping, Sequence

from apps.flags.domain.unfit import Unfit

WHOLE = 10_000

Segment = tuple[str, int]
Segments = tuple[Segment, ...]
Weights = Mapping[str, int]


def whole(variant: str) -> Segments:
    return ((variant, WHOLE),)


def of(stored: Iterable[Sequence[object]]) -> Segments:
    """From the lists that a table or a document holds."""
    return tuple((str(variant), int(str(size))) for variant, size in stored)


def weights_of(segments: Segments) -> dict[str, int]:
    """Variant to ten-thousandths, in order of first appearance."""
    weights: dict[str, int] = {}
    for variant, size in segments:
        weights[variant] = weights.get(variant, 0) + size
    return weights


def divides(segments: Segments, default: str) -> bool:
    """Whether a subject's hash decides anything: all on the default variant needs no split."""
    return bool(segments) and [variant for variant, _ in segments] != [default]


def check(weights: Weights, variants: Iterable[str]) -> None:
    known = set(variants)
    for variant, size in weights.items():
        if variant not in known:
            raise Unfit("weights", f"There is no variant {variant}.")
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= WHOLE:
            raise Unfit("weights", f"The share of {variant} must be between 0 and 100 %, in steps of 0.01 %.")
    total = sum(weights.values())
    if total != WHOLE:
        raise Unfit("weights", f"The shares must add up to 100 %, these make {total / 100:g} %.")


def merge(segments: Iterable[Segment]) -> Segments:
    """Empty segments go, neighbours of one variant become one."""
    merged: list[Segment] = []
    for variant, size in segments:
        if size == 0:
            continue
        if merged and merged[-1][0] == variant:
            merged[-1] = (variant, merged[-1][1] + size)
        else:
            merged.append((variant, size))
    return tuple(merged)


def grow(segments: Segments, variant: str, by: int, baseline: str) -> Segments:
    """Cuts `by` out of the baseline's last part, at its beginning: next to the candidate that was cut before.

    A hole that another candidate gave back is filled only when the last part is used up, so that what lies rightmost
    is what came last, and shrinking undoes growing exactly.
    """
    grown: list[Segment] = []
    for name, size in reversed(segments):
        if name == baseline and by:
            taken = min(size, by)
            by -= taken
            grown += [(name, size - taken), (variant, taken)]
        else:
            grown.append((name, size))
    if by:
        raise Unfit("weights", f"{baseline} has not enough share left to give to {variant}.")
    return merge(reversed(grown))


def shrink(segments: Segments, variant: str, by: int, baseline: str) -> Segments:
    """Gives `by` back to the baseline, newest part first: what was cut last lies rightmost."""
    left: list[Segment] = []
    for name, size in reversed(segments):
        if name == variant and by:
            given = min(size, by)
            by -= given
            left += [(baseline, given), (name, size - given)]
        else:
            left.append((name, size))
    if by:
        raise Unfit("weights", f"{variant} has not that much share to give back.")
    return merge(reversed(left))


def reweigh(segments: Segments, weights: Weights, baseline: str) -> Segments:
    """The segments with these weights, moving as few subjects as can be, and none between two candidates if possible.

    First candidates grow as far as the baseline reaches, then others shrink, then the rest grows.
    """
    if not segments:
        segments = whole(baseline)
    before = weights_of(segments)
    candidates = sorted(({*before, *weights}) - {baseline})
    wanted = {name: weights.get(name, 0) - before.get(name, 0) for name in candidates}
    missing: dict[str, int] = {}
    for name, more in wanted.items():
        if more > 0:
            now = min(more, weights_of(segments).get(baseline, 0))
            segments = grow(segments, name, now, baseline)
            missing[name] = more - now
    for name, more in wanted.items():
        if more < 0:
            segments = shrink(segments, name, -more, baseline)
    for name, more in missing.items():
        segments = grow(segments, name, more, baseline)
    return segments


def moves(before: Segments, after: Segments) -> dict[tuple[str, str], int]:
    """Who moves: (from, to) to ten-thousandths of all subjects, exact in expectation."""
    edges = sorted({*edges_of(before), *edges_of(after)})
    moved: dict[tuple[str, str], int] = {}
    for start, end in zip([0, *edges], edges, strict=False):
        step = (at(before, start), at(after, start))
        if step[0] != step[1]:
            moved[step] = moved.get(step, 0) + end - start
    return moved


def edges_of(segments: Segments) -> list[int]:
    edges, edge = [], 0
    for _, size in segments:
        edge += size
        edges.append(edge)
    return edges


def at(segments: Segments, point: int) -> str:
    """The variant at a point of 0 … 9,999."""
    edge = 0
    for variant, size in segments:
        edge += size
        if point < edge:
            return variant
    raise IndexError(point)
