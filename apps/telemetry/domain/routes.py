"""What the fold needs to know of a route: does it exist, whose is it, and how were requests assigned, when.

A *split* is the snapshot version in which a route's flag last changed. A call belongs to the split of the snapshot that
it was decided by; a call that names none, to the one in force when it began.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

UNKNOWN = "unknown"  # rules are in force and the call does not say whether one chose its variant


@dataclass(frozen=True, slots=True)
class Split:
    since_version: int
    trial: str
    kind: str  # split, rules, fallback, off
    published_at: datetime

    def assigned_by(self, said: str | None) -> str:
        if said:
            return said
        return {"rules": UNKNOWN, "fallback": "fallback", "off": "default"}.get(self.kind, "split")


NEVER = Split(0, "", "split", datetime(1970, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class RouteFacts:
    is_known: bool = False
    owner: str = ""
    variants: Mapping[str, Any] = field(default_factory=dict)
    splits: tuple[Split, ...] = ()  # oldest first
    versions: tuple[int, ...] = ()  # of the splits
    moments: tuple[datetime, ...] = ()

    @classmethod
    def of(cls, owner: str, variants: Mapping[str, Any], splits: Iterable[Split]) -> RouteFacts:
        ordered = tuple(sorted(splits, key=lambda split: split.since_version))
        versions = tuple(split.since_version for split in ordered)
        moments = tuple(split.published_at for split in ordered)
        return cls(True, owner, variants, ordered, versions, moments)

    def split_of(self, snapshot: int | None, at: datetime) -> Split:
        position = bisect_right(self.moments, at) if snapshot is None else bisect_right(self.versions, snapshot)
        return self.splits[position - 1] if position else NEVER

    def model_of(self, variant: str) -> str | None:
        value = self.variants.get(variant)
        model = value.get("model") if isinstance(value, dict) else None
        return model if isinstance(model, str) else None


UNASSIGNED = RouteFacts()
