"""What the lint tells of a rule: each case in which JavaScript's core was seen to answer otherwise than Python's."""

import pytest

from apps.flags.domain import conditions, lint, rules, targeting
from apps.flags.domain.conditions import OPERATORS, Condition, Group
from apps.flags.domain.rules import Rule

X = {"var": "x"}


@pytest.mark.parametrize(
    ("condition", "word"),
    [
        (X, "empty object"),
        ({"!": [X]}, "empty object"),
        ({"===": [X, True]}, "takes 1 for true"),
        ({"===": [X, 1]}, "takes 1 for true"),
        ({"!==": [X, 0]}, "takes 1 for true"),
        ({"===": [[1], X]}, "two equal lists"),
        ({"==": ["", X]}, "take ==="),
        ({"==": [X, 5]}, "take ==="),
        ({"!=": [X, True]}, "take !=="),
        ({"<": ["abc", 1]}, "error in JavaScript"),
        ({">=": [X, 0]}, "missing attribute passes"),
        ({"<": [1, X, 5]}, "missing attribute passes"),
        ({"in": [X, [True]]}, "finds true among 1"),
        ({"in": [X, [1, 2]]}, "finds true among 1"),
        ({"in": [True, X]}, "finds true among 1"),
        ({"missing": ["x"]}, "empty text as missing"),
        ({"missing_some": [1, ["x"]]}, "empty text as missing"),
        ({"==": [{"cat": ["a", True]}, "aTrue"]}, "cat of values"),
        ({"==": [{"cat": ["a", X]}, "ab"]}, "cat of values"),
        ({"==": [{"cat": [{"+": [0.1, 0.2]}]}, "0.3"]}, "cat of values"),
        ({"===": [{"%": [X, 3]}, 2]}, "sign of the divisor"),
        ({"===": [{"/": [X, 3]}, 2]}, "by 0"),
        ({"===": [{"+": ["x"]}, 2]}, "no number"),
        ({"===": [{"max": []}, 2]}, "no number"),
        ({"sem_ver": ["1.2-beta", "<", X]}, "1.2.0-beta"),
    ],
)
def test_a_condition_that_another_language_reads_differently_is_told(condition, word):
    assert [sentence for sentence in lint.warnings({"if": [condition, "a", "b"]}) if word in sentence]


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        (X, "computed answer"),
        ({"merge": ["a", "b"]}, "computed answer"),
        ({"if": [{"!!": [X]}, 1, "b"]}, "a number reads differently"),
        ({"fractional": [7, ["a", 50], ["b", 50]]}, "seed of fractional"),
        ({"fractional": [{"cat": ["salt", {"var": "targetingKey"}]}, ["a", 50], ["b", 50]]}, "without targetingKey"),
        ({"fractional": [["a", 50.0], ["b", 50.0]]}, "write 50"),
        ({"fractional": [["a", "50"], ["b", 50]]}, "answers nobody"),
        ({"fractional": [["a", 1, 2]]}, "answers nobody"),
        ({"fractional": [["a", 2**31], ["b", 1]]}, "answers nobody"),
    ],
)
def test_an_answer_that_another_language_gives_differently_is_told(rule, word):
    assert [sentence for sentence in lint.warnings(rule) if word in sentence]


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"if": [{"==": [X, "beta"]}, "a"]},
        {"if": [{"===": [X, 5]}, "a"]},
        {"if": [{"and": [{"!!": [X]}, {">=": [X, 0]}]}, "a"]},
        {"if": [{"and": [{"!==": [X, None]}, {"<": [X, 5]}]}, "a"]},
        {"if": [{"in": [X, ["beta", 5]]}, "a", "b"]},
        {"if": [{"sem_ver": [X, "^", "1.2.0-beta"]}, "a", "b"]},
        {"if": [{"starts_with": [X, "inv-"]}, {"fractional": [["a", 1], ["b"]]}]},
        {"fractional": [{"var": "mail"}, ["a", {"+": [1, 2]}], ["b", 1]]},
    ],
)
def test_what_all_languages_read_alike_is_told_nothing_of(rule):
    assert lint.warnings(rule) == []


def test_a_split_by_an_attribute_is_guarded_and_one_without_is_not():
    guarded = targeting.split((("a", 5000), ("b", 5000)), key="k", salt="s", unit="tenant")
    (_, _, bare) = guarded["if"]

    assert not any("without tenant" in sentence for sentence in lint.warnings(guarded))
    assert any("without tenant" in sentence for sentence in lint.warnings(bare))


@pytest.mark.parametrize("name", OPERATORS)
def test_no_readable_condition_is_written_in_a_form_that_is_told_of(name):
    operator = OPERATORS[name]
    value = {"number": 5, "version": "1.2.0", "pattern": "^inv-"}.get(operator.kind, "beta")
    group = Group("all", (Condition("x", name, () if operator.takes == "none" else (value,)),))

    logic = rules.write([Rule("Rule", group, "a")], {}, key="k", salt="k")

    assert lint.warnings(logic) == []
    assert lint.warnings({"if": [conditions.write(group, {}), "a"]}, by_hand=False) == []
