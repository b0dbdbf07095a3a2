"""What a rule does differently in another language's flagd client, or to a context that nobody thought of.

Python's core is the reference; JavaScript's answers otherwise in the cases that are named here, each measured with the
real packages. Only what can be read off the rule is told: a sentence with what to write instead. Nothing is refused.
"""

from collections.abc import Callable, Iterator
from typing import Any

from apps.flags.domain import patterns
from apps.flags.domain.targeting import ORDERS, TARGETING_KEY, answers, as_list, attributes, walk
from apps.flags.domain.unfit import Unfit

Node = Any
TEXT_ATTRIBUTES = (TARGETING_KEY, "$flagd.flagKey")
ARITHMETIC = ("+", "-", "*", "max", "min")
GIVE_TEXT = ("cat", "substr", "if", "?:")
GIVE_TRUTH = (
    "==", "===", "!=", "!==", "!", "!!", "<", "<=", ">", ">=", "in", "starts_with", "ends_with", "sem_ver", "all",
    "some", "none", "and", "or",
)  # fmt: skip
MAX_WEIGHT = 2**31 - 1

MISSING = 'missing counts an empty text as missing in Python only: compare it with "" instead.'
SAME = "=== takes 1 for true and 0 for false in Python only: send one kind, text is safest."


def warnings(rule: Node, *, by_hand: bool = True) -> list[str]:
    """Each sentence once. `by_hand`: False for rules that are written out from readable conditions, which use two
    of these forms on purpose."""
    found: dict[str, None] = {}
    guarded = {id(part) for node, _ in walk(rule) for part in behind_a_guard(node)}
    asked = set(asked_for(rule))
    for node, _ in walk(rule):
        if isinstance(node, dict) and len(node) == 1:
            ((operator, given),) = node.items()
            for sentence in of_node(operator, as_list(given), asked=asked, is_guarded=id(node) in guarded):
                found[sentence] = None
    for answer in answers(rule):
        for sentence in of_answer(answer):
            found[sentence] = None
    return [sentence for sentence in found if by_hand or sentence not in (MISSING, SAME)]


def of_node(operator: str, given: list[Node], *, asked: set[str], is_guarded: bool) -> Iterator[str]:
    if operator in LINTS:
        yield from LINTS[operator](given)
    if operator in ORDERS and not is_guarded and any(is_var(part) for part in given):
        yield "A missing attribute passes >= 0: guard it with and, !!."
    if operator in ORDERS and any(is_number(one) for one in given) and any(is_no_number(one) for one in given):
        yield f"{operator} of a text and a number is an error in JavaScript, and never holds in Python."
    if operator in ARITHMETIC and (not given or any(is_no_number(one) for one in given)):
        yield f"{operator} of what is no number is an error in JavaScript, and no number in Python."
    if any(is_var(part) or part == {} for part in truths(operator, given)):
        yield "An attribute asked by itself: an empty object {} holds in Python and not in JavaScript. Compare it."
    if operator == "fractional":
        yield from of_fractional(given, asked)


def remainder(given: list[Node]) -> Iterator[str]:
    yield "% has the sign of the divisor in Python and of the dividend in JavaScript; by 0 it fails in Python only."


def division(given: list[Node]) -> Iterator[str]:
    yield "/ by 0 is an error in Python and infinity in JavaScript."


def joined(given: list[Node]) -> Iterator[str]:
    if not all(gives_text(part) for part in given):
        yield (
            "cat of values that are no text gives another text in other languages: null, true and 0.3 are “null”,"
            " “True” and “0.3” in Python, “”, “true” and all digits in JavaScript."
        )


def loose(operator: str) -> Callable[[list[Node]], Iterator[str]]:
    def lint(given: list[Node]) -> Iterator[str]:
        if any(part == "" or isinstance(part, bool | int | float | list) for part in given):
            yield (
                f"{operator} of a number, an empty text or a list reads the other side differently in other languages:"
                f" take {operator}=."
            )

    return lint


def strict(given: list[Node]) -> Iterator[str]:
    if any(isinstance(part, list) for part in given):
        yield "=== of two equal lists holds in Python only."
    if any(is_truth_like(part) for part in given):
        yield SAME


def within(given: list[Node]) -> Iterator[str]:
    listed = given[1] if len(given) == 2 and isinstance(given[1], list) else []
    if any(is_truth_like(part) for part in [*listed, *given[:1]]):
        yield "in finds true among 1, and 1 among true, in Python only."


def missing(given: list[Node]) -> Iterator[str]:
    yield MISSING


def version(given: list[Node]) -> Iterator[str]:
    try:
        patterns.check_comparison(given)
    except Unfit:
        yield "sem_ver of what is no whole version, like 1.2-beta, is read in Python only: write 1.2.0-beta."


LINTS: dict[str, Callable[[list[Node]], Iterator[str]]] = {
    "%": remainder, "/": division, "cat": joined, "==": loose("=="), "!=": loose("!="), "===": strict, "!==": strict,
    "in": within, "missing": missing, "missing_some": missing, "sem_ver": version,
}  # fmt: skip


def of_fractional(given: list[Node], asked: set[str]) -> Iterator[str]:
    has_seed = bool(given) and not isinstance(given[0], list)
    entries = given[1:] if has_seed else given
    if has_seed and isinstance(given[0], bool | int | float):
        yield "A number as the seed of fractional is hashed by some clients and ignored by others: use text."
    if has_seed and isinstance(given[0], dict) and "cat" in given[0]:
        for name in sorted({name for part in as_list(given[0]["cat"]) if (name := name_of(part))} - asked):
            yield f"Everybody without {name} lands in one place of the split: guard it with if, {{missing: {name}}}."
    weights = [entry[1] for entry in entries if isinstance(entry, list) and len(entry) == 2]
    if any(isinstance(weight, float) for weight in weights):
        yield "A weight like 50.0 answers nobody in Python, and counts in JavaScript and Go: write 50."
    if any(not is_entry(entry) for entry in entries) or sum(w for w in weights if isinstance(w, int)) > MAX_WEIGHT:
        yield "This fractional answers nobody: each entry is a variant and a whole weight, together below 2^31."


def of_answer(answer: Node) -> Iterator[str]:
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        yield "A rule answers with text: a number reads differently in other languages."
    elif isinstance(answer, list):
        yield "A rule answers with text: a list is no answer in Python."
    elif isinstance(answer, dict) and answer and next(iter(answer)) not in (*GIVE_TEXT, *GIVE_TRUTH, "fractional"):
        yield "A computed answer must be text: a number or a list reads differently in other languages."


# What the parts are


def is_var(node: Node) -> bool:
    return isinstance(node, dict) and "var" in node


def name_of(node: Node) -> str:
    """The attribute that a `var` reads; empty if it is none."""
    return next(iter(attributes(node)), "") if is_var(node) else ""


def is_number(node: Node) -> bool:
    return isinstance(node, int | float) and not isinstance(node, bool)


def is_no_number(node: Node) -> bool:
    if not isinstance(node, str):
        return False
    try:
        float(node)
    except ValueError:
        return True
    return False


def is_truth_like(node: Node) -> bool:
    return isinstance(node, bool) or (is_number(node) and node in (0, 1))


def is_entry(entry: Node) -> bool:
    if isinstance(entry, dict):  # a computed one
        return True
    if not isinstance(entry, list) or not 1 <= len(entry) <= 2:
        return False
    return len(entry) == 1 or is_number(entry[1]) or isinstance(entry[1], dict)


def gives_text(node: Node) -> bool:
    if isinstance(node, dict) and len(node) == 1:
        ((operator, given),) = node.items()
        return operator in GIVE_TEXT or (operator == "var" and given in TEXT_ATTRIBUTES)
    return isinstance(node, str)


def truths(operator: str, given: list[Node]) -> list[Node]:
    """The arguments of which only the truth counts."""
    if operator in ("if", "?:"):
        return [part for at, part in enumerate(given) if at % 2 == 0 and at + 1 < len(given)]
    return given if operator in ("!", "and", "or") else []


def asked_for(rule: Node) -> Iterator[str]:
    """The attributes whose presence the rule asks for somewhere."""
    for node, _ in walk(rule):
        if not isinstance(node, dict) or len(node) != 1:
            continue
        ((operator, given),) = node.items()
        arguments = as_list(given)
        if operator == "missing":
            yield from (name for name in arguments if isinstance(name, str))
        elif operator == "!!" or None in [one for one in arguments if one is None]:
            yield from filter(None, map(name_of, arguments))
        else:
            yield from filter(None, map(name_of, truths(operator, arguments)))


def behind_a_guard(node: Node) -> Iterator[Node]:
    """The comparisons of an `and` whose attribute an earlier part has asked for."""
    if not isinstance(node, dict) or list(node) != ["and"]:
        return
    asked: list[Node] = []
    for part in as_list(node["and"]):
        if not isinstance(part, dict) or len(part) != 1:
            continue
        ((operator, given),) = part.items()
        arguments = as_list(given)
        if operator == "!!" or (operator in ("!=", "!==") and None in [one for one in arguments if one is None]):
            asked += [one for one in arguments if is_var(one)]
        elif operator in ORDERS and all(one in asked for one in arguments if is_var(one)):
            yield part
