"""What `/metrics` tells of the telemetry that came in."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from apps.core import metrics
from apps.telemetry.domain.fold import Fold

if TYPE_CHECKING:
    from apps.telemetry.services import Receipt, Sent


def late_calls(fold: Fold) -> Counter[str]:
    """By environment."""
    late: Counter[str] = Counter()
    for key, window in fold.windows.items():
        late[key.environment] += window.late
    return late


def note(sent: "Sequence[Sent]", receipts: "Sequence[Receipt]", fold: Fold, late: Counter[str]) -> None:
    """Of one commit group, after its commit."""
    calls: Counter[tuple[str, str]] = Counter()
    outcomes: Counter[tuple[str, str]] = Counter()
    unassigned: Counter[str] = Counter()
    for one, receipt in zip(sent, receipts, strict=True):
        of = one.environment
        calls[of, "accepted"] += receipt.accepted
        calls[of, "duplicate"] += receipt.duplicates
        calls[of, "rejected"] += one.intake.rejected if one.intake else len(one.batch.rejected)
        outcomes[of, "accepted"] += receipt.accepted_outcomes
        outcomes[of, "duplicate"] += receipt.duplicate_outcomes
        outcomes[of, "rejected"] += len(one.batch.rejected_outcomes)
    for (environment, _), n in fold.unassigned.items():
        unassigned[environment] += max(n, 0)  # below 0: a call of before has found its route
    for metric, counted in (
        (metrics.calls, calls), (metrics.outcomes, outcomes), (metrics.unassigned, unassigned), (metrics.late, late)
    ):  # fmt: skip
        for labels, n in counted.items():
            if n:
                metric.labels(*(labels if isinstance(labels, tuple) else (labels,))).inc(n)
