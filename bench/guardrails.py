"""Do guardrails keep their promise? Simulated rollouts of 24 hours, judged by the product's own code.

    python -m bench.guardrails [--quick] [--processes 2]

A look every 10 s (8,640 in all), 10 % of requests to the candidate, Poisson traffic that is half at the start and one
and a half at hour 12. Latencies are lognormal (sigma 0.6, baseline p95 2.15 s) and judged at a mark frozen from 2,000
requests; 1 % of requests fail; costs are the percentiles of the Azure LLM inference trace 2023 "conv" (CC-BY) at $2
and $8 per million tokens, 30 times that for 0.5 % of requests, which loop. "Incidents" are two of ten minutes a day
that hit both arms: 20 % failures, or latencies doubled. Simulated are the counts of each look; they go through
`looks.apply` and `Mixture` as they do in a tick. Seeds are fixed: the same table comes out each time.

The musts hold for alpha 1 % and tolerance 0. The second table is the shipped setting: alpha 0.2 % for each guardrail,
odds 1.25, p95 +19 %, cost +10 %.
"""

from __future__ import annotations

import argparse
import functools
import math
import multiprocessing
import random
import statistics
import sys
import time
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

from apps.budgets.domain import eprocess, judge, looks, marks, rules
from apps.budgets.domain.looks import Record
from apps.budgets.domain.rules import Rule
from apps.budgets.domain.trial import Trial
from apps.telemetry.domain import histogram
from apps.telemetry.domain.histogram import Histogram
from bench import _results as results
from bench._results import Row

LOOK_SECONDS = 10
LOOKS = 24 * 3600 // LOOK_SECONDS
LOOKS_PER_STEP = 180  # traffic changes every half hour
SHARE = 0.1
SIGMA = 0.6
MU = math.log(2.15) - 1.6448536 * SIGMA
FAILING = 0.01
LOOPING = 0.005
INCIDENT_LOOKS = 60

# Every second percentile of twice the context tokens and eight times the generated ones: in micro-USD.
TRACE = (
    310, 792, 1070, 1202, 1280, 1354, 1420, 1468, 1500, 1528, 1552, 1580, 1610, 1642, 1680, 1720, 1786, 1860, 1954,
    2124, 2266, 2626, 2998, 3612, 3916, 4228, 4602, 4996, 5118, 5174, 5222, 5260, 5296, 5330, 5366, 5402, 5440, 5480,
    5528, 5578, 5640, 5720, 5858, 6110, 6440, 7124, 8426, 8534, 8656, 8948, 28412,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One cell of the table: what goes wrong, from when on, at which traffic."""

    metric: str  # error_rate, latency_p95 or cost_per_request
    rate: int  # requests a second, of both arms
    repetitions: int
    failing: float = FAILING  # of the candidate
    slower: float = 1.0
    dearer: float = 1.0
    looping: float = LOOPING
    from_hour: int = 0
    incidents: bool = False
    alpha: float = 0.01
    tolerance: float = 0.0

    @property
    def onset(self) -> int:
        return self.from_hour * 3600 // LOOK_SECONDS


@dataclass(frozen=True, slots=True)
class Run:
    """`look`: of the decision, None where there was none. `exposed`: candidate requests from the onset to it."""

    look: int | None
    exposed: int


# --- one simulated rollout ----------------------------------------------------------------------------------------


def play(case: Case, repetition: int) -> Run:
    draw = random.Random(f"{replace(case, repetitions=0)}/{repetition}")
    trial = Trial(candidate="new", baseline="old", rules=(rule_of(case),))
    (state,) = trial.states
    state.freeze(trial.rules[0], marks_of(trial.rules[0], draw), since=1, block=0)
    needed = trial.rules[0].log_needed
    seen = costs_seen(case, draw) if case.metric == "cost_per_request" else counts_seen(case, trial, draw)
    exposed = 0
    for number, (requests, counts) in enumerate(seen):
        block = number * LOOK_SECONDS // eprocess.BLOCK_SECONDS
        looks.apply(trial, Record(number + 1, number * LOOK_SECONDS, block, round(SHARE * 10_000), [counts]))
        exposed += requests if number >= case.onset else 0
        if looks.log_evidence(state.harm) >= needed and enough(case, state.totals):
            return Run(number, exposed)
    return Run(None, exposed)


def enough(case: Case, totals: list[int]) -> bool:
    bad = case.metric == "cost_per_request" or totals[1] >= judge.LEAST_BAD
    return totals[0] >= judge.LEAST_REQUESTS and bad


def rule_of(case: Case) -> Rule:
    spec: dict[str, object] = {"metric": case.metric, "tolerance": case.tolerance}
    if case.metric == "cost_per_request":
        spec |= {"against": "plan", "limit_usd": planned_cost()}
    fields, faults = rules.parse(spec)
    assert not faults, faults
    return Rule(id="g", alpha=case.alpha, **fields)


def marks_of(rule: Rule, draw: random.Random) -> tuple[marks.Mark, ...]:
    known = looks.marks_without_baseline(rule)
    if known is not None:
        return known
    baseline = Histogram.of(draw.lognormvariate(MU, SIGMA) for _ in range(marks.LEAST_BASELINE_REQUESTS))
    return (marks.from_baseline(rule.quantiles[0], baseline, failed=0, tolerance=rule.tolerance),)


def counts_seen(case: Case, trial: Trial, draw: random.Random) -> Iterator[tuple[int, list[list[int]]]]:
    """Per look: the candidate's requests, and the row of counts. Good and bad requests are drawn apart."""
    (mark,) = trial.states[0].marks or ()
    incident_looks = incidents(draw) if case.incidents else frozenset()
    for number in range(LOOKS):
        harmed, incident = number >= case.onset, number in incident_looks
        mean = case.rate * LOOK_SECONDS * traffic(number)
        if case.metric == "error_rate":
            usual = 0.2 if incident else FAILING
            bad, bad_baseline = (case.failing if harmed and not incident else usual), usual
        else:
            slow = 2.0 if incident else 1.0
            bad = above(mark.value, slow * (case.slower if harmed else 1.0))
            bad_baseline = above(mark.baseline_value, slow)
        k = poisson(mean * SHARE * bad, draw)
        n = k + poisson(mean * SHARE * (1 - bad), draw)
        k_baseline = poisson(mean * (1 - SHARE) * bad_baseline, draw)
        n_baseline = k_baseline + poisson(mean * (1 - SHARE) * (1 - bad_baseline), draw)
        yield n, [[n, k, n_baseline, k_baseline]]


def costs_seen(case: Case, draw: random.Random) -> Iterator[tuple[int, list[float]]]:
    """Per look: the candidate's requests, and the sums over them as `looks.reduce` makes them."""
    rule = rule_of(case)
    before = population(rule.bound, 1.0, LOOPING)
    after = population(rule.bound, case.dearer, case.looping)
    for number in range(LOOKS):
        factors, weights = after if number >= case.onset else before
        n = poisson(case.rate * LOOK_SECONDS * traffic(number) * SHARE, draw)
        chosen = draw.choices(factors, cum_weights=weights, k=n)
        yield n, [n, *map(sum, zip(*chosen, strict=True))] if n else []


def incidents(draw: random.Random) -> frozenset[int]:
    starts = [draw.randrange(LOOKS - INCIDENT_LOOKS) for _ in range(2)]
    return frozenset(number for start in starts for number in range(start, start + INCIDENT_LOOKS))


def traffic(number: int) -> float:
    """From 0.5 at the start to 1.5 at hour 12, in steps of half an hour."""
    step = number // LOOKS_PER_STEP
    return 1.0 - 0.5 * math.cos(2 * math.pi * step / 48)


@functools.cache
def above(edge: float, slower: float) -> float:
    return 0.5 * math.erfc((math.log(edge / slower) - MU) / SIGMA / math.sqrt(2))


def poisson(mean: float, draw: random.Random) -> int:
    first, cumulative = poisson_table(round(mean, 6))
    return first + bisect_right(cumulative, draw.random())


@functools.lru_cache(maxsize=100_000)
def poisson_table(mean: float) -> tuple[int, list[float]]:
    """The cumulative law where it is more than 1e-12 away from 0 and 1."""
    reach = 8 * math.sqrt(mean) + 20
    first = max(0, int(mean - reach))
    terms = [math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(first, int(mean + reach))]
    return first, list(accumulate(terms))


@functools.cache
def unit_costs() -> tuple[float, ...]:
    """A thousand equally likely costs, in USD, between the percentiles of the trace."""
    points = []
    for i in range(1000):
        place, part = divmod((i + 0.5) / 1000 * (len(TRACE) - 1), 1)
        low, high = TRACE[int(place)], TRACE[min(int(place) + 1, len(TRACE) - 1)]
        points.append((low + (high - low) * part) / 1e6)
    return tuple(points)


@functools.cache
def planned_cost() -> float:
    costs = unit_costs()
    return sum(costs) / len(costs) * (1 + 29 * LOOPING)


@functools.cache
def population(bound: float, dearer: float, looping: float) -> tuple[list[tuple[float, ...]], list[float]]:
    """What each possible request adds to the sums, with its cumulated weight: by cells, at their lower edges."""
    cells: dict[int, float] = {}
    for cost in unit_costs():
        for times, weight in ((1, 1 - looping), (30, looping)):
            index = histogram.index_of(cost * dearer * times)
            cells[index] = cells.get(index, 0.0) + weight
    ordered = sorted(cells)
    return [looks.cell_factors(index, bound) for index in ordered], list(accumulate(cells[i] for i in ordered))


# --- the tables ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """What is printed of a case: a quantile of its delay, its exposure, or the share that was rolled back."""

    what: str
    case: Case
    figure: str  # false, p50, p95 or exposed
    must: float | None = None  # in the line's own unit: %, s


def acceptance(nulls: int, others: int, rarer: int) -> list[Line]:
    errors = Case("error_rate", 10, nulls)
    latency, cost = replace(errors, metric="latency_p95"), replace(errors, metric="cost_per_request")
    lines = []
    for rate, repetitions in ((10, nulls), (1, rarer), (100, rarer)):
        must = 1.5 if rate == 10 else None
        for name, case in (("errors", errors), ("p95", latency), ("cost", cost)):
            for incidents_too in (False, True) if name != "cost" else (False,):
                what = f"false rollbacks, {name}{', incidents of both arms' if incidents_too else ''}, {rate}/s"
                asked = replace(case, rate=rate, repetitions=repetitions, incidents=incidents_too)
                lines.append(Line(what, asked, "false", must))
    errors, latency, cost = (replace(case, repetitions=others) for case in (errors, latency, cost))
    # These end within minutes, and a 95th percentile needs many: at 1/s that of 600 rollouts still has a standard
    # error of about 30 s, so that 870 s (of 6,000) came out as 910.
    outage = replace(errors, failing=0.3, repetitions=20 * others)
    slow = replace(latency, slower=2.0, repetitions=20 * others)
    return [
        *lines,
        Line("errors 1 % to 30 %, 10/s", outage, "p95", 90),
        Line("errors 1 % to 30 %, 1/s", replace(outage, rate=1), "p95", 900),
        Line("errors 1 % to 5 %, 10/s", replace(errors, failing=0.05), "p50", 600),
        Line("errors 1 % to 2 %, 10/s", replace(errors, failing=0.02), "p50"),
        Line("p95 +100 %, 10/s", slow, "p95", 180),
        Line("p95 +25 %, 10/s", replace(latency, slower=1.25), "p50"),
        Line("planned cost +100 % (loops), 10/s", replace(cost, looping=0.0435), "p50", 480),
        Line("planned cost +20 %, 10/s", replace(cost, dearer=1.2), "p50"),
    ]


def shipped(nulls: int, others: int) -> list[Line]:
    errors = Case("error_rate", 10, nulls, alpha=rules.ALPHA, tolerance=rules.DEFAULT_TOLERANCE[rules.ERRORS])
    latency = replace(errors, metric="latency_p95", tolerance=rules.DEFAULT_TOLERANCE[rules.LATENCY])
    cost = replace(errors, metric="cost_per_request", tolerance=rules.DEFAULT_TOLERANCE[rules.COST])
    return [
        Line("false rollbacks, errors, incidents of both arms", replace(errors, incidents=True), "false"),
        Line("false rollbacks, p95, incidents of both arms", replace(latency, incidents=True), "false"),
        Line("false rollbacks, p95 +2 %: harmless", replace(latency, slower=1.02), "false"),
        Line("false rollbacks, cost", cost, "false"),
        Line("errors 1 % to 30 %", replace(errors, failing=0.3, repetitions=others), "p95"),
        Line("errors 1 % to 5 %", replace(errors, failing=0.05, repetitions=others), "p50"),
        Line("p95 +100 %", replace(latency, slower=2.0, repetitions=others), "p95"),
        Line("planned cost +100 % (loops)", replace(cost, looping=0.0435, repetitions=others), "p50"),
    ]


LATE = (
    ("errors 1 % to 2 %", Case("error_rate", 10, 0, failing=0.02)),
    ("p95 +25 %", Case("latency_p95", 10, 0, slower=1.25)),
)
MOST_AT_HOUR_12 = 2.5


def late_cases(repetitions: int) -> list[tuple[str, Case, Case]]:
    """Harm from the start, and from hour 12 on."""
    return [
        (what, replace(case, repetitions=repetitions), replace(case, repetitions=repetitions, from_hour=12))
        for what, case in LATE
    ]


def told(line: Line, runs: list[Run], *, judged: bool) -> Row:
    case = line.case
    before = sum(run.look is not None and run.look < case.onset for run in runs)
    if line.figure == "false":
        value, unit = 100 * sum(run.look is not None for run in runs) / len(runs), "%"
        beside: dict[str, float] = {"rollouts": len(runs)}
    else:
        delays = sorted(delay(run, case) for run in runs)
        value, unit = quantile(delays, 0.5 if line.figure == "p50" else 0.95), "s"
        exposed = statistics.median(run.exposed for run in runs)
        beside = {"p50": quantile(delays, 0.5), "exposed p50": exposed, "rollouts": len(runs)}
        if before:
            beside["before"] = before
    what = line.what if line.figure == "false" else f"{line.what}: {line.figure} of the delay"
    if line.must is None or not judged:
        return Row(what, value, unit, beside=beside)
    return Row(what, value, unit, f"<= {line.must:g} {unit}", value <= line.must, beside)


def delay(run: Run, case: Case) -> float:
    """From the onset to the decision, the look itself included."""
    return math.inf if run.look is None else (run.look - case.onset + 1) * LOOK_SECONDS


def quantile(ordered: list[float], q: float) -> float:
    return ordered[max(math.ceil(q * len(ordered)) - 1, 0)]


def late_row(what: str, early: list[Run], late: list[Run], case: Case, *, judged: bool) -> Row:
    after = [run for run in late if run.look is None or run.look >= case.onset]
    exposed = statistics.median(run.exposed for run in early)
    exposed_late = statistics.median(run.exposed for run in after)
    ratio = exposed_late / exposed
    return Row(
        f"{what} from hour 12: requests exposed, times those from the start",
        ratio,
        "times",
        f"<= {MOST_AT_HOUR_12:g} times" if judged else "",
        ratio <= MOST_AT_HOUR_12 if judged else None,
        {"from start": exposed, "from hour 12": exposed_late, "rollouts": len(early)},
    )


def chunk(work: tuple[Case, range]) -> tuple[Case, list[Run]]:
    case, repetitions = work
    return case, [play(case, repetition) for repetition in repetitions]


def run_all(cases: list[Case], processes: int) -> dict[Case, list[Run]]:
    """All repetitions of all cases, in pieces. The order in which they end changes nothing but the time it takes."""
    pieces = [
        (case, range(start, min(start + 10, case.repetitions)))
        for case in dict.fromkeys(cases)
        for start in range(0, case.repetitions, 10)
    ]
    runs: dict[Case, list[Run]] = {case: [] for case in cases}
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        for case, found in pool.imap(chunk, pieces):
            runs[case] += found
    return runs


def main() -> int:
    reading = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reading.add_argument("--quick", action="store_true", help="a few repetitions: shows that it runs, proves nothing")
    reading.add_argument("--processes", type=int, default=2)
    reading.add_argument("--results", type=Path, default=results.FOLDER)
    asked = reading.parse_args()
    nulls, rarer, others, late = (6, 2, 12, 10) if asked.quick else (400, 100, 150, 150)
    began = time.monotonic()
    lines, second = acceptance(nulls, others, rarer), shipped(max(nulls // 4, 2), max(others // 3, 4))
    pairs = late_cases(late)
    cases = [line.case for line in (*lines, *second)] + [case for _, early, later in pairs for case in (early, later)]
    runs = run_all(cases, asked.processes)
    judged = not asked.quick
    rows = [told(line, runs[line.case], judged=judged) for line in lines]
    rows += [late_row(what, runs[early], runs[later], later, judged=judged) for what, early, later in pairs]
    note = f"{sum(len(found) for found in runs.values())} rollouts in {time.monotonic() - began:.0f} s."
    ok = results.tell("guardrails", rows, title="Guardrails at alpha 1 %, tolerance 0", folder=asked.results)
    as_shipped = [told(line, runs[line.case], judged=False) for line in second]
    title = "Guardrails as shipped: alpha 0.2 % each, odds 1.25, p95 +19 %, cost +10 %, 10 requests/s"
    results.tell("guardrails-shipped", as_shipped, title=title, folder=asked.results, note=note)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
