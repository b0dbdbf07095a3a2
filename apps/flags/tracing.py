"""Why a context gets what it gets: each rule's pass or fail, where its subject lies, at which share it would join.

It reads the very document that services read, of the newest snapshot or of a past one, with the evaluator that they
run. Names and words of the rules come from the flag's version of that time, where they still fit the document.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from apps.core.refusals import Invalid
from apps.flags import evaluation, queries
from apps.flags.domain import conditions, reading, rules, segments, targeting
from apps.flags.domain.segments import Segments
from apps.flags.domain.unfit import Unfit
from apps.flags.models import FlagVersion
from changeover import Resolution
from changeover.flag import DATA_FAULTS, whole_data
from changeover.rules import bucketing
from changeover.rules.closures import Compiler

MOST_ANSWERS = 400_000  # of one comparison
SPAN = 2**32
Context = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    kind: str  # prerequisite, unit, rule
    name: str
    words: str
    passed: bool | None  # None: not reached
    alone: bool | None  # whether it would pass if it were asked; None: it stumbles over the data
    answer: str
    missing: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Join:
    variant: str
    share: int | None  # ten-thousandths from which on the subject gets it; None: another candidate has it
    has_it: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruler:
    """Where the subject lies on the range of the split, 0 to 9,999."""

    unit: str
    subject: str
    point: int
    split: Segments
    default: str
    joins: tuple[Join, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    flag: str
    version: int
    answer: Resolution
    why: str
    steps: tuple[Step, ...]
    ruler: Ruler | None
    no_ruler: str = ""  # why there is none, where a split would have decided


@dataclass(frozen=True, slots=True)
class Moved:
    flag: str
    before: str
    after: str
    count: int
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    before: int
    after: int
    contexts: int
    changed: int  # contexts for which at least one flag answers something else
    moved: tuple[Moved, ...]


@lru_cache(maxsize=8)
def documents(environment: str, version: int, digest: str) -> dict[str, Any]:
    return dict(json.loads(queries.snapshot(environment, version).body)["flags"])


def keys(environment: str, version: int | None = None) -> list[str]:
    """The flags that this snapshot serves."""
    return sorted(definitions(environment, version)[1])


def definitions(environment: str, version: int | None) -> tuple[queries.SnapshotView, dict[str, Any]]:
    found = queries.snapshot(environment, version)
    return found, documents(environment, found.version, found.digest)


def trace(environment: str, key: str, context: Context, *, now: datetime, version: int | None = None) -> Trace | None:
    """None if there is no such flag in that snapshot."""
    snapshot, flags = definitions(environment, version)
    if key not in flags:
        return None
    compiled = evaluation.compiled(environment, snapshot.version, snapshot.digest)
    answer = compiled.evaluate(key, dict(context), now=now.timestamp())
    read = Reading(key, flags[key], context, now)
    named = named_rules(environment, key, snapshot.version)
    steps = () if answer.reason == "DISABLED" else tuple(read.steps(named))
    ruler, no_ruler = (None, "") if answer.reason == "DISABLED" else read.ruler()
    return Trace(
        flag=key,
        version=snapshot.version,
        answer=answer,
        why=evaluation.why(answer),
        steps=steps,
        ruler=ruler,
        no_ruler=no_ruler,
    )


def named_rules(environment: str, key: str, version: int) -> list[rules.Rule]:
    """The flag's readable rules as they were when that snapshot was published; none where an expert wrote them."""
    rows = FlagVersion.objects.filter(environment_id=environment, key=key, version__lte=version)
    row = rows.order_by("-version", "-id").first()
    try:
        return rules.parse(row.fields.get("rules")) if row else []
    except Unfit:
        return []


class Reading:
    """One flag's definition with one context in hand."""

    def __init__(self, key: str, definition: Mapping[str, Any], context: Context, now: datetime) -> None:
        metadata = definition.get("metadata") or {}
        self.key, self.context = key, context
        self.default = str(definition.get("defaultVariant") or "")
        self.variants = list(definition["variants"])
        self.salt, self.bucketing = str(metadata.get("salt", key)), str(metadata.get("bucketing", "v3"))
        self.compiler = Compiler(flag_key=key, bucketing=self.bucketing, salt=self.salt)
        self.second = int(now.timestamp())
        self.data = whole_data(dict(context), key, self.second)
        self.pairs, self.otherwise = chain(definition.get("targeting"))

    def steps(self, named: Sequence[rules.Rule]) -> Iterable[Step]:
        own = [pair for pair in self.pairs if kind_of(pair) == "rule"]
        known = iter(named if len(named) == len(own) else ())
        decided = False
        for number, pair in enumerate(self.pairs, 1):
            condition, answer = pair
            kind = kind_of(pair)
            rule = next(known, None) if kind == "rule" else None
            holds, stumbled = self.holds(condition)
            passed, fault = (None, "") if decided else (holds, stumbled)
            yield Step(
                kind=kind,
                name=rule.name if rule else named_by(kind, number),
                words=conditions.words(rule.when) if rule else words_of(condition, kind),
                passed=as_step(kind, passed),
                alone=as_step(kind, holds),
                answer=answer_words(answer, self.default),
                missing=self.missing(condition),
                fault=fault,
            )
            decided = decided or bool(passed) or bool(fault)

    def holds(self, condition: Any) -> tuple[bool | None, str]:
        try:
            return bool(self.compiler.truth(condition, True)(self.data, self.second)), ""
        except DATA_FAULTS as fault:
            return None, str(fault) or type(fault).__name__

    def missing(self, condition: Any) -> tuple[str, ...]:
        """The attributes that it asks and the context does not have."""
        return tuple(name for name in targeting.attributes(condition) if not has(self.context, name))

    def ruler(self) -> tuple[Ruler | None, str]:
        logic = self.otherwise
        if not isinstance(logic, dict) or list(logic) != ["fractional"]:
            return None, ""
        arguments = targeting.as_list(logic["fractional"])
        is_short = bool(arguments) and isinstance(arguments[0], list)
        entries = arguments if is_short else arguments[1:]
        try:
            split = segments.of(entries)
        except (TypeError, ValueError):
            return None, "Its split is computed: there is no fixed place on it."
        if sum(size for _, size in split) != segments.WHOLE:
            return None, "Its weights do not add up to 100 %: there is no share at which somebody joins."
        unit = targeting.TARGETING_KEY if is_short else unit_of(arguments[0])
        subject = self.context.get(unit)
        if not isinstance(subject, str) or not subject:
            return None, f"{unit} is missing: without it nobody has a place on the split."
        if is_short:
            hashed: int | None = bucketing.subject_hash(self.bucketing, self.salt)(subject)
        else:
            hashed = bucketing.seed_hash(self.bucketing, self.compiler.value(arguments[0])(self.data, self.second))
        if hashed is None:
            return None, f"{unit} cannot be hashed."
        point = min(point_of(hashed, self.bucketing), segments.WHOLE - 1)
        candidates = [one for one in self.variants if one != self.default]
        joins = tuple(join(split, point, variant, self.default) for variant in candidates)
        return Ruler(unit=unit, subject=subject, point=point, split=split, default=self.default, joins=joins), ""


def point_of(hashed: int, algorithm: str) -> int:
    if algorithm == "v1":
        return hashed * segments.WHOLE // bucketing.MAX_TOTAL
    return hashed * segments.WHOLE // SPAN


def join(split: Segments, point: int, variant: str, default: str) -> Join:
    """The smallest share at which this point belongs to the variant, the other candidates staying as they are."""
    weights = segments.weights_of(split)
    has_it = segments.at(split, point) == variant
    room = weights.get(variant, 0) + weights.get(default, 0)

    def gets(share: int) -> bool:
        wanted = {**weights, variant: share, default: room - share}
        return segments.at(segments.reweigh(split, wanted, default), point) == variant

    if variant == default or not gets(room):
        return Join(variant, None, has_it)
    low, high = 0, room
    while low < high:
        middle = (low + high) // 2
        if gets(middle):
            high = middle
        else:
            low = middle + 1
    return Join(variant, low, has_it)


def chain(logic: Any) -> tuple[list[tuple[Any, Any]], Any]:
    """The conditions with their answers in order, and what stands in the last else."""
    pairs: list[tuple[Any, Any]] = []
    while isinstance(logic, dict) and list(logic) == ["if"] and isinstance(logic["if"], list):
        arguments = logic["if"]
        pairs += [(arguments[at], arguments[at + 1]) for at in range(0, len(arguments) - 1, 2)]
        logic = arguments[-1] if len(arguments) % 2 else None
    return pairs, logic


def kind_of(pair: tuple[Any, Any]) -> str:
    condition, answer = pair
    if answer is None and isinstance(condition, dict):
        if list(condition) == ["missing"]:
            return "unit"
        if list(condition) == ["!"]:
            return "prerequisite"
    return "rule"


def as_step(kind: str, holds: bool | None) -> bool | None:
    """A guard is written the other way round: who meets its condition is sent away."""
    return holds if kind == "rule" or holds is None else not holds


def named_by(kind: str, number: int) -> str:
    return {"unit": "The split's attribute", "prerequisite": "Prerequisites"}.get(kind, f"Rule {number}")


def words_of(condition: Any, kind: str) -> str:
    if kind == "unit":
        return f"{', '.join(map(str, targeting.as_list(condition['missing'])))} is there"
    if kind == "prerequisite":
        return "the required flags answer as named"
    try:
        return conditions.words(reading.group(condition))
    except (reading.Unreadable, Unfit):
        text = json.dumps(condition, ensure_ascii=False)
        return text if len(text) <= 200 else f"{text[:200]}…"


def answer_words(answer: Any, default: str) -> str:
    if answer is None:
        return default or "the default in the code"
    if isinstance(answer, dict):
        return "a split" if list(answer) == ["fractional"] or list(answer) == ["if"] else "a computed answer"
    return str(answer)


def unit_of(seed: Any) -> str:
    for node, _ in targeting.walk(seed):
        if isinstance(node, dict) and list(node) == ["var"] and isinstance(node["var"], str):
            return node["var"]
    return targeting.TARGETING_KEY


def has(context: Context, path: str) -> bool:
    found: Any = context
    if path in context:
        return context[path] is not None
    for name in path.split("."):
        if not isinstance(found, Mapping) or found.get(name) is None:
            return False
        found = found[name]
    return True


def compare(
    environment: str, contexts: Sequence[Context], *, before: int, after: int, now: datetime, key: str = ""
) -> Comparison:
    """How many of these contexts get something else in the one snapshot than in the other, and what."""
    old, new = queries.snapshot(environment, before), queries.snapshot(environment, after)
    one, other = (evaluation.compiled(environment, each.version, each.digest) for each in (old, new))
    asked = [key] if key else sorted({*one.flags, *other.flags})
    if len(asked) * len(contexts) > MOST_ANSWERS:
        raise Invalid(f"{len(contexts):,} contexts for {len(asked):,} flags are too many at once: choose one flag.")
    second = now.timestamp()
    found: dict[tuple[str, str, str], list[str]] = {}
    changed = set()
    for number, context in enumerate(contexts):
        given = dict(context)
        for flag in asked:
            was, is_now = (told(each.evaluate(flag, given, second)) for each in (one, other))
            if was != is_now:
                changed.add(number)
                found.setdefault((flag, was, is_now), []).append(str(context.get("targetingKey") or number + 1))
    moved = [Moved(*step, len(subjects), subjects[0]) for step, subjects in found.items()]
    return Comparison(
        before=old.version,
        after=new.version,
        contexts=len(contexts),
        changed=len(changed),
        moved=tuple(sorted(moved, key=lambda row: (-row.count, row.flag, row.before, row.after))),
    )


def told(answer: Resolution) -> str:
    if answer.error_code == "FLAG_NOT_FOUND":
        return "not served"
    if answer.error_code:
        return "an error"
    return answer.variant or "the default in the code"
