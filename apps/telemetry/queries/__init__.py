"""What was measured: for judges what is new, for people windows, requests and money. A query never changes anything."""

from apps.telemetry.domain.shards import shard_of
from apps.telemetry.queries.money import SpendRow, known_since, spend, spent_nano
from apps.telemetry.queries.seen import UnassignedView, as_of, freshness, unassigned
from apps.telemetry.queries.steps import STEPS, Steps
from apps.telemetry.queries.unread import Baseline, Increment, OutcomeIncrement, Unread, baseline, unread
from apps.telemetry.queries.windows import OutcomeRow, RequestRow, WindowRow, outcomes, requests, windows

__all__ = [
    "STEPS", "Baseline", "Increment", "OutcomeIncrement", "OutcomeRow", "RequestRow", "SpendRow", "Steps",
    "UnassignedView", "Unread", "WindowRow", "as_of", "baseline", "freshness", "known_since", "outcomes", "requests",
    "shard_of", "spend", "spent_nano", "unassigned", "unread", "windows",
]  # fmt: skip
