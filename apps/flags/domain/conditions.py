"""Readable conditions, and the JSONLogic that clients evaluate in their place.

A condition asks one attribute: `{"attribute": "plan", "operator": "is_one_of", "values": ["beta", "pro"]}`. A group
joins conditions: `{"all": […]}`, `{"any": […]}`, `{"none": […]}`. `{"audience": "testers"}` stands for the conditions
of that audience. Each is written out so that every flagd client answers alike: a missing attribute meets no condition
but `is_not`, `is_none_of`, `not_contains` and `is_not_set`.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from apps.flags.domain import patterns
from apps.flags.domain.unfit import Unfit
from apps.flags.domain.variants import SAFE, check_texts

MOST_VALUES = 5_000
MOST_PARTS = 200
DEEPEST = 8
Value = str | int | float | bool
Logic = Any


@dataclass(frozen=True, slots=True)
class Condition:
    attribute: str
    operator: str
    values: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class InAudience:
    key: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    kind: Literal["all", "any", "none"]
    parts: "tuple[Part, ...]" = ()


Part = Condition | InAudience | Group
Audiences = Mapping[str, Group]


@dataclass(frozen=True, slots=True)
class Operator:
    words: str
    write: Callable[[Logic, tuple[Value, ...]], Logic]
    takes: Literal["none", "one", "some"] = "one"
    kind: Literal["any", "text", "number", "version", "pattern"] = "any"


def either(parts: list[Logic]) -> Logic:
    return parts[0] if len(parts) == 1 else {"or": parts}


def negated(part: Logic) -> Logic:
    return {"!": [part]}


def ordered(operator: str) -> Callable[[Logic, tuple[Value, ...]], Logic]:
    # null counts as 0 in an order: a missing attribute would pass `>= 0`
    return lambda var, values: {"and": [{"!==": [var, None]}, {operator: [var, values[0]]}]}


def version(operator: str) -> Callable[[Logic, tuple[Value, ...]], Logic]:
    return lambda var, values: {"sem_ver": [var, operator, values[0]]}


def text(operator: str) -> Callable[[Logic, tuple[Value, ...]], Logic]:
    return lambda var, values: either([{operator: [var, value]} for value in values])


def contains(var: Logic, values: tuple[Value, ...]) -> Logic:
    return either([{"in": [value, var]} for value in values])


def matches(var: Logic, values: tuple[Value, ...]) -> Logic:
    operator, texts = patterns.simple(values[0])
    return OPERATORS[operator].write(var, texts)


OPERATORS: dict[str, Operator] = {
    "is": Operator("is", lambda var, values: {"===": [var, values[0]]}),
    "is_not": Operator("is not", lambda var, values: {"!==": [var, values[0]]}),
    "is_one_of": Operator("is one of", lambda var, values: {"in": [var, list(values)]}, "some"),
    "is_none_of": Operator("is none of", lambda var, values: negated({"in": [var, list(values)]}), "some"),
    "contains": Operator("contains", contains, "some", "text"),
    "not_contains": Operator("does not contain", lambda var, values: negated(contains(var, values)), "some", "text"),
    "starts_with": Operator("starts with", text("starts_with"), "some", "text"),
    "ends_with": Operator("ends with", text("ends_with"), "some", "text"),
    "matches": Operator("matches", matches, "one", "pattern"),
    "greater": Operator("is above", ordered(">"), "one", "number"),
    "at_least": Operator("is at least", ordered(">="), "one", "number"),
    "less": Operator("is below", ordered("<"), "one", "number"),
    "at_most": Operator("is at most", ordered("<="), "one", "number"),
    "version_is": Operator("is version", version("="), "one", "version"),
    "version_above": Operator("is a version above", version(">"), "one", "version"),
    "version_at_least": Operator("is at least version", version(">="), "one", "version"),
    "version_below": Operator("is a version below", version("<"), "one", "version"),
    "version_at_most": Operator("is at most version", version("<="), "one", "version"),
    "version_same_major": Operator("has the major version of", version("^"), "one", "version"),
    "version_same_minor": Operator("has the minor version of", version("~"), "one", "version"),
    "is_set": Operator("is there", lambda var, _: {"!==": [var, None]}, "none"),
    "is_not_set": Operator("is missing", lambda var, _: {"===": [var, None]}, "none"),
}


def parse_group(given: Any, depth: int = 1) -> Group:
    """From JSON. A missing or empty one is everybody."""
    if given is None or given == {}:
        return Group("all")
    part = parse(given, depth)
    return part if isinstance(part, Group) else Group("all", (part,))


def parse(given: Any, depth: int = 1) -> Part:
    if not isinstance(given, Mapping):
        raise Unfit("rules", "A condition is an object.")
    if depth > DEEPEST:
        raise Unfit("rules", f"Conditions may be {DEEPEST} groups deep.")
    for kind in ("all", "any", "none"):
        if kind in given:
            only(given, kind)
            parts = given[kind]
            if not isinstance(parts, list) or len(parts) > MOST_PARTS:
                raise Unfit("rules", f'"{kind}" holds a list of at most {MOST_PARTS} conditions.')
            if kind != "all" and not parts:
                raise Unfit("rules", f'"{kind}" of no conditions says nothing.')
            return Group(kind, tuple(parse(part, depth + 1) for part in parts))
    if "audience" in given:
        only(given, "audience", "negated")
        key = given["audience"]
        if not isinstance(key, str) or not key or not isinstance(given.get("negated", False), bool):
            raise Unfit("rules", 'An audience is named by its key: {"audience": "testers"}.')
        check_texts("rules", key)
        return InAudience(key, bool(given.get("negated", False)))
    only(given, "attribute", "operator", "values", "value")
    check_texts("rules", [given.get("attribute"), given.get("values"), given.get("value")])
    return parse_condition(given)


def only(given: Mapping[str, Any], *known: str) -> None:
    if unknown := sorted(set(map(str, given)) - set(known)):
        raise Unfit("rules", f"A condition has no {', '.join(unknown)}; it has {', '.join(known)}.")


def parse_condition(given: Mapping[str, Any]) -> Condition:
    attribute, name = given.get("attribute"), given.get("operator")
    if not isinstance(attribute, str) or not attribute.strip() or len(attribute) > 256:
        raise Unfit("rules", "A condition names the attribute that it asks for.")
    if not isinstance(name, str) or name not in OPERATORS:
        raise Unfit("rules", f"There is no operator {name}: take one of {', '.join(OPERATORS)}.")
    values = given.get("values", [given["value"]] if "value" in given else [])
    if not isinstance(values, list) or len(values) > MOST_VALUES:
        raise Unfit("rules", f"The values of a condition are a list of {MOST_VALUES:,} at most.")
    operator = OPERATORS[name]
    least, most = {"none": (0, 0), "one": (1, 1), "some": (1, MOST_VALUES)}[operator.takes]
    if not least <= len(values) <= most:
        number = {"none": "no value", "one": "one value", "some": "at least one value"}[operator.takes]
        raise Unfit("rules", f"{attribute} {operator.words}: it takes {number}.")
    return Condition(attribute, name, tuple(check_value(operator, attribute, value) for value in values))


def check_value(operator: Operator, attribute: str, value: Any) -> Value:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and (not math.isfinite(value) or abs(value) > SAFE):
        raise Unfit("rules", f"{attribute} {operator.words} {value}: languages disagree on numbers beyond 2^53.")
    if operator.kind == "version":
        return patterns.check_version(value)
    if operator.kind == "pattern":
        patterns.simple(value)
        return str(value)
    fits = {"any": isinstance(value, str | bool) or is_number, "text": isinstance(value, str), "number": is_number}
    if not fits[operator.kind] or (operator.kind == "text" and not value):
        wanted = {"any": "text, numbers or booleans", "text": "text that is not empty", "number": "a number"}
        raise Unfit("rules", f"{attribute} {operator.words}: it takes {wanted[operator.kind]}, not {value!r}.")
    checked: Value = value
    return checked


def as_dict(part: Part) -> dict[str, Any]:
    match part:
        case Group():
            return {part.kind: [as_dict(one) for one in part.parts]}
        case InAudience():
            return {"audience": part.key, **({"negated": True} if part.negated else {})}
    return {"attribute": part.attribute, "operator": part.operator, "values": list(part.values)}


def audiences_of(part: Part) -> Iterator[str]:
    if isinstance(part, InAudience):
        yield part.key
    elif isinstance(part, Group):
        for one in part.parts:
            yield from audiences_of(one)


def write(part: Part, audiences: Audiences) -> Logic:
    """As JSONLogic, with every audience written out. True: everybody."""
    match part:
        case InAudience():
            if part.key not in audiences:
                raise Unfit("rules", f"There is no audience {part.key}.")
            inner = write(audiences[part.key], audiences)
            return negated(inner) if part.negated else inner
        case Group(kind="all"):
            parts = [write(one, audiences) for one in part.parts]
            return True if not parts else parts[0] if len(parts) == 1 else {"and": parts}
        case Group():
            inner = either([write(one, audiences) for one in part.parts])
            return negated(inner) if part.kind == "none" else inner
    return OPERATORS[part.operator].write({"var": part.attribute}, part.values)


def words(part: Part) -> str:
    """The condition as a person would say it."""
    match part:
        case InAudience():
            return f"{'outside' if part.negated else 'in'} audience {part.key}"
        case Group():
            if not part.parts:
                return "everybody"
            inner = [f"({words(one)})" if isinstance(one, Group) and len(one.parts) > 1 else words(one)
                     for one in part.parts]  # fmt: skip
            if part.kind == "none":
                return f"not ({' or '.join(inner)})"
            return (" and " if part.kind == "all" else " or ").join(inner)
    operator = OPERATORS[part.operator]
    shown = ", ".join(str(value) if not isinstance(value, bool) else str(value).lower() for value in part.values[:5])
    more = f" and {len(part.values) - 5} more" if len(part.values) > 5 else ""
    return f"{part.attribute} {operator.words} {shown}{more}".rstrip()
