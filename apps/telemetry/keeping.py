"""What is kept beside the sums: single calls for some hours, and pairs of legs. In the commit group's transaction."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Sum

from apps.telemetry import rows
from apps.telemetry.domain import raw
from apps.telemetry.domain.fold import Fold
from apps.telemetry.domain.pairs import Leg, PairSum
from apps.telemetry.domain.raw import Alike
from apps.telemetry.models import Pair, RawCalls

PAIRS_STAY = timedelta(days=30)
AT_ONCE = 200  # rows of one transaction
MEGABYTE = 10**6


def keep(fold: Fold, now: datetime) -> None:
    rows.insert(RawCalls, [raw_row(key, kept, now) for key, kept in sorted(fold.raw.items(), key=lambda one: one[0])])
    pairs = [pair_row(key, pair, now) for key, pair in sorted(fold.pairs.items(), key=lambda one: one[0])]
    rows.insert(Pair, pairs, f"ON CONFLICT (environment, pair_id) DO UPDATE SET {MERGED}")


def raw_row(key: tuple[str, int], kept: list[Alike], now: datetime) -> list[Any]:
    began = [call.at for calls, _ in kept for call in calls]
    routes = raw.named({calls[0].route for calls, _ in kept})
    body = raw.pack(kept)
    return [*key, now, min(began), max(began), routes, len(body), body]


def pair_row(key: tuple[str, str], pair: PairSum, now: datetime) -> list[Any]:
    return [*key, pair.route, now, pair.grade, *leg_columns(pair.legs, "live"), *leg_columns(pair.legs, "shadow")]


def leg_columns(legs: Mapping[str, Leg], arm: str) -> list[Any]:
    leg = legs.get(arm)
    if leg is None:
        return ["", None, None, "", None, 0, 0]
    return [
        leg.variant,
        rows.moment(leg.began_at),
        rows.moment(leg.ended_at),
        leg.error,
        leg.output_tokens,
        leg.nano,
        leg.calls,
    ]


def merged(arm: str) -> str:
    """As `Leg.add`, in SQL: to the right of SET all names mean the row as it was."""
    was, came = f"telemetry_pair.{arm}", f"excluded.{arm}"
    is_later = f"{came}_calls > 0 AND ({was}_calls = 0 OR {came}_ended_at > {was}_ended_at)"
    is_earlier = f"{came}_calls > 0 AND ({was}_calls = 0 OR {came}_began_at < {was}_began_at)"
    latest = [
        f"{arm}_{name} = CASE WHEN {is_later} THEN {came}_{name} ELSE {was}_{name} END"
        for name in ("variant", "error", "output_tokens", "ended_at")
    ]
    first = f"{arm}_began_at = CASE WHEN {is_earlier} THEN {came}_began_at ELSE {was}_began_at END"
    sums = [f"{arm}_{name} = {was}_{name} + {came}_{name}" for name in ("nano", "calls")]
    return ", ".join([*latest, first, *sums])


MERGED = (
    f"at = excluded.at, grade = COALESCE(excluded.grade, telemetry_pair.grade), {merged('live')}, {merged('shadow')}"
)


def forget_old(now: datetime) -> None:
    """Single calls RAW_HOURS after they came, and the oldest while all are larger than RAW_MAX_MB."""
    too_old = RawCalls.objects.filter(arrived_at__lt=now - timedelta(hours=settings.RAW_HOURS))
    while forget_some(list(too_old.order_by("arrived_at", "id").values_list("pk", flat=True)[:AT_ONCE])):
        pass
    total: int = RawCalls.objects.aggregate(total=Sum("size"))["total"] or 0
    over = total - int(settings.RAW_MAX_MB * MEGABYTE)
    while over > 0:
        oldest = list(RawCalls.objects.order_by("arrived_at", "id").values_list("pk", "size")[:AT_ONCE])
        gone = []
        for pk, size in oldest:
            if over > 0:
                gone.append(pk)
                over -= size
        forget_some(gone)
    Pair.objects.filter(at__lt=now - PAIRS_STAY).delete()


@transaction.atomic
def forget_some(ids: list[int]) -> int:
    RawCalls.objects.filter(pk__in=ids).delete()
    return len(ids)
