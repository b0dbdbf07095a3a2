"""Flags in words: what one serves in a sentence, and what differs, line by line. Plain values in, text out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from apps.console import figures
from apps.core.refusals import Invalid
from apps.flags.domain import conditions, rules, segments
from apps.flags.domain.unfit import Unfit
from apps.flags.queries import FlagView, RouteView

NAMES = {
    "default_variant": "default", "fallback_variant": "fallback", "targeting": "JSONLogic", "expires_on": "expires",
    "is_permanent": "for good", "is_critical": "critical", "bucketing_unit": "unit", "task_type": "task", "to": "key",
}  # fmt: skip
TYPES = {"boolean": "yes or no", "string": "text", "integer": "whole number", "float": "number", "object": "object"}
BY_UNIT = (
    "Every request is drawn anew, so a healthy candidate is rolled back by chance as rarely as its guardrails promise."
)
STICKY = (
    "Each {unit} keeps its arm. That costs certainty: units differ, and a few large ones decide what is measured. In"
    " simulation 22 to 36\u00a0% of healthy candidates were rolled back falsely, against at most 1\u00a0% per request;"
    " comparing units with their own history brought it to 8 to 17\u00a0%, not to nothing. Before the first stage run"
    " both arms on the same model for 24\u00a0h, and let guardrails pause and tell instead of rolling back."
)


@dataclass(frozen=True, slots=True)
class Line:
    text: str
    kind: str  # "", "del", "ins"


@dataclass(frozen=True, slots=True)
class Row:
    """One field that differs: the lines that went, and those that came."""

    field: str
    before: tuple[str, ...]
    after: tuple[str, ...]


def serves(flag: FlagView) -> str:
    """What it serves now, in one sentence."""
    default = flag.default_variant or "the default in the code"
    if flag.archived_at is not None:
        return "Archived: callers get the default in their code."
    if flag.is_off:
        return "Switched off: callers get the default in their code."
    if isinstance(flag, RouteView) and flag.on_fallback:
        return f"On fallback: everybody gets {flag.fallback_variant}, whatever rules and shares say."
    rest = shares(flag.weights) if is_split(flag) else default
    needed = " and ".join(f"{one['variant']} of {one['flag']}" for one in flag.prerequisites)
    guard = f"Whoever does not get {needed} gets {default}. " if needed else ""
    if flag.rules is None:
        return f"{guard}An expert's rule decides; whom it does not answer gets {rest}."
    if not flag.rules:
        return f"{guard}{'Everybody' if not needed else 'Everybody else'} gets {rest}."
    count = len(flag.rules)
    first = "One rule answers first" if count == 1 else f"{count} rules answer first"
    if not flag.rules[-1].get("when", {}).get("all", True) and count == 1:
        return f"{guard}Its rule answers everybody: {answer_of(flag.rules[0])}."
    return f"{guard}{first}; everybody else gets {rest}."


def is_split(flag: FlagView) -> bool:
    return bool(flag.weights) and set(flag.weights) != {flag.default_variant}


def shares(weights: Mapping[str, int]) -> str:
    """`75 % off, 25 % on`."""
    return ", ".join(f"{figures.share(size)} {name}" for name, size in weights.items() if size)


def answer_of(rule: Mapping[str, Any]) -> str:
    if rule.get("variant") is not None:
        return str(rule["variant"])
    return ", ".join(f"{share:g}\u00a0% {name}" for name, share in (rule.get("split") or {}).items())


def when_of(rule: Mapping[str, Any]) -> str:
    try:
        return conditions.words(conditions.parse_group(rule.get("when")))
    except Unfit as unfit:
        return str(unfit)


def unit_words(unit: str) -> str:
    return BY_UNIT if unit == "request" else STICKY.format(unit=unit)


def value(found: Any) -> str:
    if isinstance(found, str):
        return found
    return json.dumps(found, ensure_ascii=False, separators=(", ", ": "))


def short(found: Any, most: int = 160) -> str:
    text = value(found)
    return text if len(text) <= most else f"{text[:most]}…"


# --- differences --------------------------------------------------------------------------------------------------


def rows(changes: Mapping[str, Mapping[str, Any]], was: str = "was", now: str = "is") -> list[Row]:
    return [row(name, one.get(was), one.get(now)) for name, one in changes.items()]


def row(name: str, before: Any, after: Any) -> Row:
    """Only the lines that differ; where nothing but the order does, all of them."""
    old, new = lines(name, before), lines(name, after)
    if sorted(old) != sorted(new):
        old, new = [one for one in old if one not in new], [one for one in new if one not in old]
    return Row(field_name(name), tuple(old), tuple(new))


def field_name(name: str) -> str:
    return NAMES.get(name, name.replace("_", " "))


def lines(name: str, found: Any) -> list[str]:
    if found is None or found == "" or found == {} or found == []:
        return []
    if name == "rules" and isinstance(found, list):
        return rule_lines(found)
    if name in ("weights", "segments"):
        return weight_lines(name, found)
    if name == "conditions" and isinstance(found, Mapping):
        return [when_of({"when": found})]
    if name == "prerequisites" and isinstance(found, list):
        return [f"{one.get('flag')} gives {one.get('variant')}" for one in found]
    if isinstance(found, bool):
        return ["yes" if found else "no"]
    if isinstance(found, date | datetime):
        return [found.isoformat()]
    if isinstance(found, Mapping) and name != "targeting":
        return [f"{key}: {short(inner, 240)}" for key, inner in found.items()]
    return [short(found, 400)]


def rule_lines(found: Sequence[Any]) -> list[str]:
    try:
        return list(rules.sentences(list(found)))
    except Unfit:
        return [short(one) for one in found]


def weight_lines(name: str, found: Any) -> list[str]:
    if isinstance(found, Mapping):  # in percent
        return [f"{share:g}\u00a0% {variant}" for variant, share in found.items()]
    return [f"{figures.share(size)} {variant}" for variant, size in segments.weights_of(segments.of(found)).items()]


def faults(refused: Invalid) -> str:
    """All that is wrong, as sentences."""
    told = list(dict.fromkeys(refused.errors.values())) or [refused.detail]
    return " ".join(told)
