"""The vectors that clients in every language run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from changeover import Snapshot, cbor
from changeover.murmur3 import murmur3_32, pure_murmur3_32
from changeover.rules.bucketing import seed_hash

VECTORS = Path(__file__).parents[1] / "vectors"
BUCKETING = json.loads((VECTORS / "bucketing.json").read_text(encoding="utf-8"))
OPERATORS = json.loads((VECTORS / "operators.json").read_text(encoding="utf-8"))

# What the specification of the three bucketings prints, typed by hand: subject → (v2 hash, v3 hash).
PRINTED = {
    "user-1": (2176130741, 1273857328),
    "user-2": (98754561, 2138967265),
    "user-42": (2070827628, 74355421),
    "user-974": (403845, 2074704356),
    "zoë": (2438623300, 824122523),
}


def flag(rule: Any, variants: dict[str, Any], default: str | None = None, **metadata: str) -> dict[str, Any]:
    return {
        "state": "ENABLED",
        "variants": variants,
        "defaultVariant": default,
        "targeting": rule,
        "metadata": metadata,
    }


@pytest.mark.parametrize("row", BUCKETING["murmur3_32"], ids=lambda row: repr(row["text"]))
def test_murmur3_hashes_text(row):
    assert pure_murmur3_32(row["text"].encode()) == row["hash"]
    assert murmur3_32(row["text"].encode()) == row["hash"]


@pytest.mark.parametrize("row", BUCKETING["v3_seeds"], ids=lambda row: repr(row["seed"]))
def test_seeds_have_their_canonical_form(row):
    assert cbor.encode(row["seed"]).hex() == row["cbor"]
    assert seed_hash("v3", row["seed"]) == row["hash"]


@pytest.mark.parametrize("bucketing", ["v1", "v2", "v3"])
@pytest.mark.parametrize("split", BUCKETING["splits"])
def test_every_subject_is_in_its_arm(bucketing, split):
    entries = BUCKETING["splits"][split]
    key = BUCKETING["flagKey"]
    rule = {"fractional": entries}
    document = {"flags": {key: flag(rule, {entry[0]: entry[0] for entry in entries}, bucketing=bucketing)}}
    snapshot = Snapshot.from_flagd(document)

    for row in BUCKETING["subjects"]:
        answer = snapshot.evaluate(key, {"targetingKey": row["targetingKey"]})
        assert answer.value == row[bucketing]["arms"][split], row["targetingKey"]


def test_the_hashes_are_those_that_the_specification_prints():
    rows = {row["targetingKey"]: row for row in BUCKETING["subjects"]}

    assert {subject: (rows[subject]["v2"]["hash"], rows[subject]["v3"]["hash"]) for subject in PRINTED} == PRINTED


@pytest.mark.parametrize("case", OPERATORS["cases"], ids=lambda case: f"{case['name']}, default {case['default']}")
def test_an_operator_answers_as_flagd_does(case):
    document = {"flags": {"f": flag(case["rule"], OPERATORS["variants"], case["default"])}}

    answer = Snapshot.from_flagd(document).evaluate("f", case["context"])

    if "error" in case["answer"]:
        assert answer.error_code == case["answer"]["error"]
    else:
        assert {"value": answer.value, "variant": answer.variant, "reason": answer.reason} == case["answer"]
