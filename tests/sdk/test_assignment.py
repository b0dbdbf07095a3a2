"""Which part of a flag answered: what guardrails compare is only what a split assigned."""

from __future__ import annotations

from typing import Any

import pytest

from changeover import Snapshot

SPLIT = {"fractional": [["new", 1]]}
BETA = {"==": [{"var": "plan"}, "beta"]}


def assigned(rule: Any, context: dict[str, Any] | None = None, **flag: Any) -> tuple[str | None, str | None]:
    definition = {
        "state": "ENABLED",
        "variants": {"new": 1, "old": 2, "true": 3},
        "defaultVariant": "old",
        "targeting": rule,
        **flag,
    }
    snapshot = Snapshot.from_flagd({"flags": {"f": definition}})
    answer = snapshot.evaluate("f", {"targetingKey": "r-1", "plan": "beta", **(context or {})})
    return answer.variant, answer.assigned_by


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (None, ("old", "default")),
        ({}, ("old", "default")),
        (SPLIT, ("new", "split")),
        ({"if": [BETA, "new", SPLIT]}, ("new", "rule")),
        ({"if": [{"!": BETA}, "old", SPLIT]}, ("new", "split")),
        ({"if": [False, "new"]}, ("old", "default")),
        ({"if": [BETA, {"if": [BETA, SPLIT]}]}, ("new", "split")),
        ({"or": [None, SPLIT]}, ("new", "split")),
        ({"or": [SPLIT, "old"]}, ("new", "split")),
        ({"and": [BETA, "new"]}, ("new", "rule")),
        ({"cat": ["", SPLIT]}, ("new", "split")),
        ({"fractional": [[SPLIT, 1]]}, ("new", "split")),
        ({"fractional": [[{"if": [BETA, "new"]}, 1]]}, ("new", "split")),
        (BETA, ("true", "rule")),
    ],
)
def test_the_part_that_answered_is_told(rule, expected):
    assert assigned(rule) == expected


@pytest.mark.parametrize("entries", [[[None, 1]], [[None, {"+": [1, 0]}]]])
def test_a_split_that_names_null_assigned_the_default_variant(entries):
    assert assigned({"fractional": entries}) == ("old", "split")


def test_a_split_without_a_subject_assigned_nothing():
    assert assigned(SPLIT, {"targetingKey": ""}) == ("old", "default")


def test_a_condition_that_is_a_split_makes_its_branches_one():
    by_chance = {"fractional": [[True, 1], [False, 0]]}

    assert assigned({"if": [by_chance, "new", "old"]}) == ("new", "split")
    assert assigned({"if": [{"!": by_chance}, "new", "old"]}) == ("old", "split")
    assert assigned({"if": [{"!": by_chance}, "old", BETA, "new", "old"]}) == ("new", "rule")


def test_a_flag_on_fallback_says_so_whatever_answers():
    switched = {"metadata": {"switch": "fallback"}}

    assert assigned(None, **switched) == ("old", "fallback")
    assert assigned(SPLIT, **switched) == ("new", "fallback")


def test_what_has_no_variant_was_assigned_by_nobody():
    assert assigned(SPLIT, state="DISABLED") == (None, None)
    assert assigned("broken") == (None, None)
    assert assigned({"if": [False, "new"]}, defaultVariant=None) == (None, None)
    assert assigned({"if": [True, "nothing"]}) == (None, None)
