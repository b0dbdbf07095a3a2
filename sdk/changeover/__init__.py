"""Changeover for services: which model does this request get, what did the call cost, how long did it take."""

from changeover.resolution import Resolution
from changeover.snapshot import Snapshot, UnreadableDocument

__version__ = "1.0.0"

__all__ = ["Resolution", "Snapshot", "UnreadableDocument", "__version__"]
