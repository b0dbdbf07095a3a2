"""The recorded answers of flagd's Python core, case by case, where the sample data is at hand."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest

from changeover import Snapshot

SAMPLES = Path(os.environ.get("SAMPLES_DIR", Path(__file__).parents[3] / "shared" / "data")) / "flags"
CODE_DEFAULTS: dict[str, Any] = {"string": "DEF", "boolean": False, "integer": -1, "float": -1.5, "object": {"d": 1}}
SHARED_RULES = {"isA": {"==": [{"var": "plan"}, "a"]}}

pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no sample data: {SAMPLES} is absent (SAMPLES_DIR)")


def sample(name: str) -> Any:
    return json.loads((SAMPLES / name).read_text(encoding="utf-8"))


def test_every_recorded_case_is_answered_the_same():
    data = sample("semantics.json")
    different = []

    for case in data["cases"]:
        flag, expected = copy.deepcopy(case["flag"]), case["py"]
        if flag.get("variants") == "V":
            flag["variants"] = data["V"]
        snapshot = Snapshot.from_flagd({"flags": {"f": flag}, "$evaluators": SHARED_RULES})
        answer = snapshot.evaluate("f", case["context"]).as_type(case["as"])
        if "load" in expected:  # flagd's core refuses the whole file; an unknown field does not trouble us
            fits = answer.error_code == "PARSE_ERROR" or "unknown field" in case["name"]
        elif "error" in expected:
            fits = answer.error_code == expected["error"].split()[0]
        else:
            value = answer.value if answer.has_value else CODE_DEFAULTS[case["as"]]
            fits = (value, answer.variant, answer.reason) == (
                expected["value"],
                expected.get("variant"),
                expected["reason"],
            )
        if not fits:
            different.append((case["name"], answer, expected))

    assert len(data["cases"]) >= 100
    assert not different


def test_every_recorded_subject_is_in_its_arm():
    data = sample("bucketing.json")
    key, different = data["flagKey"], []

    for bucketing in ("v1", "v2", "v3"):
        for split, entries in data["splits"].items():
            flag = {
                "state": "ENABLED",
                "variants": {entry[0]: entry[0] for entry in entries},
                "targeting": {"fractional": entries},
                "metadata": {"bucketing": bucketing},
            }
            snapshot = Snapshot.from_flagd({"flags": {key: flag}})
            for row in data["keys"]:
                recorded = row[bucketing]["arms"][split]
                arm = recorded if bucketing == "v1" else recorded[1]
                answer = snapshot.evaluate(key, {"targetingKey": row["targetingKey"]})
                if answer.value != arm:
                    different.append((bucketing, split, row["targetingKey"], answer.value, arm))

    assert not different
