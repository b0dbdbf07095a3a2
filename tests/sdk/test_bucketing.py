"""Who is in which arm, and who moves when shares change."""

from __future__ import annotations

import itertools
from typing import Any

import cbor2
import mmh3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from changeover import Snapshot, cbor
from changeover.murmur3 import pure_murmur3_32
from changeover.rules.bucketing import VERSIONS, edges

SUBJECTS = [f"request-{n}" for n in range(400)]
ARMS = ("base", "a", "b")

scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text() | st.floats(allow_nan=True)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


def snapshot(entries: list[Any], *, key: str = "f", **metadata: str) -> Snapshot:
    flag = {
        "state": "ENABLED",
        "variants": {name: name for name in ARMS},
        "defaultVariant": "base",
        "targeting": {"fractional": entries},
        "metadata": metadata,
    }
    return Snapshot.from_flagd({"flags": {key: flag}})


def arms(entries: list[Any], *, key: str = "f", **metadata: str) -> list[str | None]:
    flags = snapshot(entries, key=key, **metadata)
    return [flags.evaluate(key, {"targetingKey": subject}).variant for subject in SUBJECTS]


def shorter(value: Any) -> Any:
    """Whole floats as integers, which flagd does before it hashes."""
    if isinstance(value, dict):
        return {key: shorter(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shorter(item) for item in value]
    if isinstance(value, float) and value.is_integer() and -(2**63) <= value <= 2**64 - 1:
        return int(value)
    return value


@given(st.binary(max_size=200))
def test_pure_murmur3_is_that_of_the_library(data):
    assert pure_murmur3_32(data) == mmh3.hash(data, signed=False)


@given(values)
def test_canonical_cbor_is_that_of_the_library(value):
    try:
        expected = cbor2.dumps(shorter(value), canonical=True)
    except UnicodeEncodeError:
        with pytest.raises(ValueError):
            cbor.encode(value)
    else:
        assert cbor.encode(value) == expected


@st.composite
def growths(draw: st.DrawFn) -> list[list[list[Any]]]:
    """A split in steps of 0.01 %, then the same after each of some growths that cut a new segment from the baseline."""
    segments: list[list[Any]] = []
    left, steps = 10_000, []
    for _ in range(draw(st.integers(2, 6))):
        arm, cut = draw(st.sampled_from(ARMS[1:])), draw(st.integers(1, max(1, left // 2)))
        segments = [*segments, [arm, cut]]
        left -= cut
        steps.append([*segments, ["base", left]])
    return steps


@pytest.mark.parametrize("bucketing", VERSIONS)
@given(steps=growths())
@settings(max_examples=25, deadline=None)
def test_growing_a_share_moves_nobody_but_from_the_baseline(bucketing, steps):
    told = [arms(step, bucketing=bucketing) for step in steps]

    for before, after in itertools.pairwise(told):
        moved = {(old, new) for old, new in zip(before, after, strict=True) if old != new}
        assert all(old == "base" for old, _ in moved)
        assert len({new for _, new in moved}) <= 1


@pytest.mark.parametrize("bucketing", ["v2", "v3"])
@given(weights=st.lists(st.integers(0, 10_000), min_size=1, max_size=5).filter(any), h=st.integers(0, 2**32 - 1))
def test_an_edge_stands_exactly_where_the_bucket_turns(bucketing, weights, h):
    total = sum(weights)
    running = [sum(weights[: at + 1]) for at in range(len(weights))]

    by_bucket = next(at for at, end in enumerate(running) if (h * total) >> 32 < end)

    assert next(at for at, edge in enumerate(edges(weights, bucketing)) if h < edge) == by_bucket


@given(weights=st.lists(st.integers(0, 10_000), min_size=1, max_size=5).filter(any), h=st.integers(0, 2**31))
def test_an_edge_of_the_first_bucketing_stands_exactly_where_its_ratio_turns(weights, h):
    total, end, by_ratio = sum(weights), 0.0, None
    for at, weight in enumerate(weights):
        end += weight * 100 / total
        if h / (2**31 - 1) * 100 < end:
            by_ratio = at
            break

    assert next((at for at, edge in enumerate(edges(weights, "v1")) if h < edge), None) == by_ratio


def test_a_denominator_that_is_a_multiple_changes_nothing():
    assert arms([["a", 10], ["base", 90]]) == arms([["a", 1000], ["base", 9000]])


@pytest.mark.parametrize("bucketing", VERSIONS)
def test_a_renamed_flag_that_keeps_its_salt_moves_nobody(bucketing):
    split = [["a", 30], ["base", 70]]

    assert arms(split, key="new-name", salt="f", bucketing=bucketing) == arms(split, key="f", bucketing=bucketing)
    assert arms(split, key="new-name", bucketing=bucketing) != arms(split, key="f", bucketing=bucketing)


def test_in_v2_the_spelled_out_seed_is_the_shorthand():
    seed = {"cat": [{"var": "$flagd.flagKey"}, {"var": "targetingKey"}]}
    split = [["a", 30], ["base", 70]]

    assert arms([seed, *split], bucketing="v2") == arms(split, bucketing="v2")
    assert arms([seed, *split], bucketing="v3") != arms(split, bucketing="v3")


def test_the_pin_of_the_flag_set_holds_where_the_flag_has_none():
    flag = {"state": "ENABLED", "variants": {"a": 1, "base": 2}, "targeting": {"fractional": [["a", 40], ["base", 60]]}}
    pinned = Snapshot.from_flagd({"metadata": {"bucketing": "v2"}, "flags": {"f": flag}})

    told = [pinned.evaluate("f", {"targetingKey": subject}).variant for subject in SUBJECTS]

    assert told == arms([["a", 40], ["base", 60]], bucketing="v2")


def test_an_unknown_pin_breaks_the_flag_rather_than_move_its_subjects():
    answer = snapshot([["a", 1]], bucketing="v9").evaluate("f", {"targetingKey": "x"})

    assert answer.error_code == "PARSE_ERROR"


@pytest.mark.parametrize("subject", [None, "", 7, True, "\ud800"])
def test_what_is_no_subject_gets_the_default(subject):
    answer = snapshot([["a", 1]]).evaluate("f", {"targetingKey": subject})

    assert (answer.variant, answer.reason, answer.assigned_by) == ("base", "DEFAULT", "default")
