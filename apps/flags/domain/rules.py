"""Ordered rules with readable conditions, and the JSONLogic that the snapshot carries for them.

`[{"name": "Testers", "when": {"all": [conditions]}, "variant": "on"}]`: the first rule whose conditions hold answers.
A plain flag's rule may divide instead: `"split": {"on": 25, "off": 75}`, in percent. A route's may not: its split is
its weights, and what is judged must be told from a rule.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from apps.flags.domain import conditions, targeting
from apps.flags.domain import segments as layout
from apps.flags.domain.conditions import Audiences, Group
from apps.flags.domain.segments import Segments
from apps.flags.domain.unfit import Unfit
from apps.flags.domain.variants import check_texts

MOST = 200


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    when: Group
    answer: str | Segments


def parse(given: Any) -> list[Rule]:
    """From JSON, or Unfit with a sentence."""
    if given is None:
        return []
    if not isinstance(given, list) or len(given) > MOST:
        raise Unfit("rules", f"Rules are a list of at most {MOST}.")
    for rule in given:
        if isinstance(rule, Mapping) and isinstance(rule.get("name"), str):
            check_texts("rules", rule["name"])
    found = [parse_rule(one, number) for number, one in enumerate(given, 1)]
    for rule, after in pairwise(found):
        if not rule.when.parts:
            raise Unfit("rules", f"{rule.name} answers everybody: {after.name} after it is never reached.")
    return found


def parse_rule(given: Any, number: int) -> Rule:
    if not isinstance(given, Mapping):
        raise Unfit("rules", "A rule is an object.")
    if unknown := sorted(set(map(str, given)) - {"name", "when", "variant", "split", "words"}):
        raise Unfit("rules", f"A rule has no {', '.join(unknown)}; it has name, when, and variant or split.")
    name = given.get("name") or f"Rule {number}"
    if not isinstance(name, str) or len(name) > 128:
        raise Unfit("rules", "The name of a rule has at most 128 characters.")
    variant, shares = given.get("variant"), given.get("split")
    if (variant is None) == (shares is None):
        raise Unfit("rules", f"{name} answers with a variant, or with a split.")
    if variant is not None and (not isinstance(variant, str) or not variant):
        raise Unfit("rules", f"{name} answers with the name of a variant.")
    answer: str | Segments = variant if variant is not None else parse_split(name, shares)
    return Rule(name, conditions.parse_group(given.get("when")), answer)


def parse_split(name: str, shares: Any) -> Segments:
    if not isinstance(shares, Mapping) or not shares:
        raise Unfit("rules", f'{name}: a split is an object of variant and percent, {{"on": 25, "off": 75}}.')
    parts: list[tuple[str, int]] = []
    for variant, share in shares.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 100:
            raise Unfit("rules", f"{name}: the share of {variant} lies between 0 and 100 %.")
        size = round(share * 100)
        if abs(size - share * 100) > 1e-6:
            raise Unfit("rules", f"{name}: shares come in steps of 0.01 %.")
        if size:
            parts.append((str(variant), size))
    if sum(size for _, size in parts) != layout.WHOLE:
        raise Unfit("rules", f"{name}: the shares must add up to 100 %.")
    return tuple(parts)


def check(rules: Sequence[Rule], variants: Mapping[str, Any], *, may_split: bool) -> None:
    for rule in rules:
        if not isinstance(rule.answer, str) and not may_split:
            raise Unfit("rules", "The percentages of a route are its weights, not part of its rules.")
        for variant in variants_of(rule):
            if variant not in variants:
                raise Unfit("rules", f"{rule.name} answers {variant}, which is no variant of this flag.")


def variants_of(rule: Rule) -> list[str]:
    return [rule.answer] if isinstance(rule.answer, str) else [variant for variant, _ in rule.answer]


def as_dict(rule: Rule) -> dict[str, Any]:
    answer: dict[str, Any] = (
        {"variant": rule.answer}
        if isinstance(rule.answer, str)
        else {"split": {variant: size / 100 for variant, size in layout.weights_of(rule.answer).items()}}
    )
    return {"name": rule.name, "when": conditions.as_dict(rule.when), **answer}


def audiences_of(rules: Sequence[Rule]) -> set[str]:
    return {key for rule in rules for key in conditions.audiences_of(rule.when)}


def write(rules: Sequence[Rule], audiences: Audiences, *, key: str, salt: str) -> dict[str, Any]:
    """The JSONLogic of the rules, first to last; {} for none."""
    if not rules:
        return {}
    arguments: list[Any] = []
    for rule in rules:
        arguments += [conditions.write(rule.when, audiences), answer_of(rule, key=key, salt=salt)]
    return {"if": arguments}


def answer_of(rule: Rule, *, key: str, salt: str) -> Any:
    if isinstance(rule.answer, str):
        return rule.answer
    return targeting.split(rule.answer, key=key, salt=salt, unit=targeting.TARGETING_KEY)


def words(rule: Rule) -> str:
    """`Testers: plan is beta → on`."""
    if isinstance(rule.answer, str):
        answer = rule.answer
    else:
        answer = ", ".join(f"{size / 100:g} % {variant}" for variant, size in rule.answer)
    return f"{rule.name}: {conditions.words(rule.when)} → {answer}"


def sentences(stored: Any) -> Iterator[str]:
    for rule in parse(stored):
        yield words(rule)
