"""A guardrail as a rule: what is counted, against what, how much is tolerated, what a breach should lead to.

`limit` is in seconds, USD, attempts or a share of requests. `tolerance` is a factor minus 1 for latency and cost, an
odds ratio minus 1 for rates. Each rule that acts gets 0.2 % of false alarm over the rollout's life; more than five
share 1 %.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BASELINE = "baseline"
LIMIT = "limit"
PLAN = "plan"

ERRORS = "errors"
LATENCY = "latency"
COST = "cost"
ATTEMPTS = "attempts"
OUTCOME = "outcome"

LATENCIES: dict[str, tuple[float, ...]] = {
    "latency_p50": (0.5,),
    "latency_p90": (0.9,),
    "latency_p95": (0.95,),
    "latency_p99": (0.99,),
    "latency_tail": (0.5, 0.95, 0.99),
}
GOOD_OUTCOMES = frozenset({"accuracy", "engagement", "success"})  # a 1 is good here: its zeros are counted
# Names that would be taken for outcomes which nobody reports: such a guardrail would hold for ever.
NO_FIRST_TOKEN = "Requests are not kept by their time to first token: judge a latency."
ONE_IN_FIVE = "1.2 allows one retry in five requests."
JUDGE_ATTEMPTS = f"Judge attempts_per_request by a limit: {ONE_IN_FIVE}"
JUDGE_ERRORS = "A time-out is an error of its request: judge error_rate."
NOT_JUDGED = {
    "sample_ratio": "The sample ratio is watched in every rollout: it needs no guardrail.",
    **dict.fromkeys(("first_token", "time_to_first_token", "ttft"), NO_FIRST_TOKEN),
    **dict.fromkeys(("retries", "retry_rate"), JUDGE_ATTEMPTS),
    **dict.fromkeys(("timeouts", "timeout", "timeout_rate"), JUDGE_ERRORS),
}
UNIT = re.compile(r"_(p\d+|ms|seconds)$")  # at the end of a name
SAME = dict.fromkeys(("amplification", "retry_amplification"), "attempts_per_request")
ACTS = ("alert", "hold", "stop_shadow", "cap_share", "step_back", "roll_back", "fall_back", "pause")
DEFAULT_TOLERANCE = {ERRORS: 0.25, OUTCOME: 0.25, LATENCY: 0.19, COST: 0.10}

ALPHA = 0.002
ALPHA_IN_ALL = 0.01


@dataclass(frozen=True, slots=True)
class Rule:
    id: str
    metric: str
    against: str
    on_breach: str
    limit: float | None
    tolerance: float
    alpha: float
    higher_is_better: bool = False

    @property
    def kind(self) -> str:
        return kind_of(self.metric)

    @property
    def quantiles(self) -> tuple[float, ...]:
        return LATENCIES.get(self.metric, ())

    @property
    def outcome(self) -> str:
        return self.metric.removesuffix("_rate")

    @property
    def is_of_means(self) -> bool:
        """Judged by the mean of single requests against a bound: there is nothing to count, and no mark."""
        return self.kind == ATTEMPTS or (self.kind == COST and self.against != BASELINE)

    @property
    def odds(self) -> float:
        """How many times the baseline's odds are tolerated. A latency's tolerance is in its mark instead."""
        return 1.0 + self.tolerance if self.kind in (ERRORS, OUTCOME) else 1.0

    @property
    def bound(self) -> float:
        """The mean that is tolerated, for rules of means."""
        assert self.limit is not None
        return self.limit * (1.0 + self.tolerance) if self.against == PLAN else self.limit

    @property
    def needed(self) -> float:
        return 1.0 / self.alpha

    @property
    def log_needed(self) -> float:
        return -math.log(self.alpha)

    @property
    def acts(self) -> bool:
        return acts(self.on_breach)

    def plain(self) -> list[Any]:
        return [
            self.id,
            self.metric,
            self.against,
            self.on_breach,
            self.limit,
            self.tolerance,
            self.alpha,
            self.higher_is_better,
        ]


def kind_of(metric: str) -> str:
    if metric == "error_rate":
        return ERRORS
    if metric in LATENCIES:
        return LATENCY
    return {"cost_per_request": COST, "attempts_per_request": ATTEMPTS}.get(metric, OUTCOME)


def acts(on_breach: str) -> bool:
    return on_breach not in ("alert", "hold")


def shared_alpha(acting: int, *, retries: int = 0) -> float:
    """For each of so many rules that act. The k-th retry of the same candidate gets half of the one before."""
    return float(min(ALPHA, ALPHA_IN_ALL / max(acting, 1)) / 2**retries)


def parse(spec: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """One guardrail as people write it -> (fields of a rule, faults by field). Limits come in ms, USD or as a share."""
    faults: dict[str, str] = {}
    metric = spec.get("metric")
    if not isinstance(metric, str) or not metric.strip() or len(metric) > 100:
        return {}, {"metric": "Name a metric, for example latency_p95, error_rate or cost_per_request."}
    if why := NOT_JUDGED.get(UNIT.sub("", metric)):
        return {}, {"metric": why}
    metric = SAME.get(metric, metric)
    kind = kind_of(metric)
    field = {LATENCY: "limit_ms", COST: "limit_usd"}.get(kind, "limit")
    raw = spec.get(field, spec.get("limit"))
    against = spec.get("against") or (LIMIT if raw is not None else BASELINE)
    if against not in (BASELINE, LIMIT, PLAN):
        faults["against"] = "Use baseline, limit or plan."
    if against == PLAN and kind != COST:
        faults["against"] = "Only cost_per_request is judged against a plan."
    if against == BASELINE and kind == ATTEMPTS:
        faults["limit"] = f"Give a limit on attempts: {ONE_IN_FIVE}"
    limit: float | None = None
    if against != BASELINE:
        limit = _number(raw)
        if limit is None or limit <= 0:
            faults[field] = f"Give {field} as a number above 0."
        elif kind == LATENCY:
            limit /= 1000.0
        elif kind == ATTEMPTS and limit <= 1:
            faults[field] = "Every request takes one attempt: give a limit above 1, for example 1.2."
        elif kind in (ERRORS, OUTCOME) and limit >= 1:
            faults[field] = "A rate lies between 0 and 1."
    if against == LIMIT and metric == "latency_tail":
        faults["metric"] = "latency_tail is judged against the baseline; for a limit name one of p50, p95 or p99."
    given = spec.get("tolerance")
    tolerance = _number(given) if given is not None else (0.0 if against == LIMIT else DEFAULT_TOLERANCE.get(kind, 0.0))
    if tolerance is None or not 0 <= tolerance <= 10:
        faults["tolerance"] = "A tolerance lies between 0 and 10: 0.19 tolerates 19 % more."
    on_breach = spec.get("on_breach") or "roll_back"
    if on_breach not in ACTS:
        faults["on_breach"] = f"Use one of {', '.join(ACTS)}."
    better = spec.get("higher_is_better")
    fields = {
        "metric": metric,
        "against": against,
        "limit": limit,
        "tolerance": 0.0 if against == LIMIT else tolerance,
        "on_breach": on_breach,
        "higher_is_better": metric.removesuffix("_rate") in GOOD_OUTCOMES if better is None else bool(better),
    }
    return fields, faults


def with_alphas(fields: Sequence[Mapping[str, Any]], *, retries: int = 0) -> list[float]:
    """The alpha of each rule of one rollout. Rules that only hold do not take from those that act."""
    acting = sum(acts(str(rule["on_breach"])) for rule in fields)
    return [shared_alpha(acting, retries=retries) for _ in fields]


def _number(raw: Any) -> float | None:
    try:
        number = float(raw)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
