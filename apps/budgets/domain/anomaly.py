"""Is anything odd about a route's money, whatever its budgets say? Plain sums in, an oddity or None out.

Three things are looked at. What a call costs, against the same hour of the day in the last four weeks: outside the
median by three MAD (median absolute deviations) and by half as much again, from 200 calls on. How many attempts a
request takes: 1.2 and more is money that buys nothing. How much of the spend is estimated: from 5 % on the figures are
guesses. What was odd stays so until it is a tenth better than its limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

COST = "cost_per_call"
AMPLIFICATION = "amplification"
ESTIMATED = "estimated_share"
KINDS = (COST, AMPLIFICATION, ESTIMATED)

LEAST_CALLS = 200
LEAST_CALLS_BEFORE = 20  # in an hour of the past, to say what a call cost then
LEAST_HOURS = 7
MADS = 3.0
TIMES = 1.5
ATTEMPTS = 1.2
LEAST_REQUESTS = 20
SHARE = 0.05
CLEARS = 0.9


@dataclass(frozen=True, slots=True)
class Anomaly:
    """`observed` against `limit`; `usual` where there is a usual."""

    kind: str
    route: str
    observed: float
    limit: float
    n: int
    sentence: str
    usual: float | None = None

    @property
    def is_serious(self) -> bool:
        """Twice the limit: people should not wait for office hours."""
        return self.kind != ESTIMATED and self.observed >= 2 * self.limit

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "route": self.route,
            "observed": self.observed,
            "usual": self.usual,
            "limit": self.limit,
            "n": self.n,
            "sentence": self.sentence,
        }


def cost(
    route: str, nano: int, calls: int, before: Sequence[tuple[int, int]], *, was_odd: bool = False
) -> Anomaly | None:
    """`before`: nano-USD and calls of the same hour on each day of the last four weeks."""
    known = [spent / n for spent, n in before if n >= LEAST_CALLS_BEFORE]
    if calls < LEAST_CALLS or len(known) < LEAST_HOURS:
        return None
    usual = median(known)
    mad = median(abs(value - usual) for value in known)
    per_call = nano / calls
    high, low = max(usual + MADS * mad, usual * TIMES), min(usual - MADS * mad, usual / TIMES)
    if was_odd:
        high, low = usual + (high - usual) * CLEARS, usual - (usual - low) * CLEARS
    if usual <= 0 or low < per_call < high:
        return None
    limit, than = (high, "more") if per_call >= high else (low, "less")
    sentence = (
        f"A call of {route} cost {_usd(per_call)} in the last hour, {than} than usual: {_usd(usual)} at this time of "
        f"the day in the last four weeks ({calls} calls)."
    )
    return Anomaly(COST, route, per_call, limit, calls, sentence, usual)


def amplification(route: str, attempts: int, requests: int, *, was_odd: bool = False) -> Anomaly | None:
    """Over five minutes. Only requests whose attempts all are known."""
    limit = 1 + (ATTEMPTS - 1) * (CLEARS if was_odd else 1.0)
    if requests < LEAST_REQUESTS or attempts < limit * requests:
        return None
    times = attempts / requests
    sentence = (
        f"A request of {route} took {times:.2f} attempts in the last 5 minutes ({requests} requests): each is paid."
    )
    return Anomaly(AMPLIFICATION, route, times, ATTEMPTS, requests, sentence, usual=1.0)


def estimated(route: str, estimated_nano: int, nano: int, calls: int, *, was_odd: bool = False) -> Anomaly | None:
    limit = SHARE * (CLEARS if was_odd else 1.0)
    if calls < LEAST_REQUESTS or nano <= 0 or estimated_nano < limit * nano:
        return None
    share = estimated_nano / nano
    sentence = (
        f"{share:.0%} of what {route} spent in the last hour is estimated ({calls} calls): nobody told its tokens."
    )
    return Anomaly(ESTIMATED, route, share, SHARE, calls, sentence)


def _usd(nano: float) -> str:
    return f"${nano / 1e9:.6f}".rstrip("0").rstrip(".")
