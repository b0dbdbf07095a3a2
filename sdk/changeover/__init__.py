"""Changeover for services: which model does this request get, what did the call cost, how long did it take."""

from changeover.client import Client
from changeover.hold import Hold
from changeover.resolution import Resolution, Resolved
from changeover.snapshot import Snapshot, UnreadableDocument
from changeover.terms import BudgetExceeded, BudgetUnverifiable
from changeover.version import __version__

__all__ = [
    "BudgetExceeded", "BudgetUnverifiable", "Client", "Hold", "Resolution", "Resolved", "Snapshot",
    "UnreadableDocument", "__version__",
]  # fmt: skip
