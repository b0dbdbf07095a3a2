"""What was counted, the ledger, and what is remembered until more of it comes."""

from apps.telemetry.models.calls import Pair, RawCalls
from apps.telemetry.models.ledger import BillLine, LedgerDay, LedgerHour, LedgerLine, LedgerTotal
from apps.telemetry.models.sources import Endpoint, Heard, Instance, Mapping, Source, SuspectedShadow, Unassigned
from apps.telemetry.models.streams import MetricBooking, MetricStream, Trace, UntoldUsage
from apps.telemetry.models.sums import GroupSums, LatencyRange, OutcomeSum, RequestSum, RouteTokens, Window, Written
from apps.telemetry.models.writing import Batch, CallId, CallMinute, Compacted, Cursor, Freshness, Writer

__all__ = [
    "Batch",
    "BillLine",
    "CallId",
    "CallMinute",
    "Compacted",
    "Cursor",
    "Endpoint",
    "Freshness",
    "GroupSums",
    "Heard",
    "Instance",
    "LatencyRange",
    "LedgerDay",
    "LedgerHour",
    "LedgerLine",
    "LedgerTotal",
    "Mapping",
    "MetricBooking",
    "MetricStream",
    "OutcomeSum",
    "Pair",
    "RawCalls",
    "RequestSum",
    "RouteTokens",
    "Source",
    "SuspectedShadow",
    "Trace",
    "Unassigned",
    "UntoldUsage",
    "Window",
    "Writer",
    "Written",
]
