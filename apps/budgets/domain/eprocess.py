"""Evidence of harm that may be looked at as often as one likes.

In: counts of one look (requests and bad requests of both arms), or costs of single requests. Out: E, an e-process:
while the candidate does no harm, the mean of E is at most 1 at every moment, however the moment is chosen. So "act when
E >= 1/alpha" acts falsely with probability at most alpha over the whole life of a rollout (Ville's inequality), and
the looks need no schedule. E is written "565:1".

Four increments are made here, each a list with one logarithm per alternative of a fixed grid:
- `two_sample`: the candidate's odds of a bad request are at most `odds` times the baseline's. Given the numbers of
  requests and of bad ones, the candidate's bad ones are hypergeometric (Fisher's non-central, for odds > 1), and the
  mean of theta^k is at most (1 + r(theta - 1))^k with r the share of requests, tilted by the odds (Hoeffding 1963).
  Nothing is assumed about how the rate of bad requests moves between looks (Lindon and Malek 2022; Turner et al.).
- `one_sample`: the rate of bad requests is at most p0. The alternatives are odds, theta times those of p0.
- `planned_cost`: the mean cost of a request is at most a bound. As costs are not negative, cost/bound is itself an
  e-value: exact for any heavy tail, without upper limit or estimate of variance (Waudby-Smith and Ramdas).
- `attempts`: the same of the attempts of a request, of which only the sum over some requests is known. The logarithm
  is concave, so no way to share the sum out speaks less for harm than all retries on one request: that one is taken.

A migration can go bad in its twelfth hour. `Mixture` therefore mixes over the 30-minute block in which harm may begin:
weight 1/2 for the start, 1/2 · 1/(j(j+1)) for block j. It costs 0.7 nats at the start and holds for an unlimited time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

THETAS = (1.1, 1.2, 1.35, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
SAFE_THETAS = (1.1, 1.2, 1.35, 1.5, 2.0, 3.0)
LAMBDAS = (0.003, 0.01, 0.03, 0.06, 0.12, 0.25, 0.5)
BLOCK_SECONDS = 1800
LARGEST_LOG = 690.0  # e^690 still fits a float: more evidence than that is not worth telling apart

_HARM = [(math.log(theta), theta - 1.0) for theta in THETAS]
_SAFE = [(math.log(theta), theta - 1.0) for theta in SAFE_THETAS]
_Grid = Sequence[tuple[float, float]]


def two_sample(n: int, k: int, n_baseline: int, k_baseline: int, *, odds: float = 1.0) -> list[float] | None:
    """One look's increments of log E against "the candidate's odds are at most `odds` times the baseline's".

    None where the look says nothing: no bad request, or only one arm.
    """
    bad = k + k_baseline
    if not bad or not n or not n_baseline:
        return None
    share = n / (n + n_baseline)
    return _tilted(_HARM, k, bad, odds * share / (1.0 + share * (odds - 1.0)))


def one_sample(n: int, k: int, *, rate: float) -> list[float] | None:
    """One look's increments against "the rate of bad requests is at most `rate`"."""
    return _tilted(_HARM, k, n, rate) if n else None


def safe_two_sample(n: int, k: int, n_baseline: int, k_baseline: int, *, odds: float = 1.0) -> list[float] | None:
    """The opposite question: increments against "the candidate's odds are at least `odds` times the baseline's"."""
    bad = k + k_baseline
    if not bad or not n or not n_baseline:
        return None
    share = n_baseline / (n + n_baseline)
    if odds != 1.0:
        # Tilting the share downwards is no bound when few good requests are left to draw, so here the exact mean
        # is taken. It suffices: a non-central hypergeometric count is a sum of independent indicators.
        share = noncentral_mean(n_baseline, n, bad, 1.0 / odds) / bad
    return _tilted(_SAFE, k_baseline, bad, share)


def safe_one_sample(n: int, k: int, *, rate: float) -> list[float] | None:
    """Increments against "the rate of bad requests is at least `rate`"."""
    return _tilted(_SAFE, n - k, n, 1.0 - rate) if n else None


def planned_cost(costs: Iterable[tuple[float, int]], *, bound: float) -> list[float]:
    """Increments against "the mean cost is at most `bound`", from pairs (cost, number of requests).

    They are sums over requests, so looks, cells and writers add up in any order.
    """
    sums = [0.0] * len(LAMBDAS)
    for cost, requests in costs:
        for position, factor in enumerate(cost_factors(cost, bound)):
            sums[position] += requests * factor
    return sums


def cost_factors(cost: float, bound: float) -> tuple[float, ...]:
    """What one request of that cost adds, for each lambda."""
    gain = cost / bound - 1.0
    return tuple(math.log1p(lam * gain) for lam in LAMBDAS)


def attempts(requests: int, tried: int, *, bound: float) -> list[float] | None:
    """Increments against "in the mean a request takes at most `bound` attempts", `tried` of all these requests.

    None where the look brought no request.
    """
    if not requests:
        return None
    once, others = cost_factors(1.0, bound), cost_factors(tried - requests + 1.0, bound)
    return [(requests - 1) * quiet + most for quiet, most in zip(once, others, strict=True)]


def noncentral_mean(m: int, others: int, drawn: int, odds: float) -> float:
    """Mean of Fisher's non-central hypergeometric: of `drawn` bad ones among m + others, how many fall to the m."""
    low, high = max(0, drawn - others), min(m, drawn)
    # Terms relative to the largest seen so far, so that nothing overflows.
    term = total = 1.0
    weighted = float(low)
    for x in range(low, high):
        term *= (m - x) * (drawn - x) / ((x + 1.0) * (others - drawn + x + 1.0)) * odds
        total += term
        weighted += term * (x + 1)
        if total > 1e200:
            term, total, weighted = term / total, 1.0, weighted / total
    return weighted / total


def log_mean_exp(logs: Sequence[float]) -> float:
    top = max(logs)
    return top + math.log(math.fsum([math.exp(value - top) for value in logs]) / len(logs))


def _log_add(a: float, b: float) -> float:
    return max(a, b) + math.log1p(math.exp(-abs(a - b)))


def _tilted(grid: _Grid, k: int, n: int, share: float) -> list[float]:
    log1p = math.log1p
    return [k * log_theta - n * log1p(share * gain) for log_theta, gain in grid]


class Mixture:
    """An e-process with restarts: for each alternative the mixed sum over start blocks, as a logarithm.

    S <- (S + weight of the block that begins) · exp(increment); E = mean of S + the weight of blocks not begun.
    `peaks` and `starts` follow, for each alternative, the one block that carries the most, to say when harm began.
    """

    __slots__ = ("block", "logs", "peaks", "starts")

    def __init__(self, block: int, logs: list[float], peaks: list[float], starts: list[int]) -> None:
        self.block = block
        self.logs = logs
        self.peaks = peaks
        self.starts = starts

    @classmethod
    def new(cls, alternatives: int = len(THETAS)) -> Mixture:
        half = math.log(0.5)
        return cls(0, [half] * alternatives, [half] * alternatives, [0] * alternatives)

    def enter(self, block: int) -> None:
        """Moves on to a later block. Blocks that passed without a look begin together with it."""
        if block <= self.block:
            return
        weight = math.log(0.5 * (1.0 / (self.block + 1) - 1.0 / (block + 1)))
        self.logs = [_log_add(value, weight) for value in self.logs]
        for position, peak in enumerate(self.peaks):
            if weight > peak:
                self.peaks[position] = weight
                self.starts[position] = block
        self.block = block

    def add(self, increments: Sequence[float]) -> None:
        self.logs = [value + step for value, step in zip(self.logs, increments, strict=True)]
        self.peaks = [value + step for value, step in zip(self.peaks, increments, strict=True)]

    @property
    def log_evidence(self) -> float:
        return _log_add(log_mean_exp(self.logs), math.log(0.5 / (self.block + 1)))

    @property
    def began_in(self) -> int:
        """The block in which harm most likely began."""
        position = max(range(len(self.peaks)), key=lambda i: (self.peaks[i], -self.starts[i]))
        return self.starts[position]

    def plain(self) -> list[object]:
        return [self.block, self.logs, self.peaks, self.starts]


def log_average(logs: Sequence[float]) -> float:
    """Marks and metrics combine by averaging E, whatever their dependence."""
    return logs[0] if len(logs) == 1 else log_mean_exp(logs)


def odds_of(log_evidence: float) -> float:
    """E itself, kept finite."""
    return math.exp(min(log_evidence, LARGEST_LOG))
