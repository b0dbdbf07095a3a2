"""Is anything odd about a route's money, whatever its budgets say? Plain sums in, an oddity or None out.

Three things are looked at. What a request costs with all its attempts (a call, where requests are not visible), against
the same hour of the day in the last four weeks: outside the median by three MAD (median absolute deviations) and by
half as much again, from 200 calls on. How many attempts a
request takes: 1.2 and more is money that buys nothing. How much of the spend is estimated: from 5 % on the figures are
guesses. What was odd stays so until it is a tenth better than its limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

COST = "cost_per_request"
AMPLIFICATION = "amplification"
ESTIMATED = "estimated_share"
KINDS = (COST, AMPLIFICATION, ESTIMATED)

LEAST_CALLS = 200
LEAST_BEFORE = 20  # in an hour of the past, to say what one cost then
LEAST_HOURS = 7
MADS = 3.0
TIMES = 1.5
ATTEMPTS = 1.2
LEAST_REQUESTS = 20
SHARE = 0.05
CLEARS = 0.9
REQUEST, CALL = "request", "call"
Before = Sequence[tuple[int, int]]  # nano-USD, and how many it was for, in the same hour of each day of four weeks


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

    def is_worse_than(self, told: Mapping[str, Any]) -> bool:
        """Whether people who were told those facts should hear of it again: it has become serious, or doubled."""
        was = Anomaly(**told)
        return (self.is_serious and not was.is_serious) or self.observed >= 2 * was.observed


def may_be_odd(nano: int, requests: int, calls_before: Before) -> bool:
    """Whether what requests cost before is worth asking: a request is never cheaper than its calls, so one that costs
    less than half as much again as a call did is not odd. One that only takes fewer attempts than before is not either.
    """
    known = _each(calls_before)
    if not requests or len(known) < LEAST_HOURS:
        return False
    usual, per_request = median(known), nano / requests
    return not usual / TIMES < per_request < usual * TIMES


def cost(
    route: str, nano: int, n: int, calls: int, before: Before, *, of: str = REQUEST, was_odd: bool = False
) -> Anomaly | None:
    """`n`: requests, or where they are not visible the calls themselves; `before` is of the same."""
    known = _each(before)
    if not n or calls < LEAST_CALLS or len(known) < LEAST_HOURS:
        return None
    usual = median(known)
    mad = median(abs(value - usual) for value in known)
    each = nano / n
    high, low = max(usual + MADS * mad, usual * TIMES), min(usual - MADS * mad, usual / TIMES)
    if was_odd:
        high, low = usual + (high - usual) * CLEARS, usual - (usual - low) * CLEARS
    if usual <= 0 or low < each < high:
        return None
    limit, than = (high, "more") if each >= high else (low, "less")
    sentence = (
        f"A {of} of {route} cost {_usd(each)} in the last hour, {than} than usual: {_usd(usual)} at this time of "
        f"the day in the last four weeks ({n} {of}s)."
    )
    return Anomaly(COST, route, each, limit, n, sentence, usual)


def _each(before: Before) -> list[float]:
    return [nano / n for nano, n in before if n >= LEAST_BEFORE]


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
