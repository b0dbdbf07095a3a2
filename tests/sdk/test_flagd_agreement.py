"""Our evaluator answers what flagd's own Python core answers, to any rule and any context."""

from __future__ import annotations

import json
import os
import random
from typing import Any

import time_machine

from changeover import Snapshot

from .chance import Chance
from .flagd_core import ask, load

PAIRS = int(os.environ.get("CHANGEOVER_PAIRS", "4000"))  # up to 100,000 before a release
CONTEXTS = 8
NOW = 1_764_000_000


def told(snapshot: Snapshot, key: str, context: dict[str, Any]) -> tuple[Any, ...]:
    answer = snapshot.evaluate(key, context)
    return answer.value, answer.variant, answer.reason, answer.error_code


def same(ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> bool:
    return repr(ours) == repr(theirs)


@time_machine.travel(NOW, tick=False)
def test_random_rules_are_answered_as_flagd_answers_them():
    seed = os.environ.get("CHANGEOVER_SEED") or str(random.SystemRandom().randrange(10**9))
    print(f"seed {seed}")
    differences = []

    for number in range(PAIRS // CONTEXTS):
        chance = Chance(f"{seed}/{number}")
        document = json.loads(json.dumps({"flags": {"f": chance.flag()}}))
        core, snapshot = load(document), Snapshot.from_flagd(document)
        for context in [chance.context() for _ in range(CONTEXTS)]:
            ours, theirs = told(snapshot, "f", context), ask(core, "f", context)
            if not same(ours, theirs):
                differences.append((document["flags"]["f"], context, ours, theirs))

    assert not differences, f"seed {seed}: {len(differences)} differ, the first: {differences[0]}"
