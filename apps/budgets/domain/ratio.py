"""Is the split what it should be? Requests that were given the candidate, against the share that was asked for.

In: how often either arm was given since the split began, and the candidate's share. Out: E, the evidence against that
share. It is a beta-binomial likelihood ratio, averaged over how far off shares may be (a mixture of Beta priors around
the share, from very wide to very narrow); each is a martingale under the right share, so it may be looked at as often
as one likes: at the right share E reaches 1,000 with a chance of 0.1 % at most, ever.

A wrong ratio says that arms are not alike: a bug in a service, or requests of one arm that are lost. It holds.
"""

from __future__ import annotations

import math

from apps.budgets.domain import eprocess

NEEDED = 1000.0
LEAST_ASSIGNED = 100
CONCENTRATIONS = (10.0, 100.0, 1_000.0, 10_000.0)


def log_evidence(candidate: int, baseline: int, share: float) -> float:
    """`share`: between 0 and 1, both left out."""
    n = candidate + baseline
    expected = candidate * math.log(share) + baseline * math.log1p(-share)
    logs = []
    for concentration in CONCENTRATIONS:
        a, b = concentration * share, concentration * (1 - share)
        logs.append(_log_beta(a + candidate, b + baseline) - _log_beta(a, b) - expected if n else 0.0)
    return eprocess.log_average(logs)


def is_wrong(candidate: int, baseline: int, share: float) -> bool:
    if candidate + baseline < LEAST_ASSIGNED or not 0 < share < 1:
        return False
    return log_evidence(candidate, baseline, share) >= math.log(NEEDED)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
