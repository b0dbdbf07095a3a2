"""Intervals for people, beside the verdict: they never decide.

- `anytime_rate`: all rates that the counts do not speak against, by the mixture of binomial likelihoods under a uniform
  prior (Robbins 1970). It holds 95 % at all moments together, so it may be watched while it shrinks.
- `quantile_ranks`: the fractions between which the true quantile lies, by the same bound turned round: an interval for
  a latency whose ends are cells of the histogram.
- `normal_mean`: the usual mean ± 1.96 standard errors, for costs. With a heavy tail it is optimistic: its name says
  which one it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from apps.telemetry.domain import histogram
from apps.telemetry.domain.histogram import Histogram

ANYTIME = "anytime 95 %"
ANYTIME_QUANTILE = "anytime 95 %, by rank"
NORMAL = "normal 95 %"
ALPHA = 0.05
_STEPS = 24  # halvings: an accuracy of 6e-8 of the width


def anytime_rate(n: int, k: int, *, alpha: float = ALPHA) -> tuple[float, float]:
    """All p with prior mixture / likelihood(p) < 1/alpha."""
    if n == 0:
        return 0.0, 1.0
    bound = _log_beta(k + 1, n - k + 1) + math.log(alpha)

    def refuted(p: float) -> bool:
        """Whether the counts speak against p."""
        likelihood = (k * math.log(p) if k else 0.0) + ((n - k) * math.log1p(-p) if n > k else 0.0)
        return likelihood < bound

    rate = k / n
    low = _edge(refuted, 0.0, rate) if k else 0.0
    high = _edge(refuted, 1.0, rate) if k < n else 1.0
    return low, high


def quantile_ranks(q: float, n: int, *, alpha: float = ALPHA) -> tuple[float, float]:
    """Fractions f whose counts f·n below a value do not speak against it being the q-quantile."""
    if n == 0:
        return 0.0, 1.0

    def refuted(f: float) -> bool:
        k = f * n
        mixture = _log_beta(k + 1, n - k + 1)
        return k * math.log(q) + (n - k) * math.log1p(-q) < mixture + math.log(alpha)

    low = _edge(refuted, 0.0, q) if refuted(0.0) else 0.0
    high = _edge(refuted, 1.0, q) if refuted(1.0) else 1.0
    return low, high


def rank_value(answered: Histogram, failed: int, fraction: float) -> tuple[float, bool] | None:
    """The latency of that rank, failed requests above all others; True where only a lower bound is known."""
    n = answered.count + failed
    if n == 0:
        return None
    rank = min(max(math.ceil(fraction * n - 1e-9), 1), n)
    if rank > answered.count:
        return (histogram.upper_edge(max(answered.cells)) if answered.cells else 0.0), True
    value = answered.quantile(rank / answered.count - 1e-12)
    return (value if value is not None else 0.0), False


def normal_mean(costs: Histogram, mean: float) -> tuple[float, float]:
    n = costs.count
    if n < 2:
        return 0.0, math.inf
    squares = math.fsum(
        count * (math.sqrt(histogram.lower_edge(index) * histogram.upper_edge(index)) - mean) ** 2
        for index, count in costs.cells.items()
    )
    squares += costs.zero * mean**2
    half = 1.96 * math.sqrt(squares / (n - 1) / n)
    return max(mean - half, 0.0), mean + half


def _edge(refuted: Callable[[float], bool], outside: float, inside: float) -> float:
    """Where between a refuted and a kept value the border lies; the refuted side, so that rounding only widens."""
    outside = min(max(outside, 1e-15), 1 - 1e-15)
    for _ in range(_STEPS):
        middle = (outside + inside) / 2
        if refuted(middle):
            outside = middle
        else:
            inside = middle
    return outside


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
