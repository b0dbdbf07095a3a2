"""From what telemetry hands over to what a look saw: who is candidate, who is baseline, and who counts at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from apps.budgets.domain.looks import Seen
from apps.budgets.domain.trial import Arm, Trial
from apps.telemetry.queries import Increment, OutcomeIncrement, Unread

SHADOW = "shadow"
SPLIT = "split"
DEFAULT = "default"
UNKNOWN = "unknown"


@dataclass(slots=True)
class News:
    """Everything new of one trial."""

    increments: list[Increment] = field(default_factory=list)
    outcomes: list[OutcomeIncrement] = field(default_factory=list)


def by_trial(unread: Unread) -> dict[str, News]:
    found: dict[str, News] = {}
    for increment in unread.increments:
        found.setdefault(increment.trial, News()).increments.append(increment)
    for outcome in unread.outcomes:
        found.setdefault(outcome.trial, News()).outcomes.append(outcome)
    found.pop("", None)
    return found


def seen(trial: Trial, news: News) -> Seen:
    """Requests of the split are judged under the variant that the flag chose; shadow ones under the one that answered.

    Default requests of the baseline only help to freeze marks, except beside a shadow: then they are what the shadow is
    compared with.
    """
    look = Seen()
    defaults: dict[Any, Arm] = {}
    shadows: set[Any] = set()
    judged = {trial.candidate, trial.baseline}
    for increment in news.increments:
        if increment.assigned not in judged:
            continue
        if increment.arm == SHADOW:
            if increment.assigned == trial.candidate:
                shadows.add(increment.split)
                look.split(increment.split).candidate.add(_arm(increment))
        elif increment.assigned_by == SPLIT:
            split = look.split(increment.split)
            (split.candidate if increment.assigned == trial.candidate else split.baseline).add(_arm(increment))
        elif increment.assigned_by == DEFAULT and increment.assigned == trial.baseline:
            defaults.setdefault(increment.split, Arm()).add(_arm(increment))
        elif increment.assigned_by == UNKNOWN:
            look.unclear += increment.requests
    for key, arm in defaults.items():
        if key in shadows:
            look.split(key).baseline.add(arm)
        else:
            look.marking = look.marking or Arm()
            look.marking.add(arm)
    _add_outcomes(trial, look, news.outcomes, shadows)
    return look


def _add_outcomes(trial: Trial, look: Seen, outcomes: Iterable[OutcomeIncrement], shadows: set[Any]) -> None:
    for outcome in outcomes:
        is_shadow = outcome.arm == SHADOW
        counts = is_shadow or outcome.assigned_by == SPLIT
        counts = counts or (outcome.assigned_by == DEFAULT and outcome.split in shadows)
        if not counts:
            continue
        if outcome.assigned == trial.candidate:
            arm = look.split(outcome.split).candidate
        elif outcome.assigned == trial.baseline and not is_shadow:
            arm = look.split(outcome.split).baseline
        else:
            continue
        arm.add_outcome(outcome.name, outcome.k + outcome.zeros, outcome.k)


def _arm(increment: Increment) -> Arm:
    untold = increment.unfinal + increment.unnamed  # counted with one attempt, and nobody knows better
    return Arm(
        increment.requests,
        increment.errors,
        increment.unpriced,
        increment.cost_nano,
        increment.latency.copy(),
        increment.cost.copy(),
        tries=(increment.requests - untold, increment.attempts - untold),
    )
