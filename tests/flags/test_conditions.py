"""Readable conditions and the JSONLogic in their place: what each means, and that nothing is lost on the way back."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.flags.domain import conditions, definition, patterns, reading, rules
from apps.flags.domain.conditions import OPERATORS, Condition, Group
from apps.flags.domain.definition import FlagParts
from apps.flags.domain.rules import Rule
from apps.flags.domain.unfit import Unfit
from changeover import Snapshot

VARIANTS = {"on": True, "off": False}


def holds(condition: dict[str, Any], context: dict[str, Any], audiences: dict[str, Group] | None = None) -> bool:
    """Through the evaluator that services use."""
    found = rules.parse([{"when": condition, "variant": "on"}])
    logic = rules.write(found, audiences or {}, key="f", salt="f")
    flag = FlagParts(key="f", variants=VARIANTS, default_variant="off", targeting=logic)
    answer = Snapshot.from_flagd({"flags": {"f": definition.definition(flag)}}).evaluate("f", context)
    assert answer.error_code is None
    return bool(answer.value)


@pytest.mark.parametrize(
    ("operator", "values", "yes", "no"),
    [
        ("is", ["beta"], "beta", "free"),
        ("is", [5], 5, "5"),
        ("is_not", ["beta"], "free", "beta"),
        ("is_not", ["beta"], None, "beta"),
        ("is_one_of", ["a", "b"], "b", "c"),
        ("is_none_of", ["a", "b"], "c", "a"),
        ("is_none_of", ["a", "b"], None, "a"),
        ("contains", ["@example."], "x@example.com", "x@other.com"),
        ("contains", ["admin"], ["user", "admin"], ["user"]),
        ("not_contains", ["x", "y"], "abc", "axc"),
        ("not_contains", ["x"], None, "x"),
        ("starts_with", ["a", "b"], "beta", "gamma"),
        ("ends_with", [".com"], "a.com", "a.org"),
        ("greater", [5], 6, 5),
        ("at_least", [0], 0, None),
        ("at_least", [0], 0, "many"),
        ("less", [5], 4.5, None),
        ("at_most", [5], 5, 5.5),
        ("version_is", ["1.4"], "1.4.0", "1.4.1"),
        ("version_above", ["1.4.0"], "1.4.1", "1.4.0-beta"),
        ("version_at_least", ["1.4.0"], "v2.0.0", "1.3.9"),
        ("version_below", ["2.0.0"], "2.0.0-rc.1", "2.0.0"),
        ("version_at_most", ["2.0.0"], "2.0.0", "soon"),
        ("version_same_major", ["1.0.0"], "1.9.9", "2.0.0"),
        ("version_same_minor", ["1.2.0"], "1.2.9", "1.3.0"),
        ("is_set", [], 0, None),
        ("is_not_set", [], None, ""),
        ("matches", ["^inv-"], "inv-1", "x-inv-1"),
        ("matches", [r"@example\.(com)$"], None, None),
        ("matches", [r"example\.com$"], "a@example.com", "a@exampleXcom"),
        ("matches", ["^(de|at|ch)$"], "at", "att"),
        ("matches", ["beta|alpha"], "x-alpha-1", "gamma"),
        ("matches", ["^pre.*"], "prefix", "a-prefix"),
    ],
)
def test_what_a_condition_means(operator, values, yes, no):
    condition = {"attribute": "a.b", "operator": operator, "values": values}
    if values == [r"@example\.(com)$"]:
        with pytest.raises(Unfit, match="know no regular expressions"):
            conditions.parse(condition)
        return

    def asked(value: Any) -> bool:
        return holds(condition, {"targetingKey": "u", **({} if value is None else {"a": {"b": value}})})

    assert (asked(yes), asked(no)) == (True, False)


def test_groups_join_and_audiences_are_written_out():
    when = {
        "all": [
            {"any": [{"attribute": "plan", "operator": "is", "values": ["beta"]}, {"audience": "staff"}]},
            {"none": [{"attribute": "country", "operator": "is", "values": ["XX"]}]},
        ]
    }
    staff = {"staff": conditions.parse_group({"attribute": "mail", "operator": "ends_with", "values": ["@x.com"]})}

    assert holds(when, {"plan": "beta"}, staff)
    assert holds(when, {"mail": "a@x.com"}, staff)
    assert not holds(when, {"mail": "a@x.com", "country": "XX"}, staff)
    assert not holds(when, {}, staff)
    assert not holds({"audience": "staff", "negated": True}, {"mail": "a@x.com"}, staff)


def test_a_rule_reads_like_a_sentence():
    (rule,) = rules.parse([
        {
            "name": "Testers",
            "when": {
                "all": [
                    {"attribute": "plan", "operator": "is_one_of", "values": ["beta", "pro"]},
                    {"any": [{"audience": "staff"}, {"attribute": "age", "operator": "at_least", "value": 18}]},
                ]
            },
            "split": {"on": 25, "off": 75},
        }
    ])  # fmt: skip

    assert rules.words(rule) == (
        "Testers: plan is one of beta, pro and (in audience staff or age is at least 18) → 25 % on, 75 % off"
    )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([{"variant": "on"}, {"variant": "off"}], "answers everybody: Rule 2 after it is never reached"),
        ([{"variant": "on", "split": {"on": 100}}], "answers with a variant, or with a split"),
        ([{"split": {"on": 50}}], "must add up to 100 %"),
        ([{"split": {"on": 33.333, "off": 66.667}}], "steps of 0.01 %"),
        ([{"when": {"attribute": "a", "operator": "nand", "values": [1]}, "variant": "on"}], "no operator nand"),
        ([{"when": {"attribute": "a", "operator": "is", "values": []}, "variant": "on"}], "it takes one value"),
        ([{"when": {"attribute": "a", "operator": "less", "values": ["x"]}, "variant": "on"}], "takes a number"),
        ([{"when": {"attribute": "v", "operator": "version_is", "values": ["01.2"]}, "variant": "on"}], "no version"),
        ([{"when": {"attribute": "v", "operator": "matches", "values": ["(a"]}, "variant": "on"}], "no regular expr"),
        ([{"when": {"attribute": "v", "operator": "matches", "values": ["a.c"]}, "variant": "on"}], "starts_with"),
        ([{"when": {"any": []}, "variant": "on"}], "says nothing"),
        ([{"when": {"if": []}, "variant": "on"}], "A condition has no if"),
        ([{"wen": {}, "variant": "on"}], "A rule has no wen"),
        ("on", "Rules are a list"),
    ],
)
def test_what_no_rule_may_be_is_refused_with_a_sentence(given, sentence):
    with pytest.raises(Unfit, match=sentence):
        rules.parse(given)


def test_conditions_of_any_depth_are_refused_not_followed():
    nested: Any = {"attribute": "a", "operator": "is_set"}
    for _ in range(5000):
        nested = {"all": [nested]}

    with pytest.raises(Unfit, match="groups deep"):
        conditions.parse(nested)


attributes = st.sampled_from(["plan", "country", "a.b", "$flagd.timestamp"])
texts = st.text("abcé-", min_size=1, max_size=4)
scalars = texts | st.integers(-5, 5) | st.booleans() | st.floats(-5, 5, allow_nan=False)
versions = st.sampled_from(["1.0.0", "v2", "1.4.0-beta.1+7"])


@st.composite
def plain_conditions(draw: st.DrawFn) -> Condition:
    name = draw(st.sampled_from(sorted(set(OPERATORS) - {"matches"})))
    operator = OPERATORS[name]
    number = st.integers(-5, 5) | st.floats(-5, 5, allow_nan=False)
    values = {"any": scalars, "text": texts, "number": number, "version": versions, "pattern": texts}[operator.kind]
    sizes = {"none": (0, 0), "one": (1, 1), "some": (1, 3)}[operator.takes]
    return Condition(draw(attributes), name, tuple(draw(st.lists(values, min_size=sizes[0], max_size=sizes[1]))))


groups = st.recursive(
    plain_conditions(),
    lambda inner: st.builds(Group, st.sampled_from(["all", "any", "none"]), st.lists(inner, min_size=1).map(tuple)),
    max_leaves=6,
).map(lambda part: part if isinstance(part, Group) else Group("all", (part,)))


def is_shallow(group: Group) -> bool:
    try:
        conditions.parse(conditions.as_dict(group))
    except Unfit:
        return False
    return True


groups = groups.filter(is_shallow)
answers = st.sampled_from(["on", "off", (("on", 2500), ("off", 7500))])


@given(st.lists(st.builds(Rule, st.just("r"), groups, answers), min_size=1, max_size=3), st.sampled_from(["f", "old"]))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_rules_survive_json_and_come_back_from_jsonlogic_to_the_same_jsonlogic(given_rules, salt):
    stored = [rules.as_dict(rule) for rule in given_rules]
    logic = rules.write(given_rules, {}, key="f", salt=salt)

    assert rules.write(rules.parse(stored), {}, key="f", salt=salt) == logic
    again = reading.read(logic, key="f", salt=salt)
    assert again is not None
    assert rules.write(again, {}, key="f", salt=salt) == logic


def test_an_or_inside_an_or_stays_two_conditions():
    both = Group("any", (Condition("a", "contains", ("x", "y")), Condition("a", "contains", ("z",))))
    logic = rules.write([Rule("r", both, "on")], {}, key="f", salt="f")

    assert reading.read(logic, key="f", salt="f") == [Rule("Rule 1", both, "on")]


@pytest.mark.parametrize(
    "logic",
    [
        {"if": [{"var": "x"}, "on"]},
        {"if": [{"==": [{"var": "x"}, 1]}, "on"]},
        {"or": ["on", "off"]},
        {"if": [True, "on", "off"]},
        {"if": [{"in": [{"var": "x"}, "text"]}, "on"]},
        {"if": [{"===": [1, 2, 3]}, "on"]},
        {"fractional": [["on", 1]]},
    ],
)
def test_what_an_expert_wrote_stays_jsonlogic(logic):
    assert reading.read(logic, key="f", salt="f") is None


@given(st.text("ab.|^$()*\\-1", max_size=8), st.text("ab-1.", max_size=6))
@settings(max_examples=500, deadline=None)
def test_a_pattern_that_is_taken_means_what_the_regular_expression_means(pattern, value):
    import re

    try:
        condition = conditions.parse({"attribute": "a", "operator": "matches", "values": [pattern]})
    except Unfit:
        return
    assert isinstance(condition, Condition)
    told = holds(conditions.as_dict(condition), {"targetingKey": "u", "a": value})
    assert told == bool(re.search(pattern, value)), patterns.simple(pattern)
