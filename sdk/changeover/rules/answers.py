"""All answers a flag can give, numbered, and the way from what a rule yields to one of them.

A server encodes each answer once and then serves it by its number. Numbers 0 and 1 are the default variant (1: a split
chose it by naming null); then each variant as the answer of a rule, then each as the answer of a split. Answers beyond
are faults that stand in the rule, like an arm that is no variant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from changeover.rules.bucketing import NO_ARM

DEFAULT, DEFAULT_BY_SPLIT = 0, 1


class NotAVariant(ValueError):
    """A rule yields something that is no variant of its flag."""


class Answer(NamedTuple):
    """What a flag answers, apart from the metadata of the flag set."""

    value: Any = None
    variant: str | None = None
    reason: str = "ERROR"
    assigned_by: str | None = None
    error_code: str | None = None
    error_details: str | None = None


def general(details: str) -> Answer:
    return Answer(error_code="GENERAL", error_details=details)


def not_a_variant(name: str) -> str:
    return f"Resolved variant {name} not in variants config."


def default_answer(variants: Mapping[str, Any], default: Any, reason: str, assigned_by: str) -> Answer:
    """The answer of the default variant, or of the caller's own default where the flag names none."""
    if isinstance(default, bool):
        default = str(default).lower()
    if not default:
        return Answer(reason="DEFAULT")
    if default not in variants:
        return general(not_a_variant(default))
    if variants[default] is None:
        return Answer(error_code="TYPE_MISMATCH", error_details=f"Variant {default} is null.")
    return Answer(variants[default], default, reason, assigned_by)


class Answers:
    def __init__(self, *, variants: Mapping[str, Any], default: Any, is_on_fallback: bool) -> None:
        rule, split, by_default = ("fallback",) * 3 if is_on_fallback else ("rule", "split", "default")
        self.all = [
            default_answer(variants, default, "DEFAULT", by_default),
            default_answer(variants, default, "DEFAULT", split),
        ]
        self.by_rule: dict[str, int] = {}
        self.by_split: dict[str, int] = {}
        for numbers, assigned_by in ((self.by_rule, rule), (self.by_split, split)):
            for name, value in variants.items():
                if value is not None:  # to flagd a variant without a value is none
                    numbers[name] = len(self.all)
                    self.all.append(Answer(value, name, "TARGETING_MATCH", assigned_by))

    def found(self, value: Any, *, is_split: bool) -> int:
        """The number of the answer for what a rule yields."""
        if value is None:
            return DEFAULT_BY_SPLIT if is_split else DEFAULT
        if value is NO_ARM:
            return DEFAULT
        name = as_variant(value)
        number = (self.by_split if is_split else self.by_rule).get(name)
        if number is None:
            raise NotAVariant(not_a_variant(name))
        return number

    def fixed(self, value: Any, *, is_split: bool) -> int:
        """The same for what stands in the rule: a fault gets a number too, to be answered when it is reached."""
        try:
            return self.found(value, is_split=is_split)
        except NotAVariant as fault:
            self.all.append(general(str(fault)))
            return len(self.all) - 1


def as_variant(value: Any) -> str:
    if isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)
