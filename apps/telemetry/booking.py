"""Money that is known before a call of it was reported: ledger lines that others ask for, in their transaction."""

from datetime import datetime

from apps.catalog.domain.names import normalised
from apps.telemetry import rows
from apps.telemetry.models import LedgerLine
from apps.telemetry.queries.steps import floor

EXPIRED_HOLD = "hold_expired"  # set aside for a call that nobody told the end of
UNPRICED_HOLD = "hold_unpriced"  # made, and its price is not known
UNREPORTED_HOLDS = "holds_unreported"  # settled, and no report tells of them


def book_estimate(
    *,
    environment: str,
    at: datetime,
    nano: int,
    calls: int,
    rule: str,
    route: str = "",
    variant: str = "",
    provider: str = "",
    model: str = "",
    owner: str = "",
    arm: str = "live",
    trial: str = "",
    tag: str = "",
) -> None:
    """One line, estimated. Lines are never edited: what is taken back is a line with the opposite amount."""
    named = normalised(provider, model)
    keys = (floor(at, 60), environment, route, variant, *named, owner, arm, trial, tag, rule, "")
    rows.insert(LedgerLine, [(*keys, calls, 0, nano, 0, 0, 0, 0, 0, 0)])
