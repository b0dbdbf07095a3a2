"""From evidence to verdicts: what each guardrail of a trial says at this moment.

The worst comes first. A rule is exceeded at E >= 1/alpha with a minimum of data, and warns from E >= 20. Thin, stale,
blind, skewed or muddled data are inconclusive: they hold, and never advance. A limit that the baseline breaks too is an
incident of both arms, and no reason to roll back the candidate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from apps.budgets.domain import eprocess, intervals, looks, marks, verdicts
from apps.budgets.domain.rules import ATTEMPTS, BASELINE, COST, LATENCY, LIMIT, Rule
from apps.budgets.domain.trial import Arm, RuleState, Trial
from apps.budgets.domain.verdicts import Verdict

WARNS_AT = 20.0
LOG_WARNS_AT = math.log(WARNS_AT)
LEAST_REQUESTS = 20
LEAST_BAD = 3
LOOKS_HELD = 3
MOST_UNCLEAR = 0.01
BLIND_COMPLETENESS = 0.9
BLIND_GAP = 0.1
LEAST_ASSIGNED = 100


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is true at the moment of judging, besides the evidence."""

    now: float
    share: int  # the candidate's, in ten-thousandths
    tick_seconds: float = 5.0
    blind: bool = False
    is_skewed: bool = False  # the arms are not given out in that share
    is_coarse: bool = False  # the route's latencies come in buckets that hold no marks

    def plain(self) -> dict[str, float | int | bool]:
        return asdict(self)


def is_blind(*, assigned: int, reported: int, assigned_baseline: int, reported_baseline: int) -> bool:
    """Over the last ten minutes: do services ask for the candidate while its answers are missing?"""
    if assigned < LEAST_ASSIGNED:
        return False
    completeness = reported / assigned
    of_baseline = reported_baseline / assigned_baseline if assigned_baseline >= LEAST_ASSIGNED else 1.0
    return completeness < BLIND_COMPLETENESS and completeness < of_baseline - BLIND_GAP


def is_stale(trial: Trial, circumstances: Circumstances) -> bool:
    """Nothing for three looks and a minute, or for three times the usual gap where little traffic comes."""
    if trial.at is None:
        return False
    allowed = max(3 * circumstances.tick_seconds + 60.0, 3 * trial.gap)
    return circumstances.now - trial.at > allowed


def judge(trial: Trial, circumstances: Circumstances) -> tuple[Verdict, ...]:
    """One verdict per rule, in the order of the rules."""
    doubt = _doubt(trial, circumstances)
    return tuple(
        [
            _verdict(trial, rule, state, doubt, circumstances)
            for rule, state in zip(trial.rules, trial.states, strict=True)
        ]
    )


def _doubt(trial: Trial, circumstances: Circumstances) -> str:
    """What speaks against trusting any rule of this trial."""
    if trial.unclear > MOST_UNCLEAR * (trial.unclear + trial.requests + trial.baseline_requests):
        return verdicts.RULES
    if circumstances.blind:
        return verdicts.BLIND
    if circumstances.is_skewed:
        return verdicts.RATIO
    return verdicts.STALE if is_stale(trial, circumstances) else ""


def _verdict(trial: Trial, rule: Rule, state: RuleState, doubt: str, circumstances: Circumstances) -> Verdict:
    if state.marks is None or not trial.segments:
        return _nothing_yet(trial, rule, state, circumstances)
    logs = [mixture.log_evidence for mixture in state.harm]
    log_e = eprocess.log_average(logs)
    mark = max(range(len(logs)), key=logs.__getitem__)
    warns = log_e >= LOG_WARNS_AT
    began = state.harm[mark].began_in + state.first_block if warns else 0
    candidate, baseline = trial.since(block=began, look=state.since)
    n, k, n_baseline, _ = state.totals[4 * mark : 4 * mark + 4]

    on_breach, why = rule.on_breach, ""
    thin = n < LEAST_REQUESTS or (rule.against == BASELINE and n_baseline < LEAST_REQUESTS)
    enough_to_act = n >= LEAST_REQUESTS and (k >= LEAST_BAD or rule.is_of_means)
    if log_e >= rule.log_needed and enough_to_act:
        verdict = verdicts.EXCEEDED
        if rule.kind == ATTEMPTS or (rule.against == LIMIT and not rule.is_of_means):
            why = _why_not_the_candidate(state, circumstances.share)
            on_breach = "hold" if why and rule.on_breach != "alert" else rule.on_breach
    elif warns:
        verdict = verdicts.WARNING
    elif thin or doubt:
        verdict = verdicts.INCONCLUSIVE
        why = _why_thin(rule, circumstances, candidate) if thin and doubt != verdicts.RULES else doubt
    else:
        verdict = verdicts.WITHIN

    safe_logs = [eprocess.log_mean_exp(logs) for logs in state.safe]
    safe = eprocess.odds_of(eprocess.log_average(safe_logs)) if safe_logs else 0.0
    proof = verdicts.UNDECIDED
    if log_e >= rule.log_needed:
        proof = verdicts.HARM
    elif safe >= WARNS_AT and not thin:
        proof = verdicts.SAFE
    began_at = None
    if warns and trial.started_at is not None:
        began_at = datetime.fromtimestamp(trial.started_at + began * eprocess.BLOCK_SECONDS, UTC)
    figures = _figures(rule, state.marks[mark] if state.marks else None, candidate, baseline)
    return Verdict(
        guardrail=rule.id,
        metric=rule.metric,
        against=rule.against,
        state=verdict,
        on_breach=on_breach,
        observed=figures.observed,
        limit=figures.limit,
        baseline=figures.baseline,
        low=figures.low,
        high=figures.high,
        n=figures.n,
        n_baseline=figures.n_baseline,
        k=figures.k,
        k_baseline=figures.k_baseline,
        evidence=eprocess.odds_of(log_e),
        needed=rule.needed,
        why=why,
        proof=proof,
        began_at=began_at,
        looks=trial.look,
        unit=unit_of(rule),
        quantile=state.marks[mark].quantile if rule.kind == LATENCY else None,
        at_least=figures.at_least,
        interval=figures.interval,
        safe_evidence=safe,
        requests=n,
        unpriced=candidate.unpriced if rule.kind == COST else 0,
    )


def _why_not_the_candidate(state: RuleState, share: int) -> str:
    """An absolute limit is broken. Empty: the candidate answers for it."""
    if not state.companion:  # of means: each arm has a process of its own
        return verdicts.BOTH_ARMS if looks.log_evidence(state.base) >= LOG_WARNS_AT else ""
    if looks.log_evidence(state.companion) >= LOG_WARNS_AT:
        return ""
    if share <= looks.ABOVE_75_PERCENT:
        return verdicts.BOTH_ARMS
    # Hardly any baseline is left to compare with.
    if looks.log_evidence(state.base) >= LOG_WARNS_AT:
        return verdicts.BOTH_ARMS
    return verdicts.WAITS if state.breaches <= LOOKS_HELD else ""


def _nothing_yet(trial: Trial, rule: Rule, state: RuleState, circumstances: Circumstances) -> Verdict:
    waits_for_mark = state.marks is None
    measured = trial.marking.requests if waits_for_mark and trial.marking else trial.baseline_requests
    return Verdict(
        guardrail=rule.id,
        metric=rule.metric,
        against=rule.against,
        state=verdicts.INCONCLUSIVE,
        on_breach=rule.on_breach,
        observed=None,
        limit=rule.limit,
        baseline=None,
        low=None,
        high=None,
        n=trial.requests,
        n_baseline=measured,
        k=0,
        k_baseline=0,
        evidence=1.0,
        needed=rule.needed,
        why=verdicts.NO_MARK if waits_for_mark and trial.segments else _why_thin(rule, circumstances),
        proof=verdicts.UNDECIDED,
        began_at=None,
        looks=trial.look,
        unit=unit_of(rule),
    )


def _why_thin(rule: Rule, circumstances: Circumstances, candidate: Arm | None = None) -> str:
    """Where metrics name no requests, or nobody tells their attempts, more of them would not help."""
    if rule.kind == ATTEMPTS and candidate is not None and candidate.requests >= LEAST_REQUESTS:
        return verdicts.NOT_VISIBLE
    return verdicts.COARSE if circumstances.is_coarse and rule.kind == LATENCY else verdicts.THIN


def unit_of(rule: Rule) -> str:
    return {LATENCY: "s", COST: "usd", ATTEMPTS: "attempts"}.get(rule.kind, "share")


@dataclass(frozen=True, slots=True)
class _Figures:
    observed: float | None
    limit: float | None
    baseline: float | None
    low: float | None
    high: float | None
    n: int
    k: int
    n_baseline: int
    k_baseline: int
    interval: str
    at_least: bool = False


def _figures(rule: Rule, mark: marks.Mark | None, candidate: Arm, baseline: Arm) -> _Figures:
    if rule.kind == COST:
        return _cost_figures(rule, mark, candidate, baseline)
    if rule.kind == ATTEMPTS:
        return _attempts_figures(rule, candidate, baseline)
    assert mark is not None
    n, k = looks.counted(rule, candidate, mark.edge)
    n_baseline, k_baseline = looks.counted(rule, baseline, mark.baseline_edge)
    if rule.kind == LATENCY:
        return _latency_figures(rule, mark, candidate, baseline, (n, k, n_baseline, k_baseline))
    low, high = intervals.anytime_rate(n, k) if n else (None, None)
    observed = k / n if n else None
    rate = k_baseline / n_baseline if n_baseline else None
    limit = rule.limit
    if rule.against == BASELINE:
        limit = None if rate is None else _with_odds(rate, rule.odds)
    if rule.higher_is_better:  # bad ones were counted; people read the good ones
        observed, rate, limit = _flip(observed), _flip(rate), _flip(limit)
        low, high = _flip(high), _flip(low)
    return _Figures(observed, limit, rate, low, high, n, k, n_baseline, k_baseline, intervals.ANYTIME)


def _latency_figures(rule: Rule, mark: marks.Mark, candidate: Arm, baseline: Arm, counts: Sequence[int]) -> _Figures:
    n, k, n_baseline, k_baseline = counts
    found = intervals.rank_value(candidate.latency, candidate.errors, mark.quantile)
    of_baseline = intervals.rank_value(baseline.latency, baseline.errors, mark.quantile)
    low = high = None
    if n:
        ranks = intervals.quantile_ranks(mark.quantile, n)
        ends = [intervals.rank_value(candidate.latency, candidate.errors, rank) for rank in ranks]
        low = ends[0][0] if ends[0] else None
        high = ends[1][0] if ends[1] and not ends[1][1] else None  # open above where it lies among failed requests
    return _Figures(
        observed=found[0] if found else None,
        limit=mark.value,
        baseline=of_baseline[0] if of_baseline else (mark.baseline_value if rule.against == BASELINE else None),
        low=low,
        high=high,
        n=n,
        k=k,
        n_baseline=n_baseline,
        k_baseline=k_baseline,
        interval=intervals.ANYTIME_QUANTILE,
        at_least=bool(found and found[1]),
    )


def _cost_figures(rule: Rule, mark: marks.Mark | None, candidate: Arm, baseline: Arm) -> _Figures:
    mean, of_baseline = candidate.mean_cost, baseline.mean_cost
    low, high = intervals.normal_mean(candidate.cost, mean) if mean is not None else (None, None)
    if high is not None and math.isinf(high):
        low, high = None, None
    if rule.against == BASELINE:
        assert mark is not None
        n, k = looks.counted(rule, candidate, mark.edge)
        n_baseline, k_baseline = looks.counted(rule, baseline, mark.baseline_edge)
        limit = None if of_baseline is None else of_baseline * (1.0 + rule.tolerance)
    else:
        n, k, n_baseline, k_baseline, limit = candidate.cost.count, 0, baseline.cost.count, 0, rule.bound
    return _Figures(mean, limit, of_baseline, low, high, n, k, n_baseline, k_baseline, intervals.NORMAL)


def _attempts_figures(rule: Rule, candidate: Arm, baseline: Arm) -> _Figures:
    return _Figures(
        observed=candidate.mean_attempts,
        limit=rule.bound,
        baseline=baseline.mean_attempts,
        low=None,
        high=None,
        n=candidate.tries[0],
        k=0,
        n_baseline=baseline.tries[0],
        k_baseline=0,
        interval="",
    )


def _with_odds(rate: float, odds: float) -> float:
    return odds * rate / (1.0 + rate * (odds - 1.0))


def _flip(rate: float | None) -> float | None:
    return None if rate is None else 1.0 - rate
