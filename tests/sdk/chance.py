"""Rules and contexts made by chance, odd ones included: the food of the differential tests."""

from __future__ import annotations

import random
from typing import Any

VARIANTS = {"a": "A", "b": "B", "true": "T", "false": "F", "1": "one", "null": "N", "1.5": "x", "c": "C", "0": "zero"}
NAMES = ["plan", "age", "n", "tags", "user", "user.name", "user.tags.0", "tags.1", "tags.length", "plan.0", "nothing"]
FLAGD = ["$flagd.flagKey", "$flagd", "$flagd.nothing", "$flagd.timestamp", "targetingKey"]
TEXTS = [
    "a",
    "b",
    "c",
    "beta",
    "",
    "1",
    "1.5",
    "abc",
    "zoë",
    "😀x",
    "true",
    "null",
    " 7 ",
    "inf",
    "1_0",
    "nan",
    "10",
    "9",
]
NUMBERS: list[Any] = [0, 1, -1, 2, 7, 100, 1.0, 1.5, -0.0, 0.1, 1e20, 2**53, 2**64, -(2**70), 3.999]
VERSIONS: list[Any] = [
    "1.2.3",
    "v1.2",
    "1",
    "2.0.0-beta.1",
    "1.2.3-alpha.2",
    "1.2.3+build",
    "01.2.3",
    "1.1",
    1.1,
    1,
    "x",
]
LAZY = ["map", "filter", "reduce", "all", "some", "none"]
EAGER = ["+", "-", "*", "/", "%", "min", "max", "cat", "merge", "substr", "in", "missing", "missing_some", "!", "!!"]
ORDER = ["==", "!=", "===", "!==", "<", "<=", ">", ">="]
TEXTUAL = ["starts_with", "ends_with", "sem_ver"]


class Chance:
    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)

    def one(self, items: Any) -> Any:
        return self.random.choice(items)

    def scalar(self) -> Any:
        kind = self.random.random()
        if kind < 0.5:
            return self.one(TEXTS)
        if kind < 0.8:
            return self.one(NUMBERS)
        return self.one([True, False, None])

    def literal(self, depth: int) -> Any:
        kind = self.random.random()
        if kind < 0.75 or depth <= 0:
            return self.scalar()
        if kind < 0.95:
            return [self.scalar() for _ in range(self.random.randrange(4))]
        return self.one([{}, {"a": 1, "b": 2}, [[]], [{}], [None]])

    def name(self, inner: bool) -> Any:
        if inner and self.random.random() < 0.6:
            return self.one(["", "current", "accumulator", "name", "0", "length", 0, 1])
        if self.random.random() < 0.12:
            return self.one([*FLAGD, "", None, 0, 1.0, True, ["plan"], [], -1])
        return self.one(NAMES)

    def var(self, depth: int, inner: bool) -> Any:
        name = self.name(inner)
        if self.random.random() < 0.05:
            name = self.rule(depth - 1, inner)
        if self.random.random() < 0.2:
            return {"var": [name, self.rule(depth - 1, inner)]}
        return {"var": [name]} if self.random.random() < 0.2 else {"var": name}

    def split(self, depth: int, inner: bool) -> Any:
        entries: list[Any] = []
        for _ in range(self.random.randrange(1, 4)):
            arm = (
                self.one(["a", "b", "c", "zzz", True, None, 1])
                if self.random.random() < 0.85
                else self.rule(depth - 1, inner)
            )
            weight = (
                self.one([1, 10, 50, 90, 0, -5])
                if self.random.random() < 0.95
                else self.one([1.5, True, "1", None, 2**31])
            )
            if self.random.random() < 0.05:
                weight = self.rule(depth - 1, inner)
            entries.append([arm] if self.random.random() < 0.1 else [arm, weight])
        if self.random.random() < 0.04:
            entries.append(self.one([[], "a", ["a", 1, 2], {"merge": ["a", 10]}, {"var": "tags"}]))
        kind = self.random.random()
        if kind < 0.25:
            entries.insert(0, {"cat": ["salt", {"var": "targetingKey"}]})
        elif kind < 0.4:
            entries.insert(0, self.var(depth, inner))
        elif kind < 0.5:
            entries.insert(0, self.rule(depth - 1, inner))
        return {"fractional": entries}

    def arguments(self, least: int, most: int, depth: int, inner: bool) -> list[Any]:
        return [self.rule(depth - 1, inner) for _ in range(self.random.randint(least, most))]

    def rule(self, depth: int, inner: bool = False) -> Any:
        if depth <= 0 or self.random.random() < 0.12:
            return self.literal(depth) if self.random.random() < 0.4 else self.var(0, inner)
        kind = self.random.random()
        if kind < 0.15:
            return self.var(depth, inner)
        if kind < 0.34:
            return {self.one(["if", "if", "if", "?:"]): self.arguments(0, 5, depth, inner)}
        if kind < 0.44:
            return {self.one(["and", "or"]): self.arguments(0, 3, depth, inner)}
        if kind < 0.58:
            return {self.one(ORDER): self.arguments(1, 3, depth, inner)}
        if kind < 0.72:
            return {self.one(EAGER): self.arguments(0, 3, depth, inner)}
        if kind < 0.80:
            return self.split(depth, inner)
        if kind < 0.88:
            return self.over_list(depth, inner)
        if kind < 0.95:
            return self.text_test(depth, inner)
        if kind < 0.97:
            return {"in": [self.var(0, inner), [self.scalar() for _ in range(self.random.randrange(12))]]}
        if kind < 0.98:
            return {self.one(["nope", "a.b", "var.x", "$ref", "if.x"]): self.arguments(0, 2, depth, inner)}
        return self.one(
            [{"==": self.rule(depth - 1, inner)}, {"!": self.rule(depth - 1, inner)}, [self.rule(depth - 1, inner)]]
        )

    def over_list(self, depth: int, inner: bool) -> Any:
        items = self.one(
            [{"var": "tags"}, {"var": "user.tags"}, [1, 2, 3], ["a", "b"], [], self.rule(depth - 1, inner)]
        )
        args = [items, self.rule(depth - 1, True), self.scalar()][: self.random.choice([0, 1, 2, 2, 2, 3, 3])]
        return {self.one(LAZY): args}

    def text_test(self, depth: int, inner: bool) -> Any:
        name = self.one(TEXTUAL)
        if name == "sem_ver":
            left = self.one([{"var": "version"}, self.one(VERSIONS), self.rule(depth - 1, inner)])
            right = self.one([self.one(VERSIONS), {"var": "version"}])
            return {name: [left, self.one(["=", "!=", "<", "<=", ">", ">=", "^", "~", "?"]), right]}
        return {name: [self.one([{"var": "plan"}, self.rule(depth - 1, inner)]), self.one([*TEXTS, {"var": "n"}])]}

    def targeting(self) -> Any:
        rule: Any = None
        while type(rule) is not dict or not rule:
            rule = self.rule(self.random.randint(1, 5))
        return rule

    def context(self) -> dict[str, Any]:
        context: dict[str, Any] = {}
        for name in ("plan", "age", "n"):
            if self.random.random() < 0.8:
                context[name] = self.scalar()
        if self.random.random() < 0.7:
            context["tags"] = self.one([[], ["a"], ["a", "b"], [1, 2.0, None], [[1], {"name": "x"}], "text", ["a", 10]])
        if self.random.random() < 0.7:
            context["user"] = self.one([{"name": "zoë", "tags": ["a", "beta"]}, {}, None, "u", {"tags": [3, "1"]}])
        if self.random.random() < 0.7:
            context["version"] = self.one(VERSIONS)
        if self.random.random() < 0.9:
            context["targetingKey"] = self.one(
                [f"user-{self.random.randrange(1000)}", f"user-{self.random.randrange(9)}", "zoë", ""]
            )
        return context

    def flag(self) -> dict[str, Any]:
        flag: dict[str, Any] = {"state": "ENABLED", "variants": VARIANTS, "targeting": self.targeting()}
        default = self.one(["a", "b", "b", "", None, True, "zzz"])
        if default != "" or self.random.random() < 0.5:
            flag["defaultVariant"] = default
        if self.random.random() < 0.02:
            flag["state"] = "DISABLED"
        return flag
