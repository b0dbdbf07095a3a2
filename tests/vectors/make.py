"""Writes the vectors of this folder: `python -m tests.vectors.make`.

The expected answers come from others than our evaluator: hashes from mmh3 and cbor2, operators from
openfeature-flagd-core. A client in any language can run the files; README.md says how.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cbor2
import mmh3

from tests.sdk import flagd_core

HERE = Path(__file__).parent
FLAG = "invoice-extraction"
SUBJECTS = [*(f"user-{n}" for n in (1, 2, 3, 4, 5, 17, 42, 177, 974)), "zoë", "😀", "x" * 24, "y" * 300]
SPLITS = {
    "10/90": [["cand", 10], ["base", 90]],
    "1/99": [["cand", 1], ["base", 99]],
    "0.01/99.99": [["cand", 1], ["base", 9999]],
    "10/20/70": [["a", 10], ["b", 20], ["c", 70]],
    "segments": [["a", 10], ["b", 20], ["a", 20], ["c", 50]],
    "no weights": [["a"], ["b"]],
    "a zero": [["a", 0], ["b", 1], ["c", 0]],
}


def arm(bucketing: str, data: bytes, entries: list[list[Any]]) -> str:
    weights = [entry[1] if len(entry) == 2 else 1 for entry in entries]
    total, end = sum(weights), 0.0
    for (name, *_), weight in zip(entries, weights, strict=True):
        if bucketing == "v1":
            end += weight * 100 / total
            inside = abs(mmh3.hash(data)) / (2**31 - 1) * 100 < end
        else:
            end += weight
            inside = (mmh3.hash(data, signed=False) * total) >> 32 < end
        if inside:
            return str(name)
    raise AssertionError("no arm")


def bucketing() -> dict[str, Any]:
    rows = []
    for subject in SUBJECTS:
        told = {
            "v1": (FLAG + subject).encode(),
            "v2": (FLAG + subject).encode(),
            "v3": cbor2.dumps([FLAG, subject], canonical=True),
        }
        rows.append(
            {
                "targetingKey": subject,
                **{
                    version: {
                        "hash": mmh3.hash(data, signed=version == "v1"),
                        "arms": {name: arm(version, data, split) for name, split in SPLITS.items()},
                    }
                    for version, data in told.items()
                },
            }
        )
    texts = ["", "a", "ab", "abc", "abcd", "hello", "Hello, world!", "ë", "日本", "😀"]
    seeds = [7, 7.0, -1, 1.5, 57.2, True, False, "7", "", {"b": 1, "a": 2.0}, 2**63, 1e20, -0.0, "salt-1"]
    return {
        "flagKey": FLAG,
        "splits": SPLITS,
        "subjects": rows,
        "murmur3_32": [{"text": text, "hash": mmh3.hash(text.encode(), signed=False)} for text in texts],
        "v3_seeds": [{"seed": seed, **seed_of(seed)} for seed in seeds],
    }


def seed_of(seed: Any) -> dict[str, Any]:
    data = cbor2.dumps(whole(seed), canonical=True)
    return {"cbor": data.hex(), "hash": mmh3.hash(data, signed=False)}


def whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**63 else value


VARIANTS = {"yes": "Y", "no": "N", "true": "T", "false": "F", "1": "one", "null": "nil", "1.5": "x"}
EMPTY: dict[str, Any] = {}
ALICE = {"targetingKey": "alice", "plan": "gold", "age": 30, "tags": ["a", "b"], "user": {"name": "zoë"}, "zero": 0}


def var(name: Any, *default: Any) -> dict[str, Any]:
    return {"var": [name, *default]} if default else {"var": name}


def test(condition: Any) -> dict[str, Any]:
    return {"if": [condition, "yes", "no"]}


RULES: list[tuple[str, Any, dict[str, Any]]] = [
    ("if without else, false", {"if": [False, "yes"]}, EMPTY),
    ("if chain", {"if": [False, "yes", {"==": [var("plan"), "gold"]}, "no", "yes"]}, ALICE),
    ("if with one argument", {"if": ["yes"]}, EMPTY),
    ("?: is if", {"?:": [True, "yes", "no"]}, EMPTY),
    ("true is the variant true", {"==": [1, 1]}, EMPTY),
    ("false is the variant false", {"==": [1, 2]}, EMPTY),
    ("a whole number", {"+": [1, 0]}, EMPTY),
    ("a float that is whole is no variant 1", var("n"), {"n": 1.0}),
    ("null is the default", {"if": [True, None]}, EMPTY),
    ("the empty text is no variant", {"if": [True, ""]}, EMPTY),
    ("what is no variant is an error", {"if": [True, "zzz"]}, EMPTY),
    ("an unknown operator that is reached", {"nope": [1]}, EMPTY),
    ("an unknown operator in a dead branch", {"if": [True, "yes", {"nope": [1]}]}, EMPTY),
    ("two keys are no operation", {"if": [True, "yes"], "or": []}, EMPTY),
    ("and: the first false value", {"and": ["yes", "", "no"]}, EMPTY),
    ("and: the last value", {"and": [True, "yes"]}, EMPTY),
    ("or: the first true value", {"or": ["", 0, "yes"]}, EMPTY),
    ("or: the last value", {"or": ["", None]}, EMPTY),
    ("text 0 is true", test("0"), EMPTY),
    ("an empty list is false", test({"merge": []}), EMPTY),
    ("an empty object is true", test(var("o")), {"o": {}}),
    ("== number and text", test({"==": [var("n"), "1"]}), {"n": 1}),
    ("== empty text and 0", test({"==": ["", 0]}), EMPTY),
    ("== null and 0", test({"==": [None, 0]}), EMPTY),
    ("== one-item list and number", test({"==": [[1], 1]}), EMPTY),
    ("== list and text", test({"==": [var("tags"), "a,b"]}), ALICE),
    ("== missing and text", test({"==": [var("nothing"), "x"]}), EMPTY),
    ("=== 1 and 1.0", test({"===": [1, 1.0]}), EMPTY),
    ("=== 1 and true", test({"===": [1, True]}), EMPTY),
    ("!= true and text", test({"!=": [True, "1"]}), EMPTY),
    ("< texts by code point", test({"<": ["10", "9"]}), EMPTY),
    ("a missing attribute passes >= 0", test({">=": [var("nothing"), 0]}), EMPTY),
    ("> text that is no number", test({">": ["abc", 0]}), EMPTY),
    ("between", test({"<": [18, var("age"), 65]}), ALICE),
    ("between with >=", test({">=": [65, var("age"), 30]}), ALICE),
    ("in a list", test({"in": [var("plan"), ["gold", "beta"]]}), ALICE),
    ("in: number in texts", test({"in": [1, ["1"]]}), EMPTY),
    ("in: true in numbers", test({"in": [True, [1]]}), EMPTY),
    ("in a text", test({"in": ["ol", var("plan")]}), ALICE),
    ("in: missing needle is the text null", test({"in": [var("nothing"), "is null"]}), EMPTY),
    ("in nothing", test({"in": ["a", var("nothing")]}), EMPTY),
    ("var: default for missing", var("nothing", "yes"), EMPTY),
    ("var: default for null", var("n", "yes"), {"n": None}),
    ("var: path", test({"==": [var("user.name"), "zoë"]}), ALICE),
    ("var: list index", test({"==": [var("tags.1"), "b"]}), ALICE),
    ("var: leading zero is no index", test(var("tags.01")), ALICE),
    ("var: length", test({"==": [var("tags.length"), 2]}), ALICE),
    ("var: a literal dot is not reachable", test(var("a.b")), {"a.b": 1}),
    ("var: computed path", test({"==": [var({"cat": ["pl", "an"]}), "gold"]}), ALICE),
    ("flagKey", test({"==": [var("$flagd.flagKey"), "f"]}), EMPTY),
    ("an attribute $flagd is overwritten", test({"==": [var("$flagd.flagKey"), "f"]}), {"$flagd": {"flagKey": "x"}}),
    ("missing", test({"missing": ["plan", "nothing"]}), ALICE),
    ("missing: the empty text is missing", test({"missing": ["a"]}), {"a": ""}),
    ("missing_some", test({"missing_some": [1, ["plan", "nothing"]]}), ALICE),
    ("cat: null", test({"==": [{"cat": ["x", None]}, "xnull"]}), EMPTY),
    ("cat: true", test({"==": [{"cat": [True]}, "True"]}), EMPTY),
    ("cat: floats", test({"==": [{"cat": [{"+": [0.1, 0.2]}]}, "0.3"]}), EMPTY),
    ("cat: a whole float", test({"==": [{"cat": [1.0]}, "1"]}), EMPTY),
    ("%: the divisor's sign", test({"==": [{"%": [-1, 3]}, 2]}), EMPTY),
    ("- with one argument", test({"==": [{"-": [5]}, -5]}), EMPTY),
    ("/ by zero", {"/": [1, 0]}, EMPTY),
    ("min of nothing is false", test({"min": []}), EMPTY),
    ("max", test({"==": [{"max": [1, "7", 3]}, 7]}), EMPTY),
    ("all of an empty list", test({"all": [[], True]}), EMPTY),
    ("some of an empty list", test({"some": [[], True]}), EMPTY),
    ("none of a missing list", test({"none": [var("nothing"), True]}), EMPTY),
    ("some sees the element only", test({"some": [var("tags"), {"==": [var("plan"), "gold"]}]}), ALICE),
    ("some", test({"some": [var("tags"), {"==": [var(""), "b"]}]}), ALICE),
    ("map and in", test({"in": [4, {"map": [[1, 2], {"*": [var(""), 2]}]}]}), EMPTY),
    ("filter", test({"filter": [var("tags"), {"==": [var(""), "z"]}]}), ALICE),
    ("reduce", test({"==": [{"reduce": [[1, 2, 3], {"+": [var("current"), var("accumulator")]}, 0]}, 6]}), EMPTY),
    ("substr from the end", test({"==": [{"substr": ["beta-2", -2]}, "-2"]}), EMPTY),
    ("substr cut from the end", test({"==": [{"substr": ["😀ab", 0, -1]}, "😀a"]}), EMPTY),
    ("starts_with", test({"starts_with": [var("plan"), "go"]}), ALICE),
    ("starts_with of a number is null", {"starts_with": [var("age"), "3"]}, ALICE),
    ("ends_with the empty text", test({"ends_with": [var("plan"), ""]}), ALICE),
    *((f"sem_ver {a} {op} {b}", {"sem_ver": [a, op, b]}, EMPTY) for a, op, b in [
        ("1.2.3", "=", "v1.2.3"), ("1.2", "=", "1.2.0"), ("1", "<", "1.0.1"), (1.1, "=", "1.1.0"),
        ("1.0.0-beta", "<", "1.0.0"), ("1.0.0-beta.2", "<", "1.0.0-beta.11"), ("1.0.0-1", "<", "1.0.0-a"),
        ("1.0.0+one", "=", "1.0.0+two"), ("1.1.0", "^", "1.2.0"), ("0.1.0", "^", "0.2.0"), ("1.2.9", "~", "1.2.0"),
        ("1.3.0", "~", "1.2.0"), ("1.2-beta", "<", "1.2"), ("01.2.3", "=", "1.2.3"), ("2.0.0.0", "=", "2.0.0"),
        ("x", "=", "x"), ("1.0.0", "==", "1.0.0"),
    ]),
    ("fractional: no targeting key", {"fractional": [["yes", 1], ["no", 1]]}, EMPTY),
    ("fractional: empty targeting key", {"fractional": [["yes", 1], ["no", 1]]}, {"targetingKey": ""}),
    ("fractional: one entry", {"fractional": [["yes", 1]]}, ALICE),
    ("fractional: a float weight", {"fractional": [["yes", 50.0], ["no", 50]]}, ALICE),
    ("fractional: a boolean weight", {"fractional": [["yes", True], ["no", 50]]}, ALICE),
    ("fractional: a negative weight", {"fractional": [["yes", -5], ["no", 50]]}, ALICE),
    ("fractional: all weights zero", {"fractional": [["yes", 0], ["no", 0]]}, ALICE),
    ("fractional: weights too large", {"fractional": [["yes", 2**31 - 1], ["no", 1]]}, ALICE),
    ("fractional: three items", {"fractional": [["yes", 1, 2], ["no", 1]]}, ALICE),
    ("fractional: no entries", {"fractional": []}, ALICE),
    ("fractional: an arm that is null", {"fractional": [[None, 1]]}, ALICE),
    ("fractional: an arm that is boolean", {"fractional": [[True, 1]]}, ALICE),
    ("fractional: an arm that is no variant", {"fractional": [["zzz", 1]]}, ALICE),
    ("fractional: nested", {"fractional": [[{"fractional": [["yes", 1]]}, 1]]}, ALICE),
    ("fractional: computed weight", {"fractional": [["yes", {"+": [0, 0]}], ["no", 1]]}, ALICE),
    ("fractional: seed by var", {"fractional": [var("plan"), ["yes", 50], ["no", 50]]}, ALICE),
    ("fractional: seed by cat", {"fractional": [{"cat": ["s", var("targetingKey")]}, ["yes", 50], ["no", 50]]}, ALICE),
    ("fractional: seed missing", {"fractional": [var("nothing"), ["yes", 50], ["no", 50]]}, ALICE),
    ("fractional: seed is a list", {"fractional": [var("tags"), ["yes", 50], ["no", 50]]}, ALICE),
]  # fmt: skip


def operators() -> dict[str, Any]:
    cases = []
    for default in ("no", None):
        for name, rule, context in RULES:
            flag = {"state": "ENABLED", "variants": VARIANTS, "defaultVariant": default, "targeting": rule}
            document = json.loads(json.dumps({"flags": {"f": flag}}))
            value, variant, reason, error = flagd_core.ask(flagd_core.load(document), "f", context)
            answer = {"error": error} if error else {"value": value, "variant": variant, "reason": reason}
            if default is not None or reason == "DEFAULT":
                cases.append(
                    {"name": name, "rule": rule, "default": default, "context": context, "answer": answer},
                )
    return {"flagKey": "f", "variants": VARIANTS, "cases": cases}


def main() -> None:
    for name, made in (("bucketing", bucketing()), ("operators", operators())):
        text = json.dumps(made, indent=1, ensure_ascii=False, sort_keys=False)
        (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
