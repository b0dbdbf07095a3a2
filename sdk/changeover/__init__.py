"""Changeover for services: which model does this request get, what did the call cost, how long did it take."""

from changeover.client import Client, Resolved
from changeover.resolution import Resolution
from changeover.snapshot import Snapshot, UnreadableDocument
from changeover.version import __version__

__all__ = ["Client", "Resolution", "Resolved", "Snapshot", "UnreadableDocument", "__version__"]
