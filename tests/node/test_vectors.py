"""The vectors, asked of flagd's JavaScript core: what it answers otherwise stands in javascript.json, and only that."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.node import runs

pytestmark = pytest.mark.slow
VECTORS = Path(__file__).parents[1] / "vectors"
OPERATORS, BUCKETING, JAVASCRIPT = (
    json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    for name in ("operators", "bucketing", "javascript")
)
KEY = BUCKETING["flagKey"]


def flag(variants: dict[str, Any], default: str | None, rule: Any) -> dict[str, Any]:
    return {"state": "ENABLED", "variants": variants, "defaultVariant": default, "targeting": rule}


def answers(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    command = ["node", "vectors.mjs", json.dumps({"cases": cases})]
    done = subprocess.run(command, cwd=runs.installed(), capture_output=True, text=True, check=True)
    return next(json.loads(line)["answers"] for line in done.stdout.splitlines() if line.startswith('{"answers"'))


def test_operators_answer_the_same_but_for_those_that_are_listed():
    cases = [
        {"key": "f", "flag": flag(OPERATORS["variants"], case["default"], case["rule"]), "context": case["context"]}
        for case in OPERATORS["cases"]
    ]

    told = answers(cases)

    differing = {
        case["name"] for case, answer in zip(OPERATORS["cases"], told, strict=True) if answer != case["answer"]
    }
    assert differing == set(JAVASCRIPT["operators"])


def test_subjects_are_in_the_arms_of_v2_but_for_those_that_are_listed():
    asked = [(name, row) for name in BUCKETING["splits"] for row in BUCKETING["subjects"]]
    cases = []
    for name, row in asked:
        entries = BUCKETING["splits"][name]
        arms = {entry[0]: entry[0] for entry in entries}
        subject = {"targetingKey": row["targetingKey"]}
        cases.append({"key": KEY, "flag": flag(arms, None, {"fractional": entries}), "context": subject})

    told = answers(cases)

    differing = {
        row["targetingKey"]
        for (name, row), answer in zip(asked, told, strict=True)
        if answer["value"] != row["v2"]["arms"][name]
    }
    assert differing == set(JAVASCRIPT["subjects"])
