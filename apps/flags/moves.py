"""Before a change of weights is saved: who would move, and from where to where."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from apps.core.refusals import NotFound
from apps.flags import editing, publishing
from apps.flags.domain import definition, segments, targeting
from apps.flags.domain.definition import FlagParts
from apps.flags.domain.segments import Segments
from apps.flags.models import Exposure, Flag
from changeover import Snapshot

LATELY = timedelta(days=1)
MOST_SUBJECTS = 20_000


@dataclass(frozen=True, slots=True)
class Move:
    before: str
    after: str
    percent: float
    subjects: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    environment: str
    flag: str
    weights: dict[str, int]
    moves: list[Move]
    percent: float
    subjects: int
    seen: int
    sentence: str


def preview(environment: str, key: str, weights: Mapping[str, int], *, now: datetime) -> Preview:
    flag = Flag.objects.with_route().of(environment).named(key).first()
    if flag is None:
        raise NotFound(what="flag", key=key)
    with publishing.fit():
        after = segments.of(editing.reweighed(flag, weights))
    before = flag.split or segments.whole(flag.default_variant)
    shares = segments.moves(before, after)
    subjects = lately(flag, since=now - LATELY)
    counted = count(flag.parts, before, after, subjects)
    moves = [Move(*step, shares.get(step, 0) / 100, counted[step]) for step in sorted({*shares, *counted})]
    return Preview(
        environment=environment,
        flag=key,
        weights=segments.weights_of(after),
        moves=moves,
        percent=sum(shares.values()) / 100,
        subjects=counted.total(),
        seen=len(subjects),
        sentence=sentence(moves, len(subjects)),
    )


def lately(flag: Flag, *, since: datetime) -> list[str]:
    """The subjects that the split assigned since then, of the sample that clients report.

    Where an attribute keeps the arm, what they report is the request, and tells nothing of who would move.
    """
    if flag.parts.route and flag.parts.route.unit != targeting.TARGETING_KEY:
        return []
    rows = Exposure.objects.filter(environment_id=flag.environment_id, flag=flag.key, minute__gte=since)
    rows = rows.filter(assigned_by__in=("split", "default")).order_by("-minute", "id")
    found: dict[str, None] = {}
    for subjects in rows.values_list("subjects", flat=True).iterator():
        found |= dict.fromkeys(subject for subject in subjects if subject)
        if len(found) >= MOST_SUBJECTS:
            break
    return list(found)[:MOST_SUBJECTS]


def count(flag: FlagParts, before: Segments, after: Segments, subjects: Iterable[str]) -> Counter[tuple[str, str]]:
    """Each subject through the evaluator that services use, once with either split."""
    old, new = split_alone(flag, before), split_alone(flag, after)
    moved: Counter[tuple[str, str]] = Counter()
    for subject in subjects:
        context = {"targetingKey": subject}
        step = (old.evaluate(flag.key, context).variant, new.evaluate(flag.key, context).variant)
        if step[0] != step[1]:
            moved[step[0] or "", step[1] or ""] += 1
    return moved


def split_alone(flag: FlagParts, split: Segments) -> Snapshot:
    parts = replace(flag, targeting={}, guards=(), segments=split, switch="", enabled=True)
    document: dict[str, Any] = {"flags": {flag.key: definition.definition(parts)}}
    return Snapshot.from_flagd(document)


def sentence(moves: list[Move], seen: int) -> str:
    if not moves:
        return "Nobody moves."
    if seen:
        told = ", ".join(f"{move.subjects} from {move.before} to {move.after}" for move in moves)
        return f"Of {seen} subjects seen in the last day {sum(move.subjects for move in moves)} would move: {told}."
    told = ", ".join(f"{move.percent:g} % from {move.before} to {move.after}" for move in moves)
    return f"No subjects were reported in the last day. Of all there are, in expectation: {told}."
