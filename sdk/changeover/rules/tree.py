"""A rule as it was parsed from JSON: which nodes are operations, which stand for themselves, how large it all is."""

from __future__ import annotations

from typing import Any

MAX_DEPTH = 100
MAX_OPERATIONS = 10_000


class TooLarge(ValueError):
    """A rule that is deeper or longer than anybody writes by hand."""


def operation(node: Any) -> tuple[str, list[Any]] | None:
    """The operator and the arguments of a node, or None for a literal."""
    if type(node) is not dict or len(node) != 1:
        return None
    [(name, args)] = node.items()
    return name, args if isinstance(args, list) else [args]


def is_literal(node: Any) -> bool:
    """True for what stands for itself: a scalar, or an object that is no operation."""
    return not isinstance(node, list) and operation(node) is None


def is_literal_list(node: Any) -> bool:
    return isinstance(node, list) and all(is_literal(item) for item in node)


def holds_fractional(node: Any) -> bool:
    if isinstance(node, list):
        return any(holds_fractional(item) for item in node)
    found = operation(node)
    return found is not None and (found[0] == "fractional" or holds_fractional(found[1]))


def check_size(node: Any) -> None:
    operations, todo = 0, [(node, 1)]
    while todo:
        node, depth = todo.pop()
        if depth > MAX_DEPTH:
            raise TooLarge(f"the rule is nested deeper than {MAX_DEPTH}")
        if isinstance(node, list):
            todo.extend((item, depth + 1) for item in node if isinstance(item, (list, dict)))
        elif (found := operation(node)) is not None:
            operations += 1
            if operations > MAX_OPERATIONS:
                raise TooLarge(f"the rule has more than {MAX_OPERATIONS} operations")
            todo.append((found[1], depth + 1))
