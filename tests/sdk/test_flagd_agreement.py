"""Our evaluator answers what flagd's own Python core answers, to any rule and any context.

Three evaluators must agree: rules as generated Python, as closures, and the plain interpreter that flagd's core uses
(for the older bucketings with a `fractional` written down once more, in fractional_by_the_book).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mmh3
import pytest
import time_machine
from json_logic import jsonLogic
from openfeature.contrib.tools.flagd.core.targeting.targeting import OPERATORS

from changeover import Snapshot
from changeover.flag import Compiled, Flag
from changeover.rules.answering import RuleCompiler
from changeover.rules.answers import Answers

from .chance import VARIANTS, Chance
from .flagd_core import ask, load
from .older_core import CONTEXTS, NOW, cases

HERE = Path(__file__).parent
PAIRS = int(os.environ.get("CHANGEOVER_PAIRS", "100000"))  # asked of flagd's cores
FEWER = PAIRS // 25  # asked of our own three evaluators


@pytest.fixture
def seed() -> str:
    return os.environ.get("CHANGEOVER_SEED", "2511")


def told(answer: Any) -> str:
    return repr((answer.value, answer.variant, answer.reason, answer.error_code))


@time_machine.travel(NOW, tick=False)
def test_random_rules_are_answered_as_flagd_answers_them(seed):
    differences = []

    for number in range(PAIRS // CONTEXTS):
        chance = Chance(f"{seed}/{number}")
        document = json.loads(json.dumps({"flags": {"f": chance.flag()}}))
        core, snapshot = load(document), Snapshot.from_flagd(document)
        for context in [chance.context() for _ in range(CONTEXTS)]:
            ours, theirs = told(snapshot.evaluate("f", context)), repr(ask(core, "f", context))
            if ours != theirs:
                differences.append((document["flags"]["f"], context, ours, theirs))

    assert not differences, f"seed {seed}: {len(differences)} differ, the first: {differences[0]}"


@pytest.fixture(scope="session")
def older_core(pytestconfig: pytest.Config) -> Path:
    """The folder of `openfeature-flagd-core` 1.0.0; installed once, skipped where no index can be reached."""
    folder = pytestconfig.cache.mkdir("flagd-core-1.0.0")
    if not (folder / "openfeature").exists():
        options = ["install", "-q", "--no-deps", "--require-hashes", "--retries", "2", "--timeout", "10"]
        command = [sys.executable, "-m", "pip", *options, "--target", str(folder), "-r", str(HERE / "older-core.txt")]
        try:  # well within the two minutes that a test has
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=90)
        except subprocess.SubprocessError as fault:
            words = str(getattr(fault, "stderr", None) or fault).strip()[-200:]
            pytest.skip(f"flagd's older core cannot be installed: {words}")
    return folder


@time_machine.travel(NOW, tick=False)
def test_random_rules_are_answered_as_flagds_older_core_answers_them(seed, older_core):
    """v2: flagd's daemon, and every language but the newest Python, hash so."""
    paths = os.pathsep.join([str(older_core), str(HERE.parents[1]), str(HERE.parents[1] / "sdk")])
    command = [sys.executable, "-m", "tests.sdk.older_core", seed, str(PAIRS)]
    env = os.environ | {"PYTHONPATH": paths}
    with subprocess.Popen(command, cwd=HERE.parents[1], env=env, stdout=subprocess.PIPE, text=True) as theirs:
        lines = (line.rstrip("\n") for line in theirs.stdout)
        differences = []
        for flag, contexts in cases(seed, PAIRS):
            definition = json.loads(json.dumps({**flag, "metadata": {"bucketing": "v2"}}))
            snapshot = Snapshot.from_flagd({"flags": {"f": definition}})
            for context in contexts:
                ours, other = told(snapshot.evaluate("f", context)), next(lines)
                if ours != other:
                    differences.append((flag, context, ours, other))

    assert theirs.returncode == 0
    assert not differences, f"seed {seed}: {len(differences)} differ, the first: {differences[0]}"


@pytest.mark.parametrize("bucketing", ["v1", "v2", "v3"])
def test_closures_answer_as_generated_python_does(seed, bucketing):
    differences = []

    for number in range(FEWER // CONTEXTS // 3):
        chance = Chance(f"{seed}/{bucketing}/{number}")
        definition = json.loads(json.dumps({**chance.flag(), "state": "ENABLED", "metadata": {"bucketing": bucketing}}))
        generated = Snapshot.from_flagd({"flags": {"f": definition}}).flags["f"]
        closures = as_closures(definition, bucketing)
        for context in [chance.context() for _ in range(CONTEXTS)]:
            one, other = generated.evaluate(context, NOW), closures.evaluate(context, NOW)
            if (told(one), one.assigned_by) != (told(other), other.assigned_by):
                differences.append((definition, context, one, other))

    assert not differences, f"seed {seed}: {len(differences)} differ, the first: {differences[0]}"


@pytest.mark.parametrize("bucketing", ["v1", "v2"])
def test_the_older_bucketings_answer_as_the_plain_interpreter_does(seed, bucketing):
    differences = []

    for number in range(FEWER // CONTEXTS // 2):
        chance = Chance(f"{seed}/plain/{bucketing}/{number}")
        rule = json.loads(json.dumps(chance.targeting()))
        definition = {"state": "ENABLED", "variants": VARIANTS, "targeting": rule, "metadata": {"bucketing": bucketing}}
        flag = Snapshot.from_flagd({"flags": {"f": definition}}).flags["f"]
        for context in [chance.context() for _ in range(CONTEXTS)]:
            ours, plain = flag.evaluate(context, NOW), interpreted(rule, context, bucketing)
            if (ours.variant, ours.error_code) != plain:
                differences.append((rule, context, ours, plain))

    assert not differences, f"seed {seed}: {len(differences)} differ, the first: {differences[0]}"


def as_closures(definition: dict[str, Any], bucketing: str) -> Flag:
    answers = Answers(variants=definition["variants"], default=definition.get("defaultVariant"), is_on_fallback=False)
    compiler = RuleCompiler(flag_key="f", bucketing=bucketing, salt="f", answers=answers)
    rule = compiler.answer(definition["targeting"])
    compiled = Compiled(b"", {}, answers.all, rule, compiler.needs_data, compiler.time_dependent)
    return Flag("f", compiled, definition["metadata"])


def interpreted(rule: Any, context: dict[str, Any], bucketing: str) -> tuple[str | None, str | None]:
    """The variant, or None for the caller's default, and the error code."""
    data = {name: value for name, value in context.items() if name != "targetingKey"}
    data |= {"$flagd": {"flagKey": "f", "timestamp": NOW}, "targetingKey": context.get("targetingKey")}

    def fractional(data: Any, *args: Any) -> Any:
        return fractional_by_the_book(bucketing, data, *args)

    try:
        found = jsonLogic(rule, data, {**OPERATORS, "fractional": fractional})
    except ReferenceError:
        return None, "PARSE_ERROR"
    except Exception:
        return None, "GENERAL"
    if found is None:
        return None, None
    variant = str(found).lower() if isinstance(found, bool) else str(found)
    return (variant, None) if variant in VARIANTS else (None, "GENERAL")


def fractional_by_the_book(bucketing: str, data: Any, *args: Any) -> Any:
    if not args:
        return None
    if isinstance(args[0], str):
        seed, entries = args[0], args[1:]
    else:
        subject = data.get("targetingKey")
        if not isinstance(subject, str) or not subject:
            return None
        seed, entries = data.get("$flagd", {}).get("flagKey", "") + subject, args
    if not seed:
        return None
    weights = []
    for entry in entries:
        if not isinstance(entry, list) or not 0 < len(entry) <= 2:
            return None
        weight = entry[1] if len(entry) == 2 else 1
        if isinstance(weight, bool) or not isinstance(weight, int):
            return None
        weights.append(max(0, weight))
    total, end = sum(weights), 0.0
    if not 0 < total <= 2**31 - 1:
        return None
    for entry, weight in zip(entries, weights, strict=True):
        if bucketing == "v1":
            end += weight * 100 / total
            inside = abs(mmh3.hash(seed)) / (2**31 - 1) * 100 < end
        else:
            end += weight
            inside = (mmh3.hash(seed, signed=False) * total) >> 32 < end
        if inside:
            return entry[0]
    return None
