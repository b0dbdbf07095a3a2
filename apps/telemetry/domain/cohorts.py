"""Calls that are alike but for their own numbers, so that they are counted column by column.

A batch brings a few calls for each of many routes, a commit group many batches. What like calls share (route, variant,
split, windows, the rule of their price) is found once for all of them. In: batches. Out: cohorts, and beside them the
requests that took more than one call, which must be looked at as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import gcd

from apps.telemetry.domain.batch import Call

MINUTE = 60  # seconds


@dataclass(slots=True)
class Cohort:
    """`ends`: when each call ended, in seconds. All lie in one window and in one minute."""

    calls: list[Call]
    ends: list[float]
    is_whole: bool  # each call is a request by itself
    is_final: bool


Parts = list[tuple[Call, bool]]  # calls of one request, and whether each is new


class Cohorts:
    def __init__(self, window_seconds: int) -> None:
        self.seconds = gcd(window_seconds, MINUTE)
        self.found: dict[tuple[object, ...], Cohort] = {}

    def __iter__(self) -> Iterator[Cohort]:
        return iter(self.found.values())

    def add(self, calls: Sequence[Call], new: Sequence[bool]) -> list[Parts]:
        """New calls of a batch join their cohorts. Comes back: calls that share a request with others, new or not."""
        found, seconds = self.found, self.seconds
        shared = shared_requests(calls)
        requests: dict[tuple[object, ...], Parts] = {}
        for call, is_new in zip(calls, new, strict=True):
            request = call.request_id
            is_whole = request not in shared
            if not is_whole:
                requests.setdefault((call.route, call.arm or "live", request), []).append((call, is_new))
            if not is_new:
                continue
            ended_at = call.at.timestamp() + call.latency_ms / 1000
            key = (
                call.route, call.variant, call.assigned, call.assigned_by, call.snapshot, call.arm, call.tag,
                call.provider, call.model, call.error, call.final or not request, is_whole, call.input_tokens is None,
                call.output_tokens is None, call.tokens_source, call.cost_usd is None, ended_at // seconds,
            )  # fmt: skip
            cohort = found.get(key)
            if cohort is None:
                cohort = found[key] = Cohort([], [], is_whole, bool(call.final or not request))
            cohort.calls.append(call)
            cohort.ends.append(ended_at)
        return list(requests.values())


def shared_requests(calls: Sequence[Call]) -> set[str]:
    """Requests that more than one call of the batch names."""
    named = [call.request_id for call in calls if call.request_id]
    if len(set(named)) == len(named):
        return set()
    return {request for request, n in Counter(named).items() if n > 1}
