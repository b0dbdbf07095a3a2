"""Single calls, so long as they are kept, and pairs of a live answer and its shadow."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from heapq import nlargest

from django.db.models import QuerySet

from apps.telemetry.domain import raw
from apps.telemetry.domain.raw import RawCall
from apps.telemetry.domain.shards import shard_of
from apps.telemetry.models import Pair, RawCalls

ANY_ERROR, NO_ERROR = "any", "none"
MOST_ROWS = 20_000  # that one question opens


@dataclass(frozen=True, slots=True)
class Wanted:
    """Empty: any. `error`: a class of errors, `any` or `none`."""

    variant: str = ""
    arm: str = ""
    error: str = ""
    request_id: str = ""

    def fits(self, call: RawCall) -> bool:
        facts = call.facts
        if self.variant and (facts["variant"] or facts["assigned"] or "") != self.variant:
            return False
        if self.arm and (facts["arm"] or "live") != self.arm:
            return False
        if self.request_id and facts["request_id"] != self.request_id:
            return False
        match self.error:
            case "":
                return True
            case error if error == ANY_ERROR:
                return bool(facts["error"])
            case error if error == NO_ERROR:
                return not facts["error"]
            case error:
                return bool(facts["error"] == error)


def raw_calls(
    environment: str, route: str, since: datetime, until: datetime, wanted: Wanted | None = None, limit: int = 100
) -> list[RawCall]:
    """The newest `limit` calls that began between the moments and are what is wanted, newest first."""
    wanted = wanted or Wanted()
    found: list[RawCall] = []
    for last_at, body in packs_of(environment, route, since, until):
        if len(found) >= limit and last_at < found[-1].at:  # nothing newer can come
            break
        fitting = (call for call in raw.unpack(body, route) if since <= call.at < until and wanted.fits(call))
        found = nlargest(limit, [*found, *fitting], key=lambda call: (call.at, call.facts["id"]))
    return found


def packs_of(
    environment: str, route: str, since: datetime, until: datetime
) -> Iterator[tuple[datetime, bytes | memoryview]]:
    rows = RawCalls.objects.filter(
        environment=environment,
        shard=shard_of(environment, route),
        last_at__gte=since,
        first_at__lt=until,
        routes__contains=raw.named([route]),
    )
    return rows.order_by("-last_at", "-id").values_list("last_at", "body")[:MOST_ROWS].iterator(chunk_size=100)


def pairs(environment: str, route: str, since: datetime, until: datetime) -> QuerySet[Pair]:
    """Of which something came between the moments, newest first."""
    return Pair.objects.filter(environment=environment, route=route, at__gte=since, at__lt=until).order_by("-at", "-id")
