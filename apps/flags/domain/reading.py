"""JSONLogic read back as rules: what rules.py could have written is shown as conditions, the rest stays an expert's.

Reading never guesses: what is written from the answer is the same JSONLogic again, byte for byte.
"""

from collections.abc import Mapping
from typing import Any

from apps.flags.domain import conditions, rules
from apps.flags.domain.conditions import Condition, Group, Part
from apps.flags.domain.rules import Rule
from apps.flags.domain.unfit import Unfit

ORDERED = {">": "greater", ">=": "at_least", "<": "less", "<=": "at_most"}
VERSIONS = {
    "=": "version_is", ">": "version_above", ">=": "version_at_least", "<": "version_below", "<=": "version_at_most",
    "^": "version_same_major", "~": "version_same_minor",
}  # fmt: skip


def read(logic: Any, *, key: str, salt: str) -> list[Rule] | None:
    """The rules that stand for this JSONLogic; None if there are none that do exactly."""
    if logic in (None, {}):
        return []
    if not isinstance(logic, Mapping) or list(logic) != ["if"] or not isinstance(logic["if"], list):
        return None
    arguments = logic["if"]
    if not arguments or len(arguments) % 2:
        return None
    try:
        found = [
            Rule(f"Rule {at // 2 + 1}", group(arguments[at]), result(arguments[at + 1], key=key, salt=salt))
            for at in range(0, len(arguments), 2)
        ]
        again = rules.parse([rules.as_dict(rule) for rule in found])
        same = rules.write(again, {}, key=key, salt=salt) == logic
    except (Unfit, Unreadable, RecursionError):
        return None
    return found if same else None


class Unreadable(Exception):
    """No condition of ours is written so."""


def result(logic: Any, *, key: str, salt: str) -> str | tuple[tuple[str, int], ...]:
    if isinstance(logic, str):
        return logic
    if isinstance(logic, Mapping) and "if" in logic and isinstance(logic["if"], list) and len(logic["if"]) == 3:
        logic = logic["if"][2]
    if not isinstance(logic, Mapping) or list(logic) != ["fractional"] or not isinstance(logic["fractional"], list):
        raise Unreadable
    entries = [one for one in logic["fractional"] if isinstance(one, list)]
    for entry in entries:
        if len(entry) != 2 or not isinstance(entry[0], str) or type(entry[1]) is not int:
            raise Unreadable
    return tuple((variant, size) for variant, size in entries)


def group(logic: Any) -> Group:
    if logic is True:
        return Group("all")
    part = condition(logic)
    return part if isinstance(part, Group) else Group("all", (part,))


def condition(logic: Any) -> Part:
    if not isinstance(logic, Mapping) or len(logic) != 1:
        raise Unreadable
    ((operator, arguments),) = logic.items()
    if not isinstance(arguments, list):
        raise Unreadable
    simple = one_attribute(operator, arguments)
    if simple is not None:
        return simple
    if operator == "and":
        return Group("all", tuple(condition(part) for part in arguments))
    if operator == "or":
        parts = tuple(condition(part) for part in arguments)
        return together(parts) or Group("any", parts)
    if operator == "!" and len(arguments) == 1:
        inner = condition(arguments[0])
        if isinstance(inner, Condition) and inner.operator in ("is_one_of", "contains"):
            name = {"is_one_of": "is_none_of", "contains": "not_contains"}[inner.operator]
            return Condition(inner.attribute, name, inner.values)
        return Group("none", inner.parts if isinstance(inner, Group) and inner.kind == "any" else (inner,))
    raise Unreadable


def together(parts: tuple[Part, ...]) -> Condition | None:
    """`starts_with` a or b of one attribute is one condition with two values."""
    first = parts[0]
    if not isinstance(first, Condition) or first.operator not in ("contains", "starts_with", "ends_with"):
        return None
    values: list[conditions.Value] = []
    for part in parts:
        if not isinstance(part, Condition) or (part.attribute, part.operator) != (first.attribute, first.operator):
            return None
        if len(part.values) != 1:  # an "or" inside an "or": two conditions, not one
            return None
        values += part.values
    return Condition(first.attribute, first.operator, tuple(values))


def attribute_of(node: Any) -> str | None:
    is_var = isinstance(node, Mapping) and list(node) == ["var"] and isinstance(node["var"], str)
    return str(node["var"]) if is_var else None


def one_attribute(operator: str, arguments: list[Any]) -> Condition | None:
    if operator == "and" and len(arguments) == 2:
        return compared(*arguments)
    if operator == "sem_ver" and len(arguments) == 3 and arguments[1] in VERSIONS:
        name = attribute_of(arguments[0])
        return None if name is None else Condition(name, VERSIONS[arguments[1]], (arguments[2],))
    if len(arguments) != 2:
        return None
    left, right = arguments
    name, other = attribute_of(left), attribute_of(right)
    if operator in ("===", "!==") and name is not None:
        if right is None:
            return Condition(name, "is_set" if operator == "!==" else "is_not_set")
        return Condition(name, "is" if operator == "===" else "is_not", (right,))
    if operator == "in" and name is not None and isinstance(right, list):
        return Condition(name, "is_one_of", tuple(right))
    if operator == "in" and other is not None:
        return Condition(other, "contains", (left,))
    if operator in ("starts_with", "ends_with") and name is not None:
        return Condition(name, operator, (right,))
    return None


def compared(guard: Any, comparison: Any) -> Condition | None:
    """`and` of "is there" and an order: one condition on a number."""
    if not isinstance(comparison, Mapping) or len(comparison) != 1:
        return None
    ((operator, arguments),) = comparison.items()
    if operator not in ORDERED or not isinstance(arguments, list) or len(arguments) != 2:
        return None
    if guard != {"!==": [arguments[0], None]} or (name := attribute_of(arguments[0])) is None:
        return None
    return Condition(name, ORDERED[operator], (arguments[1],))
