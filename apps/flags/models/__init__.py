"""Flags, routes, what they were, what waits to change them, and the numbered snapshots that services read."""

from apps.flags.models.audience import Audience, AudienceVersion
from apps.flags.models.change_request import ChangeRequest
from apps.flags.models.fields import ExactJson
from apps.flags.models.flag import Flag, Route
from apps.flags.models.refused import RefusedClient
from apps.flags.models.seen import ClientSeen, Exposure
from apps.flags.models.snapshot import Snapshot, Split
from apps.flags.models.version import FlagVersion

__all__ = [
    "Audience",
    "AudienceVersion",
    "ChangeRequest",
    "ClientSeen",
    "ExactJson",
    "Exposure",
    "Flag",
    "FlagVersion",
    "RefusedClient",
    "Route",
    "Snapshot",
    "Split",
]
