"""Trials and looks for tests, in plain values."""

from __future__ import annotations

from typing import Any

from apps.budgets.domain import judge, looks, rules
from apps.budgets.domain.looks import Seen
from apps.budgets.domain.rules import Rule
from apps.budgets.domain.trial import Arm, Trial
from apps.budgets.domain.verdicts import Verdict
from apps.telemetry.domain.histogram import Histogram

START = 1_795_000_000.0


def make_rule(metric: str = "error_rate", *, alpha: float = 0.002, **spec: Any) -> Rule:
    fields, faults = rules.parse({"metric": metric, **spec})
    assert not faults, faults
    return Rule(id=f"g-{metric}", alpha=alpha, **fields)


def make_arm(
    requests: int = 0,
    *,
    errors: int = 0,
    seconds: float | list[float] = 0.4,
    usd: float | list[float] | None = 0.001,
    unpriced: int = 0,
    outcomes: dict[str, list[int]] | None = None,
) -> Arm:
    answered = [seconds] * (requests - errors) if isinstance(seconds, float) else seconds
    costs = [usd] * requests if isinstance(usd, float) else (usd or [])
    return Arm(
        requests,
        errors,
        unpriced,
        round(sum(costs) * 1e9),
        Histogram.of(answered),
        Histogram.of(costs),
        outcomes,
    )


HISTORY = make_arm(2000, seconds=[0.2 + i / 2000 for i in range(2000)], usd=0.001)


def make_trial(*some: Rule, history: Arm | None = None) -> Trial:
    trial = Trial(candidate="new", baseline="old", rules=some)
    looks.begin(trial, now=START, started_at=START, history=history)
    return trial


def look(
    trial: Trial,
    candidate: Arm | None = None,
    baseline: Arm | None = None,
    *,
    at: float | None = None,
    share: int = 1000,
    split: int = 7,
    unclear: int = 0,
) -> looks.Record:
    seen = Seen(unclear=unclear)
    here = seen.split(split)
    here.candidate, here.baseline = candidate or Arm(), baseline or Arm()
    now = at if at is not None else (trial.at or START) + 5
    record = looks.reduce(trial, seen, now=now, share=share)
    looks.apply(trial, record)
    looks.freeze_what_can_be(trial, seen)
    return record


def verdict_of(trial: Trial, *, share: int = 1000, now: float | None = None, blind: bool = False) -> Verdict:
    circumstances = judge.Circumstances(now=now or trial.at or START, share=share, blind=blind)
    (verdict,) = judge.judge(trial, circumstances)
    return verdict
