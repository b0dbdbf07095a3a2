"""Flags that may go: never asked for, always the same answer, past their date. With whom to ask.

It knows what clients report and what this server evaluated itself. A client that polls the whole definition and
reports nothing is not seen, so these are questions to the owner, not findings.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import Max

from apps.flags.models import Exposure, Flag

DAYS = 14


@dataclass(frozen=True, slots=True)
class Reason:
    code: str  # never_evaluated, one_variant, expired
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleFlag:
    environment: str
    key: str
    is_route: bool
    owner: str
    expires_on: date | None
    last_evaluated_at: datetime | None
    reasons: list[Reason]


def clean_up(environment: str, now: datetime, *, days: int = DAYS, only: str = "") -> list[StaleFlag]:
    """By owner, then key; of one flag if it is named. A held flag and a flag younger than `days` is never stale,
    unless it has expired."""
    flags = Flag.objects.with_route().of(environment).served().order_by("owner", "key")
    flags = flags.named(only) if only else flags
    since = now - timedelta(days=days)
    seen = last_given(environment, only)
    stale = []
    for flag in flags.defer("variants", "fragment", "targeting", "rules", "guards", "segments", "shadow"):
        ever = seen.get(flag.key, {})
        variants = {variant: last for variant, last in ever.items() if last >= since}
        reasons = list(reasons_of(flag, variants, since=since, today=now.date(), days=days))
        if reasons:
            stale.append(
                StaleFlag(
                    environment=environment,
                    key=flag.key,
                    is_route=flag.route_or_none is not None,
                    owner=flag.owner or str((flag.metadata or {}).get("owner", "")),
                    expires_on=flag.expires_on,
                    last_evaluated_at=max(ever.values(), default=None),
                    reasons=reasons,
                )
            )
    return stale


def last_given(environment: str, only: str = "") -> dict[str, dict[str, datetime]]:
    """Flag to its variants, and when each was given last, as far back as counts are kept."""
    found: dict[str, dict[str, datetime]] = defaultdict(dict)
    rows = Exposure.objects.filter(environment_id=environment, count__gt=0, **({"flag": only} if only else {}))
    for row in rows.values("flag", "variant").annotate(last=Max("minute")):
        found[row["flag"]][row["variant"]] = row["last"]
    return found


def reasons_of(flag: Flag, variants: dict[str, datetime], *, since: datetime, today: date, days: int) -> list[Reason]:
    found = []
    if flag.expires_on is not None and flag.expires_on < today:
        found.append(Reason("expired", f"It was to go by {flag.expires_on:%d %B %Y}."))
    if flag.held_by or flag.created_at > since:
        return found
    if not variants:
        found.append(Reason("never_evaluated", f"Nobody was seen asking for it in {days} days."))
    elif len(variants) == 1 and flag.changed_at <= since and not flag.is_permanent and not flag.route_or_none:
        (only,) = variants
        found.append(Reason("one_variant", f"Everybody has got {only or 'the default in the code'} for {days} days."))
    return found
