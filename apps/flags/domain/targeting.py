"""Rules: JSONLogic as flagd has it. What may be saved, what deserves a warning, and how rules and split become one.

The rules of people come first; the split answers only those whom no rule has answered. The split stands in the last
`else`, where the evaluator can tell it from a rule.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from apps.flags.domain import patterns
from apps.flags.domain.segments import Segments
from apps.flags.domain.unfit import Unfit
from apps.flags.domain.variants import check_texts

OPERATORS = frozenset({
    "var", "missing", "missing_some", "if", "?:", "==", "===", "!=", "!==", "!", "!!", "and", "or", "<", "<=", ">",
    ">=", "+", "-", "*", "/", "%", "min", "max", "cat", "substr", "in", "merge", "map", "filter", "reduce", "all",
    "some", "none", "log", "fractional", "sem_ver", "starts_with", "ends_with",
})  # fmt: skip
MAX_DEPTH = 100
MAX_NODES = 10_000
MAX_BYTES = 256 * 1024
ORDERS = ("<", "<=", ">", ">=")
TARGETING_KEY = "targetingKey"
Rule = Any


def check(rule: Rule, variants: Collection[str], *, may_split: bool = True) -> dict[str, Any]:
    """The rule, or {} for none. Refuses what some client would stumble over (each has met one).

    A route may not split in its rules: its split is its weights, and what is judged must be told from a rule.
    """
    if rule is None or rule == {}:
        return {}
    if not isinstance(rule, dict):
        raise Unfit("targeting", "Rules are a JSONLogic object.")
    check_size(rule)
    for count, (node, depth) in enumerate(walk(rule)):
        if depth > MAX_DEPTH or count >= MAX_NODES:
            raise Unfit("targeting", f"Rules may be {MAX_DEPTH} levels deep and have {MAX_NODES:,} parts.")
        check_node(node)
        if not may_split and isinstance(node, dict) and "fractional" in node:
            raise Unfit("targeting", "The percentages of a route are its weights, not part of its rules.")
    check_texts("targeting", rule)
    for answer in answers(rule):
        check_answer(answer, variants)
    return rule


def check_size(rule: Rule) -> None:
    try:
        size = len(json.dumps(rule, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    except (RecursionError, ValueError) as fault:
        raise Unfit("targeting", f"Rules may be {MAX_DEPTH} levels deep and have {MAX_NODES:,} parts.") from fault
    if size > MAX_BYTES:
        raise Unfit("targeting", f"Rules may have {MAX_BYTES // 1024} KiB; these have {size / 1024:,.0f}.")


def check_node(node: Any) -> None:
    if not isinstance(node, dict):
        return
    if len(node) != 1:
        raise Unfit("targeting", f"An object in a rule has one key, its operator; this one has {len(node)}.")
    (operator,) = node
    if operator == "$ref":
        raise Unfit("targeting", "References to $evaluators are written out when a definition is imported.")
    if operator not in OPERATORS:
        raise Unfit("targeting", f"There is no operator {operator}.")
    if operator == "sem_ver":
        patterns.check_comparison(node[operator])


def check_answer(answer: Any, variants: Collection[str]) -> None:
    if isinstance(answer, bool):
        answer = "true" if answer else "false"
    if answer is None or isinstance(answer, dict):
        return
    if not isinstance(answer, str):
        raise Unfit("targeting", f"A rule answers with the name of a variant; {answer!r} is none.")
    if answer not in variants:
        raise Unfit("targeting", f"A rule answers {answer!r}, which is no variant.")


def walk(rule: Any, depth: int = 1) -> Iterator[tuple[Any, int]]:
    """Every part of the rule with its depth."""
    stack = [(rule, depth)]
    while stack:
        node, depth = stack.pop()
        yield node, depth
        inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        stack.extend((part, depth + 1) for part in inner)


def answers(rule: Any) -> Iterator[Any]:
    """The parts that can be the rule's result, as far as they can be read off it."""
    stack = [rule]
    while stack:
        node = stack.pop()
        if not isinstance(node, dict) or len(node) != 1:
            yield node
            continue
        ((operator, given),) = node.items()
        arguments = given if isinstance(given, list) else [given]
        if operator in ("if", "?:"):
            stack += [part for at, part in enumerate(arguments) if at % 2 or at == len(arguments) - 1]
        elif operator == "fractional":
            stack += [entry[0] for entry in arguments if isinstance(entry, list) and entry]
        else:
            yield node


def attributes(rule: Rule) -> list[str]:
    """What the rule reads from the context, each once; not what flagd adds."""
    found: dict[str, None] = {}
    for node, _ in walk(rule):
        if not isinstance(node, dict) or len(node) != 1 or "var" not in node:
            continue
        name = next(iter(as_list(node["var"])), "")
        if isinstance(name, str) and name and not name.startswith("$flagd"):
            found[name] = None
    return list(found)


def as_list(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given]


def split(segments: Segments, *, key: str, salt: str, unit: str) -> Rule:
    """The `fractional` of these segments. By the targeting key and the flag's own key where it can: the short form.

    Else the seed is spelled out, and a subject without the attribute gets the default, not one shared bucket.
    """
    entries: list[Any] = [[variant, size] for variant, size in segments]
    if unit == TARGETING_KEY and salt == key:
        return {"fractional": entries}
    seed = {"cat": [salt, {"var": unit}]}
    return {"if": [{"missing": [unit]}, None, {"fractional": [seed, *entries]}]}


def joined(rules: Rule, split: Rule) -> Rule:
    """The rules first, the split for whomever they do not answer."""
    if not rules:
        return split
    if set(rules) == {"if"} and isinstance(rules["if"], list):
        arguments = rules["if"]
        if len(arguments) % 2 == 0:
            return {"if": [*arguments, split]}
        last = arguments[-1]
        if last is None:
            return {"if": [*arguments[:-1], split]}
        if isinstance(last, dict) and set(last) == {"if"}:
            return {"if": [*arguments[:-1], joined(last, split)]}
        return rules  # its own else answers everybody
    return {"if": [{"!==": [rules, None]}, rules, split]}


def inlined(rule: Rule, shared: Sequence[tuple[str, Any]]) -> Rule:
    """The rule with each `{"$ref": name}` written out: clients disagree on shared rules, so we serve none.

    As flagd does it: once through the shared rules in order, so one may refer to a later one only. What is left over
    is an operator that nobody knows, and answers PARSE_ERROR as it did before.
    """
    if isinstance(rule, list):
        return [inlined(part, shared) for part in rule]
    if not isinstance(rule, dict):
        return rule
    if len(rule) == 1 and "$ref" in rule:
        for at, (name, known) in enumerate(shared):
            if name == rule["$ref"]:
                return inlined(known, shared[at + 1 :])
    return {operator: inlined(part, shared) for operator, part in rule.items()}
