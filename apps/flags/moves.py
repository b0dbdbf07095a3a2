"""Before a change is saved: who would move, and from where to where.

Counted over the subjects that clients reported lately, through the evaluator that services use, once with either
definition; where none were reported, by the lengths of the intervals. Clients report subjects without their attributes:
where the changed rules ask for some, that is said, and contexts that the caller gives are counted instead.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Sum

from apps.core.refusals import NotFound
from apps.flags import audiences, editing, publishing, requiring
from apps.flags.domain import conditions, definition, rules, segments, targeting
from apps.flags.domain.definition import FlagParts
from apps.flags.domain.segments import Segments
from apps.flags.models import Exposure, Flag
from changeover import Snapshot

LATELY = timedelta(days=1)
MOST_SUBJECTS = 20_000
CODE_DEFAULT = "the default in the code"
LATELY_SEEN = "subjects seen in the last day"
BY_HASH = ("split", "default")
Context = Mapping[str, Any]
Step = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Move:
    before: str
    after: str
    percent: float  # of whomever no rule answers, exact in expectation
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
    asks: list[str]  # attributes that decide and that nobody reports
    sentence: str


def preview(
    environment: str,
    key: str,
    weights: Mapping[str, int] | None = None,
    *,
    now: datetime,
    fields: Mapping[str, Any] | None = None,
    contexts: Sequence[Context] = (),
) -> Preview:
    """Of a change as update_flag takes it; `contexts`: whom to count instead of the subjects seen lately."""
    flag = Flag.objects.with_route().of(environment).named(key).first()
    if flag is None:
        raise NotFound(what="flag", key=key)
    with publishing.fit():
        wanted = editing.as_it_would_stand(flag, fields or {}, weights)
        after = parts_with(flag, wanted)
    return told(flag, flag.parts, after, contexts, now)


def preview_audience(
    environment: str, key: str, given: Any, *, now: datetime, contexts: Sequence[Context] = ()
) -> list[Preview]:
    """For each flag that uses it: who would move if it had these conditions."""
    audience = audiences.find(environment, key)
    with publishing.fit():
        group = conditions.parse_group(audiences.checked(given))
    found = []
    for flag in Flag.objects.with_route().served().filter(uses=audience).order_by("key"):
        parsed = rules.parse(flag.rules)
        known = editing.audiences(environment, parsed) | {key: group}
        logic = rules.write(parsed, known, key=flag.key, salt=flag.salt)
        found.append(told(flag, flag.parts, replace(flag.parts, targeting=logic), contexts, now))
    return found


def parts_with(flag: Flag, fields: Mapping[str, Any]) -> FlagParts:
    """The flag as it would be served with these fields."""
    same = ("variants", "default_variant", "enabled", "targeting")
    changed = {name: fields[name] for name in same if name in fields}
    if "segments" in fields:
        changed["segments"] = segments.of(fields["segments"])
    if "prerequisites" in fields:
        changed["guards"] = requiring.guards(flag, fields["prerequisites"])
    return replace(flag.parts, **changed)


def told(flag: Flag, before: FlagParts, after: FlagParts, contexts: Sequence[Context], now: datetime) -> Preview:
    before, after = as_if_not_switched(before), as_if_not_switched(after)
    same_rules = (before.targeting, before.guards) == (after.targeting, after.guards)
    shares = segments.moves(lying(before), lying(after))
    since, asks = now - LATELY, list[str]()
    whom = contexts
    if not contexts:
        whom = [{"targetingKey": subject} for subject in lately(flag, since, assigned_by=BY_HASH if same_rules else ())]
        if same_rules:  # a rule that stays answers the same
            before, after = (replace(parts, targeting={}, guards=()) for parts in (before, after))
        else:
            asks = asked([before.targeting, before.guards, after.targeting, after.guards])
    counted = count(flag.key, before, after, whom)
    steps = sorted({*shares, *counted})
    moves = [
        Move(name_of(was), name_of(becomes), shares.get((was, becomes), 0) / 100, counted[was, becomes])
        for was, becomes in steps
    ]
    words = sentence(moves, len(whom), whom="contexts given" if contexts else "", same_rules=same_rules)
    if asks:
        words = f"{words} {not_reported(flag, asks, since)}"
    return Preview(
        environment=flag.environment_id,
        flag=flag.key,
        weights=segments.weights_of(after.segments),
        moves=moves,
        percent=sum(shares.values()) / 100,
        subjects=counted.total(),
        seen=len(whom),
        asks=asks,
        sentence=words,
    )


def as_if_not_switched(parts: FlagParts) -> FlagParts:
    """A switch is an act of safety that is taken back: who moves then is what is asked."""
    return replace(parts, switch="")


def lying(parts: FlagParts) -> Segments:
    """Whom the hash sends where; an empty name is the default in the code."""
    return (parts.segments or segments.whole(parts.default_variant)) if parts.enabled else segments.whole("")


def name_of(variant: str) -> str:
    return variant or CODE_DEFAULT


def asked(logic: Any) -> list[str]:
    return sorted(name for name in targeting.attributes(logic) if name != targeting.TARGETING_KEY)


def lately(flag: Flag, since: datetime, *, assigned_by: Sequence[str] = BY_HASH) -> list[str]:
    """The subjects seen since then, of the sample that clients report; of all assignments if none is named.

    Where an attribute keeps the arm, what they report is the request, and tells nothing of who would move.
    """
    if flag.parts.route and flag.parts.route.unit != targeting.TARGETING_KEY:
        return []
    rows = Exposure.objects.filter(environment_id=flag.environment_id, flag=flag.key, minute__gte=since)
    rows = (rows.filter(assigned_by__in=assigned_by) if assigned_by else rows).order_by("-minute", "id")
    found: dict[str, None] = {}
    for subjects in rows.values_list("subjects", flat=True).iterator():
        found |= dict.fromkeys(subject for subject in subjects if subject)
        if len(found) >= MOST_SUBJECTS:
            break
    return list(found)[:MOST_SUBJECTS]


def count(key: str, before: FlagParts, after: FlagParts, contexts: Iterable[Context]) -> Counter[Step]:
    old, new = compiled(before), compiled(after)
    moved: Counter[Step] = Counter()
    for context in contexts:
        step = (old.evaluate(key, dict(context)).variant or "", new.evaluate(key, dict(context)).variant or "")
        if step[0] != step[1]:
            moved[step] += 1
    return moved


def compiled(parts: FlagParts) -> Snapshot:
    return Snapshot.from_flagd({"flags": {parts.key: definition.definition(parts)}})


def sentence(moves: list[Move], seen: int, *, whom: str, same_rules: bool) -> str:
    """`whom`: what was counted, where it is not the subjects seen lately."""
    if not moves and (seen or same_rules):
        return "Nobody moves." if same_rules else f"Of {seen} {whom or LATELY_SEEN} nobody moves."
    if seen:
        steps = ", ".join(f"{move.subjects} from {move.before} to {move.after}" for move in moves if move.subjects)
        total = sum(move.subjects for move in moves)
        return f"Of {seen} {whom or LATELY_SEEN} {total} would move{f': {steps}' if steps else ''}."
    steps = ", ".join(f"{move.percent:g} % from {move.before} to {move.after}" for move in moves)
    if same_rules:
        return f"No subjects were reported in the last day. Of all there are, in expectation: {steps}."
    rest = f" Of whomever no rule answers, in expectation: {steps}." if moves else ""
    return f"No subjects were reported in the last day: whom the changed rules meet cannot be counted.{rest}"


def not_reported(flag: Flag, asks: list[str], since: datetime) -> str:
    """What the count leaves open, with its size."""
    rows = Exposure.objects.filter(environment_id=flag.environment_id, flag=flag.key, minute__gte=since)
    by_rule = rows.filter(assigned_by="rule").aggregate(total=Sum("count"))["total"] or 0
    total = rows.aggregate(total=Sum("count"))["total"] or 0
    named = ", ".join(asks[:5]) + (f" and {len(asks) - 5} more" if len(asks) > 5 else "")
    return (
        f"The rules ask for {named}, which nobody reports with a subject: counted as missing. In the last day a rule"
        f" answered {by_rule:,} of {total:,} evaluations."
    )
