"""Whether those who answer after a rollback get worse under the traffic that came back.

Errors and slow answers of the time after are compared with the time before by the two-sample e-process of the
guardrails (slow: a fifth above the p95 of before). The two times are not randomised, so this is a warning light and no
verdict: it fails a step, and wakes somebody, at evidence 20.
"""

import math
from dataclasses import dataclass
from typing import Any

from apps.rollouts.domain import words
from apps.telemetry.domain.histogram import Histogram, edge_index_at_or_above

LEAST_REQUESTS = 20
WARNS_AT = 20.0
TOLERATED_EDGES = 4  # 19 % slower than before
THETAS = (1.5, 2.0, 3.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Arm:
    latency: Histogram
    requests: int
    errors: int


@dataclass(frozen=True, slots=True)
class Seen:
    can_tell: bool
    is_rising: bool
    words: str
    p95_before: float | None = None
    p95_after: float | None = None
    evidence_errors: float = 1.0
    evidence_slow: float = 1.0
    requests: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {
            "p95_before": self.p95_before,
            "p95_after": self.p95_after,
            "evidence_errors": self.evidence_errors,
            "evidence_slow": self.evidence_slow,
            "requests": self.requests,
        }


def compare(before: Arm, after: Arm) -> Seen:
    if after.requests < LEAST_REQUESTS or before.requests < LEAST_REQUESTS:
        told = f"{after.requests} of {LEAST_REQUESTS} requests after it"
        if before.requests < LEAST_REQUESTS:
            told += ", too few before it to compare with"
        return Seen(False, False, told, requests=after.requests)
    errors = odds(after.errors, after.requests, before.errors, before.requests)
    p95 = before.latency.quantile(0.95)
    slow = 1.0
    if p95:
        edge = edge_index_at_or_above(p95) + TOLERATED_EDGES
        slow = odds(
            after.latency.count_above(edge) + after.errors,
            after.requests,
            before.latency.count_above(edge) + before.errors,
            before.requests,
        )
    now_p95 = after.latency.quantile(0.95)
    rising = errors >= WARNS_AT or slow >= WARNS_AT
    shown = f"p95 {words.seconds(now_p95)}, " if now_p95 is not None else ""
    told = f"{shown}errors {words.rate(after.errors / after.requests)}, {'rising' if rising else 'not rising'}"
    return Seen(True, rising, told, p95, now_p95, errors, slow, after.requests)


def odds(k: int, n: int, k_before: int, n_before: int) -> float:
    """E of guardrails 3.4 for one look: the mean over a few alternatives of theta^k / (1 + r(theta-1))^(k+k_before)."""
    share = n / (n + n_before)
    logs = [k * math.log(theta) - (k + k_before) * math.log1p(share * (theta - 1)) for theta in THETAS]
    return math.fsum(math.exp(min(value, 700.0)) for value in logs) / len(logs)
