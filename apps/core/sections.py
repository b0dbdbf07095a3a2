"""Parts of an environment's file that apps above flags own: what each writes, and how it puts a file into effect.

flags knows no app above it, so an app registers its part when it starts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from apps.core.actors import Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing of the plan."""

    action: str  # add, change, bring_back, archive, delete, leave
    kind: str  # route, flag, audience, budget …
    key: str
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by field: {"was", "is"}
    notes: tuple[str, ...] = ()


class Section(Protocol):
    name: str  # of the part: the key in the file

    def export(self, environment: str) -> Any:
        """As it stands in the file; empty: the part is left out."""

    def apply(
        self, *, environment: str, wanted: Any, by: Actor, because: str, now: datetime, prune: bool
    ) -> Sequence[Step]:
        """Puts it into effect inside the caller's transaction. Raises Refused where it cannot stand."""


SECTIONS: dict[str, Section] = {}


def register(section: Section) -> None:
    SECTIONS[section.name] = section
