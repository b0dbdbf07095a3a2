"""Rules as generated Python: nothing of a rule's text stands in the source, and nothing else gets through the check."""

from __future__ import annotations

import ast
import os
from typing import Any

import pytest

from changeover.rules import generated
from changeover.rules.answering import RuleCompiler
from changeover.rules.answers import Answers

from .chance import VARIANTS, Chance

MARK = "zzMARKzz"
MARKED: list[Any] = [
    MARK,
    {"var": MARK},
    {"var": [f"a.{MARK}", MARK]},
    {"==": [{"var": MARK}, MARK]},
    {"in": [{"var": "x"}, [MARK] * 20]},
    {"cat": [MARK, {"var": MARK}]},
    {"starts_with": [{"var": "x"}, MARK]},
    {MARK: [MARK]},
    {"fractional": [[MARK, 1]]},
    {"if": [{"!": {"var": MARK}}, {MARK: 1, "b": 2}, {"and": [{"or": [MARK, {"var": "x"}]}, MARK]}]},
]


def source_of(rule: Any) -> str:
    answers = Answers(variants=VARIANTS, default="a", is_on_fallback=False)
    generator = generated.Generator(RuleCompiler(flag_key=MARK, bucketing="v3", salt=MARK, answers=answers))
    generator.answer(rule, False, 1)
    return "\n".join(["def rule(data, now):", *generator.lines, ""])


@pytest.mark.parametrize("rule", MARKED, ids=repr)
def test_no_text_of_a_rule_stands_in_the_source(rule):
    source = source_of(rule)

    assert MARK not in source
    generated.check(ast.parse(source))


def test_no_constant_stands_in_the_source_of_any_rule():
    seed = os.environ.get("CHANGEOVER_SEED", "2511")

    for number in range(500):
        tree = ast.parse(source_of(Chance(f"{seed}/{number}").targeting()))
        generated.check(tree)
        assert {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)} <= {None}, seed


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "def rule(data, now):\n return open('x')",
        "def rule(data, now):\n return data.__class__",
        "def rule(data, now):\n return data.pop(c1)",
        "def rule(data, now):\n return 7",
        "def rule(data, now):\n return 'text'",
        "def rule(data, now):\n return __builtins__",
        "def rule(data, now):\n return [c1 for c1 in c2]",
        "def rule(data, now):\n while c1: pass",
        "def rule(data, now):\n return lambda: c1",
        "def other(data, now):\n return c1",
        "def rule(data, now, more):\n return c1",
        "def rule(data, now):\n c1.x = c2",
        "def rule(data, now):\n return f'{c1}'",
    ],
)
def test_what_the_generator_never_writes_is_refused(source):
    with pytest.raises(generated.CannotGenerate):
        generated.check(ast.parse(source))


def test_rules_of_one_shape_share_their_code():
    def compiled(plan: str) -> Any:
        answers = Answers(variants=VARIANTS, default="a", is_on_fallback=False)
        compiler = RuleCompiler(flag_key="f", bucketing="v3", salt="f", answers=answers)
        return generated.compile_rule(compiler, {"if": [{"==": [{"var": "plan"}, plan]}, "a", "b"]})

    gold, beta = compiled("gold"), compiled("beta")

    assert gold.__code__ is beta.__code__
    assert gold({"plan": "gold"}, None) != beta({"plan": "gold"}, None)
