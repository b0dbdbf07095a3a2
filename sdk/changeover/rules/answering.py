"""A whole rule as one function: context and second in, number of the answer out.

Where a rule chooses (if, and, or) it is followed down to the part that answers, so that each answer says what assigned
it: a split, if it came through a `fractional` or if the condition that picked it holds one; else a rule.
"""

from __future__ import annotations

from typing import Any

from changeover.rules.answers import Answers
from changeover.rules.closures import Compiler, Value
from changeover.rules.operators import to_bool
from changeover.rules.tree import holds_fractional, is_literal, operation


class RuleCompiler(Compiler):
    def __init__(self, *, flag_key: str, bucketing: str, salt: str, answers: Answers) -> None:
        super().__init__(flag_key=flag_key, bucketing=bucketing, salt=salt)
        self.answers = answers

    def answer(self, node: Any, is_split: bool = False) -> Value:
        """The function that answers the number; `is_split`: the condition that led here holds a split."""
        if is_literal(node):
            number = self.answers.fixed(node, is_split=is_split)
            return lambda data, now: number
        name, args = operation(node) or ("", [])
        if name in ("if", "?:"):
            return self.answer_of_if(args, is_split)
        if name in ("and", "or") and args:
            return self.answer_of_either(name, args, is_split)
        if name == "fractional":
            return self.split(
                args,
                True,
                fixed=lambda arm: self.answers.fixed(arm, is_split=True),
                found=lambda arm: self.answers.found(arm, is_split=True),
            )
        return self.looked_up(node, is_split)

    def looked_up(self, node: Any, is_split: bool) -> Value:
        value, found = self.value(node), self.answers.found
        is_split = is_split or holds_fractional(node)
        return lambda data, now: found(value(data, now), is_split=is_split)

    def answer_of_if(self, args: list[Any], is_split: bool) -> Value:
        branches = []
        for at in range(0, len(args) - 1, 2):
            is_split = holds_fractional(args[at])
            branches.append((self.truth(args[at], True), self.answer(args[at + 1], is_split)))
        otherwise = self.answer(args[-1] if len(args) % 2 else None, is_split)

        def choose(data: Any, now: Any) -> Any:
            for condition, answer in branches:
                if condition(data, now):
                    return answer(data, now)
            return otherwise(data, now)

        return choose

    def answer_of_either(self, name: str, args: list[Any], is_split: bool) -> Value:
        wanted, found = name == "or", self.answers.found
        *early, last = args
        values = [(self.value(arg), is_split or holds_fractional(arg)) for arg in early]
        otherwise = self.answer(last, is_split)

        def choose(data: Any, now: Any) -> Any:
            for value, by_split in values:
                current = value(data, now)
                if to_bool(current) is wanted:
                    return found(current, is_split=by_split)
            return otherwise(data, now)

        return choose
