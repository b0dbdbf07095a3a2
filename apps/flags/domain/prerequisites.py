"""Prerequisites: a flag decides only for those who get a named variant of each flag that it requires.

They are written out into the flag's own rule, so that a flagd document means the same to every client. That works
where the required flag's rule means the same anywhere: what is hashed with a flag's own key (the short form of a
split) does not, and is refused. Whoever misses a prerequisite gets the default variant.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from apps.flags.domain import targeting
from apps.flags.domain.unfit import Unfit
from apps.flags.domain.variants import check_texts

MOST = 20
Edges = Mapping[str, Sequence[str]]  # flag to the flags that it requires


def check(given: Any, *, key: str) -> list[dict[str, str]]:
    """The list as it is stored, or Unfit."""
    if given is None:
        return []
    if not isinstance(given, list) or len(given) > MOST:
        raise Unfit("prerequisites", f'Prerequisites are a list of {MOST} at most, each {{"flag", "variant"}}.')
    found: dict[str, dict[str, str]] = {}
    for one in given:
        flag, variant = (one.get("flag"), one.get("variant")) if isinstance(one, Mapping) else (None, None)
        if not isinstance(flag, str) or not isinstance(variant, str) or not flag or not variant:
            raise Unfit("prerequisites", 'A prerequisite names a flag and its variant: {"flag": …, "variant": …}.')
        check_texts("prerequisites", [flag, variant])
        if flag in found:
            raise Unfit("prerequisites", f"{flag} is required twice.")
        if flag == key:
            raise Unfit("prerequisites", f"{key} cannot require itself.")
        found[flag] = {"flag": flag, "variant": variant}
    return list(found.values())


def check_cycle(edges: Edges, key: str, required: Iterable[str]) -> None:
    """Refuses a requirement that leads back to the flag itself. `edges`: all others of the environment."""
    stack: list[tuple[str, tuple[str, ...]]] = [(one, (key, one)) for one in required]
    seen: set[str] = set()
    while stack:
        flag, path = stack.pop()
        if flag == key:
            raise Unfit("prerequisites", f"That would be a circle: {' requires '.join(path)}.")
        if flag in seen:
            continue
        seen.add(flag)
        stack += [(one, (*path, one)) for one in edges.get(flag, ())]


def in_order(edges: Edges, keys: Iterable[str]) -> list[str]:
    """These flags, each after those that it requires."""
    wanted, done, ordered = set(keys), set[str](), list[str]()

    def visit(key: str) -> None:
        if key in done:
            return
        done.add(key)
        for required in edges.get(key, ()):
            visit(required)
        if key in wanted:
            ordered.append(key)

    for key in sorted(wanted):
        visit(key)
    return ordered


def depends_on_key(rule: Any) -> bool:
    """Whether the rule would answer something else inside another flag: it hashes or reads its own flag's key."""
    for node, _ in targeting.walk(rule):
        if not isinstance(node, dict) or len(node) != 1:
            continue
        ((operator, given),) = node.items()
        arguments = targeting.as_list(given)
        if operator == "fractional" and (not arguments or isinstance(arguments[0], list)):
            return True
        if operator == "var" and arguments and arguments[0] in ("", "$flagd", "$flagd.flagKey"):
            return True
    return False


def is_random(rule: Any) -> bool:
    return any(isinstance(node, dict) and "fractional" in node for node, _ in targeting.walk(rule))


def guard(rule: Any, default: str, variant: str, *, is_on: bool) -> Any:
    """Whether a context gets `variant` of the required flag: JSONLogic, or a plain True or False."""
    if not is_on:
        return False
    if not rule:
        return default == variant
    answers: list[Any] = [variant]
    if variant in ("true", "false"):  # a rule may say it as a boolean
        answers.append(variant == "true")
    if default == variant:  # null stands for the default
        answers.append(None)
    return {"===": [rule, variant]} if len(answers) == 1 else {"in": [rule, answers]}


def guarded(rule: Any, guards: Sequence[Any]) -> Any:
    """The rule for those who meet every guard; null, the default variant, for all others."""
    conditions = [one for one in guards if one is not True]
    if not rule or not conditions:
        return rule
    if False in [one for one in conditions if isinstance(one, bool)]:
        return None
    missed = {"!": [conditions[0] if len(conditions) == 1 else {"and": conditions}]}
    return targeting.joined({"if": [missed, None]}, rule)
