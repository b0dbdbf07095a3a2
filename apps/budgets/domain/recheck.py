"""Verdicts again, from what a decision stored: the numbers must come out the same, to 1e-9.

Stored are the trial at its last checkpoint, the records of the looks since, the trial at the decision, and what was
true at that moment. The records are played onto the checkpoint; the evidence that comes out is compared with the
evidence that was acted on, and the verdicts are made anew from it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.budgets.domain import judge, looks
from apps.budgets.domain.trial import Trial
from apps.budgets.domain.verdicts import Verdict

TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Rechecked:
    verdicts: tuple[Verdict, ...]
    differences: tuple[str, ...]  # one sentence for each number that came out another

    @property
    def holds(self) -> bool:
        return not self.differences


def evidence(
    *,
    checkpoint: Mapping[str, Any],
    records: list[list[Any]],
    trial: Trial,
    circumstances: judge.Circumstances,
    verdicts: tuple[Verdict, ...],
) -> dict[str, Any]:
    """What a decision stores: JSON through and through."""
    return {
        "checkpoint": dict(checkpoint),
        "looks": records,
        "trial": trial.plain(),
        "circumstances": circumstances.plain(),
        "verdicts": [verdict.as_dict() for verdict in verdicts],
    }


def recheck(stored: Mapping[str, Any]) -> Rechecked:
    replayed = Trial.from_plain(copy.deepcopy(dict(stored["checkpoint"])))
    for plain in stored["looks"]:
        record = looks.Record.from_plain(list(plain))
        looks.apply(replayed, record)
        replayed.look = record.look
    kept = Trial.from_plain(copy.deepcopy(dict(stored["trial"])))
    differences = _different_evidence(replayed, kept)
    # The sums of both arms are stored at the decision; the evidence is the one just recomputed.
    kept.states = replayed.states
    made = judge.judge(kept, judge.Circumstances(**stored["circumstances"]))
    for verdict, was in zip(made, stored["verdicts"], strict=True):
        differences += _different_verdict(verdict, was)
    return Rechecked(made, tuple(differences))


def _different_evidence(replayed: Trial, kept: Trial) -> list[str]:
    if replayed.look != kept.look:
        return [f"Look {kept.look} was decided on, but the stored looks end at {replayed.look}."]
    found = []
    for rule, mine, theirs in zip(kept.rules, replayed.states, kept.states, strict=True):
        if mine.totals != theirs.totals:
            found.append(f"{rule.metric}: counts {mine.totals} instead of {theirs.totals}.")
        for a, b in zip(mine.mixtures(), theirs.mixtures(), strict=True):
            if any(not close(x, y) for x, y in zip(a.logs, b.logs, strict=True)):
                found.append(f"{rule.metric}: log evidence {a.logs} instead of {b.logs}.")
    return found


def _different_verdict(verdict: Verdict, was: Mapping[str, Any]) -> list[str]:
    is_now = verdict.as_dict()
    return [
        f"{verdict.metric}: {name} is {value}, was {was.get(name)}."
        for name, value in is_now.items()
        if not close(value, was.get(name))
    ]


def close(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, (int, float)):
        return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(a == b)
