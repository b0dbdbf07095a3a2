"""Hosts that answer calls: of which people have settled who they are, and of which nobody has."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from apps.telemetry.models import Endpoint
from apps.telemetry.queries.money import spend


@dataclass(frozen=True, slots=True)
class EndpointView:
    """`provider` and `id` are empty where nobody has settled it. Then calls are counted under the host itself."""

    host: str
    provider: str = ""
    id: str = ""
    by: str = ""
    at: datetime | None = None
    calls: int = 0
    unpriced: int = 0

    @classmethod
    def of(cls, row: Endpoint) -> Self:
        return cls(row.host, row.provider, row.id, row.by, row.at)


def endpoints(environment: str, since: datetime, until: datetime) -> list[EndpointView]:
    """Those that nobody has settled first, the most calls before; providers of prices have no dot in their names."""
    settled = [EndpointView.of(row) for row in Endpoint.objects.filter(environment=environment).order_by("host")]
    known = {view.host for view in settled}
    strange = [
        EndpointView(row.keys["provider"], calls=row.calls, unpriced=row.unpriced)
        for row in spend(environment, since, until, by=("provider",))
        if "." in row.keys["provider"] and row.keys["provider"] not in known and row.calls > 0
    ]
    return [*sorted(strange, key=lambda view: (-view.calls, view.host)), *settled]
