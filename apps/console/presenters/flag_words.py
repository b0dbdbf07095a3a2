"""Flags in words: what one serves in a sentence, and what differs, line by line. Plain values in, text out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from html import escape
from typing import Any

from django.utils.safestring import SafeString, mark_safe

from apps.console import figures, sentences
from apps.core.refusals import Invalid
from apps.flags.domain import conditions, rules, segments
from apps.flags.domain.unfit import Unfit
from apps.flags.queries import FlagView, RouteView

NAMES = {
    "default_variant": "default", "fallback_variant": "fallback", "targeting": "JSONLogic", "expires_on": "expires",
    "is_permanent": "for good", "is_critical": "critical", "bucketing_unit": "unit", "task_type": "task", "to": "key",
    "weights": "shares", "segments": "shares",
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
class Part:
    """What is changed by one form."""

    title: str
    says: str


PARTS = {
    "variants": Part("Variants", "What callers can get. A variant in use cannot go."),
    "weights": Part("Shares", "Of whomever no rule answers, in steps of 0.01\u00a0%."),
    "about": Part("About", "Who answers for it, and how long it is meant to live."),
    "prerequisites": Part("Prerequisites", "All must hold; everybody else gets the default."),
    "logic": Part("JSONLogic", "For experts. It replaces the rules; leave it empty to write rules again."),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One field that differs: the lines that went, and those that came."""

    field: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    was_empty: bool = False
    is_empty: bool = False


def serves(flag: FlagView) -> str:
    """What it serves now, in one sentence."""
    return "".join(words for _, words in serving(flag))


def serving(flag: FlagView) -> list[tuple[bool, str]]:
    """The same in parts; what is a fact in it, the names and shares, is marked."""
    default = flag.default_variant or "the default in the code"
    if flag.archived_at is not None:
        return [(False, "Archived: callers get the default in their code.")]
    if flag.is_off:
        return [(False, "Switched off: callers get the default in their code.")]
    if isinstance(flag, RouteView) and flag.on_fallback:
        fallback = (True, flag.fallback_variant)
        return [(False, "On fallback: everybody gets "), fallback, (False, ", whatever rules and shares say.")]
    guard: list[tuple[bool, str]] = []
    if flag.prerequisites:
        needed = " and ".join(f"{one['variant']} of {one['flag']}" for one in flag.prerequisites)
        guard = [(False, f"Whoever does not get {needed} gets "), (True, default), (False, ". ")]
    rest = [(True, shares(flag.weights))] if is_split(flag) else [(False, "everybody gets "), (True, default)]
    if guard or flag.rules or flag.rules is None:
        rest = [(False, "of everybody else "), *rest] if is_split(flag) else [(False, "everybody else gets "), rest[1]]
    if flag.rules is None:
        return [*guard, (False, "An expert's rule decides; "), *rest, (False, ".")]
    if flag.rules and not flag.rules[-1].get("when", {}).get("all", True) and len(flag.rules) == 1:
        return [*guard, (False, "Its rule answers everybody: "), (True, answer_of(flag.rules[0])), (False, ".")]
    if flag.rules:
        count = len(flag.rules)
        first = "One rule answers first; " if count == 1 else f"{count} rules answer first; "
        return [*guard, (False, first), *rest, (False, ".")]
    is_fact, words = rest[0]
    return [*guard, (is_fact, words[0].upper() + words[1:]), *rest[1:], (False, ".")]


def serving_html(flag: FlagView) -> SafeString:
    parts = (f"<strong>{html(words)}</strong>" if is_fact else html(words) for is_fact, words in serving(flag))
    return mark_safe("".join(parts))


def html(words: str) -> str:
    return sentences.whole_names(escape(words))


def is_split(flag: FlagView) -> bool:
    return bool(flag.weights) and {name for name, size in flag.weights.items() if size} != {flag.default_variant}


def shares(weights: Mapping[str, int]) -> str:
    """`25 % get on, 75 % off`."""
    told = [f"{figures.share(size)} {name}" for name, size in weights.items() if size]
    return ", ".join([told[0].replace(" ", " get ", 1), *told[1:]]) if told else ""


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
    empty = not old, not new
    if sorted(old) != sorted(new):
        old, new = [one for one in old if one not in new], [one for one in new if one not in old]
    return Row(field_name(name), tuple(old), tuple(new), *empty)


def field_name(name: str) -> str:
    return NAMES.get(name, name.replace("_", " "))


def lines(name: str, found: Any) -> list[str]:
    if name in ("weights", "segments") and found in ({}, []):
        return ["everybody on the default"]
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
        return [told.replace(" → ", ", then ") for told in rules.sentences(list(found))]
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
