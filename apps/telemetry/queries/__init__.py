"""What was measured: for judges what is new, for people windows, requests and money. A query never changes anything."""

from apps.telemetry.domain.shards import shard_of
from apps.telemetry.queries.costs import (
    Attempts,
    VariantCost,
    amplification,
    attempts,
    costs_by_route,
    costs_by_variant,
    fresh_routes,
    request_costs,
    requests_in_same_hours,
    same_hours,
)
from apps.telemetry.queries.coverage import Coverage, coarse_routes, coverage, coverages
from apps.telemetry.queries.endpoints import EndpointView, endpoints
from apps.telemetry.queries.failing import Failures, failures
from apps.telemetry.queries.money import SpendRow, Unpriced, known_since, spend, spent_nano, unpriced
from apps.telemetry.queries.raw import Wanted, pairs, raw_calls
from apps.telemetry.queries.seen import (
    BEST_FIRST,
    Rejection,
    SourceView,
    UnassignedView,
    as_of,
    freshness,
    mappings,
    sources,
    suspected_shadows,
    unassigned,
)
from apps.telemetry.queries.steps import STEPS, Steps
from apps.telemetry.queries.unread import Baseline, Increment, OutcomeIncrement, Unread, baseline, unread
from apps.telemetry.queries.watched import came_steadily, gathered_since
from apps.telemetry.queries.windows import (
    TOO_COARSE,
    OutcomeRow,
    RequestRow,
    WindowRow,
    outcomes,
    requests,
    windows,
)

__all__ = [
    "BEST_FIRST",
    "STEPS",
    "TOO_COARSE",
    "Attempts",
    "Baseline",
    "Coverage",
    "EndpointView",
    "Failures",
    "Increment",
    "OutcomeIncrement",
    "OutcomeRow",
    "Rejection",
    "RequestRow",
    "SourceView",
    "SpendRow",
    "Steps",
    "UnassignedView",
    "Unpriced",
    "Unread",
    "VariantCost",
    "Wanted",
    "WindowRow",
    "amplification",
    "as_of",
    "attempts",
    "baseline",
    "came_steadily",
    "coarse_routes",
    "costs_by_route",
    "costs_by_variant",
    "coverage",
    "coverages",
    "endpoints",
    "failures",
    "fresh_routes",
    "freshness",
    "gathered_since",
    "known_since",
    "mappings",
    "outcomes",
    "pairs",
    "raw_calls",
    "request_costs",
    "requests",
    "requests_in_same_hours",
    "same_hours",
    "shard_of",
    "sources",
    "spend",
    "spent_nano",
    "suspected_shadows",
    "unassigned",
    "unpriced",
    "unread",
    "windows",
]  # fmt: skip
