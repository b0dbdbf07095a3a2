"""One look: everything that was committed since the last one.

First `reduce` turns the look's requests into a record of counts, one row per rule and split: a call that began under
the old share never meets the new one. Then `apply` adds the record to the evidence. The record is all that `apply`
needs, so it is what is stored, and what a recheck plays again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from apps.budgets.domain import eprocess, marks
from apps.budgets.domain.rules import ATTEMPTS, BASELINE, COST, ERRORS, LATENCY, LIMIT, OUTCOME, Rule
from apps.budgets.domain.trial import Arm, RuleState, Trial
from apps.telemetry.domain import histogram

ABOVE_75_PERCENT = 7500
LONGEST_USUAL_GAP = 3600.0

Row = list[int]  # per mark: n and k of the candidate, n and k of the baseline


@dataclass(slots=True)
class Split:
    """What one split brought in one look."""

    candidate: Arm = field(default_factory=Arm)
    baseline: Arm = field(default_factory=Arm)


@dataclass(slots=True)
class Seen:
    """What one look brought for one trial. `marking`: baseline requests that only serve to freeze marks."""

    splits: dict[Any, Split] = field(default_factory=dict)
    marking: Arm | None = None
    unclear: int = 0

    def split(self, key: Any) -> Split:
        found = self.splits.get(key)
        if found is None:
            found = self.splits[key] = Split()
        return found


@dataclass(slots=True)
class Record:
    """A look as it is stored. `counts` has one entry per rule: rows by split, or the sums of a rule of means."""

    look: int
    at: float
    block: int
    share: int
    counts: list[Any]

    def plain(self) -> list[Any]:
        return [self.look, self.at, self.block, self.share, self.counts]

    @classmethod
    def from_plain(cls, plain: list[Any]) -> Record:
        return cls(*plain)


def begin(trial: Trial, *, now: float, started_at: float, history: Arm | None) -> None:
    """Before the first look: the moment from which blocks count, and the marks that history can give."""
    trial.started_at = started_at
    trial.stage_at = started_at
    for rule, state in zip(trial.rules, trial.states, strict=True):
        found = marks_without_baseline(rule)
        if found is None and history is not None and history.requests >= marks.LEAST_BASELINE_REQUESTS:
            found = marks_from(rule, history)
        if found is not None:
            state.freeze(rule, found, since=1, block=0)
    if any(state.marks is None for state in trial.states):
        trial.marking = Arm()


def needs_history(rules: Iterable[Rule]) -> bool:
    return any(marks_without_baseline(rule) is None for rule in rules)


def marks_without_baseline(rule: Rule) -> tuple[marks.Mark, ...] | None:
    """The marks that are known from the rule itself; () where the rule counts without marks."""
    if rule.kind == LATENCY:
        if rule.against == BASELINE:
            return None
        assert rule.limit is not None
        return (marks.at_limit(rule.quantiles[0], rule.limit),)
    if rule.kind in (COST, ATTEMPTS):
        return () if rule.is_of_means else None
    rate = rule.limit if rule.against == LIMIT and rule.limit is not None else 0.0
    return (marks.Mark(quantile=1.0 - rate, edge=0, baseline_edge=0),)


def marks_from(rule: Rule, history: Arm) -> tuple[marks.Mark, ...] | None:
    if rule.kind == COST:
        mean = history.mean_cost
        return marks.at_cost(mean, tolerance=rule.tolerance) if mean else None
    return tuple(
        marks.from_baseline(quantile, history.latency, history.errors, tolerance=rule.tolerance)
        for quantile in rule.quantiles
    )


def reduce(trial: Trial, seen: Seen, *, now: float, share: int) -> Record:
    """Adds the look's requests to the sums of both arms, and counts them against the marks."""
    assert trial.started_at is not None
    trial.look += 1
    if trial.at is not None:
        usual = min(now - trial.at, LONGEST_USUAL_GAP)
        trial.gap = usual if trial.gap == 0 else 0.8 * trial.gap + 0.2 * usual
    trial.at = now
    trial.block = max(trial.block, int((now - trial.started_at) // eprocess.BLOCK_SECONDS))
    trial.unclear += seen.unclear

    _note_zeros(trial, seen)
    counts: list[Any] = []
    for rule, state in zip(trial.rules, trial.states, strict=True):
        unjudged = rule.kind == OUTCOME and rule.outcome not in trial.with_zeros
        if state.marks is None or state.since > trial.look or unjudged:
            counts.append([])
        elif rule.kind == ATTEMPTS:
            counts.append(_attempts_sums(rule, seen.splits.values()))
        elif rule.is_of_means:
            counts.append(_cost_sums(rule, seen.splits.values()))
        else:
            counts.append([row for split in seen.splits.values() if any(row := _row(rule, state, split))])

    segment = trial.segment_for(trial.look)
    for split in seen.splits.values():
        segment.candidate.add(split.candidate)
        segment.baseline.add(split.baseline)
        trial.stage_requests[0] += split.candidate.requests
        trial.stage_requests[1] += split.baseline.requests
    return Record(trial.look, now, trial.block, share, counts)


def _note_zeros(trial: Trial, seen: Seen) -> None:
    """An outcome of which only ones are ever reported has no rate: it is judged from its first 0 on."""
    for split in seen.splits.values():
        for arm in (split.candidate, split.baseline):
            for name, (n, ones) in arm.outcomes.items():
                if n > ones and name not in trial.with_zeros:
                    trial.with_zeros.append(name)


def freeze_what_can_be(trial: Trial, seen: Seen) -> bool:
    """After a look: marks that waited for the baseline's first 2,000 requests. They judge from the next look on."""
    if trial.marking is None:
        return False
    for split in seen.splits.values():
        trial.marking.add(split.baseline)
    if seen.marking is not None:
        trial.marking.add(seen.marking)
    if trial.marking.requests < marks.LEAST_BASELINE_REQUESTS:
        return False
    frozen = False
    for rule, state in zip(trial.rules, trial.states, strict=True):
        if state.marks is None and (found := marks_from(rule, trial.marking)):
            state.freeze(rule, found, since=trial.look + 1, block=trial.block)
            frozen = True
    if all(state.marks is not None for state in trial.states):
        trial.marking = None
    return frozen


def apply(trial: Trial, record: Record) -> None:
    """Adds a stored look to the evidence."""
    for rule, state, rows in zip(trial.rules, trial.states, record.counts, strict=True):
        if state.marks is None or state.since > record.look:
            continue
        block = record.block - state.first_block
        for mixture in state.harm:
            mixture.enter(block)
        for mixture in state.companion:
            mixture.enter(block)
        for mixture in state.base:
            mixture.enter(block)
        if rule.is_of_means:
            _add_means(state, rows)
            continue
        for row in rows:
            for position, mark in enumerate(state.marks):
                _add_mark(rule, state, position, mark, row[4 * position : 4 * position + 4])
        if rule.against == LIMIT:
            breaks = record.share > ABOVE_75_PERCENT and log_evidence(state.harm) >= rule.log_needed
            state.breaches = state.breaches + 1 if breaks else 0


def log_evidence(mixtures: list[eprocess.Mixture]) -> float:
    return eprocess.log_average([mixture.log_evidence for mixture in mixtures])


def _add_means(state: RuleState, rows: list[Any]) -> None:
    """The sums of the candidate, and behind them those of the baseline where a rule wants them."""
    size = 1 + len(eprocess.LAMBDAS)
    for mixtures, total, sums in ((state.harm, 0, rows[:size]), (state.base, 2, rows[size:])):
        if sums and sums[0]:
            mixtures[0].add(sums[1:])
            state.totals[total] += sums[0]


def _add_mark(rule: Rule, state: RuleState, position: int, mark: marks.Mark, counts: Row) -> None:
    n, k, n_baseline, k_baseline = counts
    totals = state.totals
    base = 4 * position
    totals[base] += n
    totals[base + 1] += k
    totals[base + 2] += n_baseline
    totals[base + 3] += k_baseline
    if rule.against == BASELINE:
        steps = eprocess.two_sample(n, k, n_baseline, k_baseline, odds=rule.odds)
        safe = eprocess.safe_two_sample(n, k, n_baseline, k_baseline, odds=rule.odds)
    else:
        steps = eprocess.one_sample(n, k, rate=mark.rate)
        safe = eprocess.safe_one_sample(n, k, rate=mark.rate)
        against_baseline = eprocess.two_sample(n, k, n_baseline, k_baseline)
        if against_baseline is not None:
            state.companion[position].add(against_baseline)
        of_baseline = eprocess.one_sample(n_baseline, k_baseline, rate=mark.rate)
        if of_baseline is not None:
            state.base[position].add(of_baseline)
    if steps is not None:
        state.harm[position].add(steps)
    if safe is not None:
        state.safe[position] = [value + step for value, step in zip(state.safe[position], safe, strict=True)]


def _row(rule: Rule, state: RuleState, split: Split) -> Row:
    assert state.marks is not None
    row: Row = []
    for mark in state.marks:
        row += counted(rule, split.candidate, mark.edge)
        row += counted(rule, split.baseline, mark.baseline_edge)
    return row


def counted(rule: Rule, arm: Arm, edge: int) -> tuple[int, int]:
    """Requests of that arm, and how many of them are bad in the eyes of the rule."""
    kind = rule.kind
    if kind == ERRORS:
        return arm.requests, arm.errors
    if kind == LATENCY:
        return arm.requests, arm.errors + arm.latency.count_above(edge)
    if kind == COST:
        return arm.cost.count, arm.cost.count_above(edge)
    n, ones = arm.outcomes.get(rule.outcome, (0, 0))
    return n, n - ones if rule.higher_is_better else ones


def _cost_sums(rule: Rule, splits: Iterable[Split]) -> list[Any]:
    """How many priced requests of the candidate, then the seven sums, each request at the lower edge of its cell."""
    cells: dict[int, int] = {}
    zero = 0
    for split in splits:
        zero += split.candidate.cost.zero
        for index, n in split.candidate.cost.cells.items():
            cells[index] = cells.get(index, 0) + n
    priced = zero + sum(cells.values())
    if not priced:
        return []
    sums = [0.0] * len(eprocess.LAMBDAS)
    bound = rule.bound
    for index in sorted(cells):
        n = cells[index]
        sums = [total + n * factor for total, factor in zip(sums, cell_factors(index, bound), strict=True)]
    if zero:
        nothing = eprocess.cost_factors(0.0, bound)
        sums = [total + zero * factor for total, factor in zip(sums, nothing, strict=True)]
    return [priced, *sums]


def _attempts_sums(rule: Rule, splits: Iterable[Split]) -> list[Any]:
    """Of both arms: of how many requests all attempts are known, and the seven sums."""
    looked = list(splits)
    rows: list[Any] = []
    for arms in ([split.candidate for split in looked], [split.baseline for split in looked]):
        known, tried = sum(arm.tries[0] for arm in arms), sum(arm.tries[1] for arm in arms)
        rows += [known, *(eprocess.attempts(known, tried, bound=rule.bound) or [0.0] * len(eprocess.LAMBDAS))]
    return rows if rows[0] or rows[1 + len(eprocess.LAMBDAS)] else []


_cache: dict[tuple[int, float], tuple[float, ...]] = {}


def cell_factors(index: int, bound: float) -> tuple[float, ...]:
    """What one request in that cell adds to the sums: at its lower edge, so that less is read, never more."""
    key = (index, bound)
    found = _cache.get(key)
    if found is None:
        if len(_cache) > 100_000:
            _cache.clear()
        # The lowest cell also holds what was clamped up into it, so its lower edge is 0.
        cost = histogram.lower_edge(index) if index > histogram.LOWEST else 0.0
        found = _cache[key] = eprocess.cost_factors(cost, bound)
    return found
