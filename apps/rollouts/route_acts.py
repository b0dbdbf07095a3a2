"""What money asks of a route on which no rollout runs: fall back, block, or a hold that says why.

A crossing acts once. While its act cannot help, that is a hold which repeats; the act is done as soon as it can help.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from apps.access import services as access
from apps.core.actors import WORKER, Actor
from apps.flags import queries as flag_queries
from apps.flags import services as flags
from apps.flags.queries import RouteView
from apps.rollouts import names as naming
from apps.rollouts import telling
from apps.rollouts.domain import evidence as kept
from apps.rollouts.domain import sentences
from apps.rollouts.domain.machine import Pressure
from apps.rollouts.domain.sentences import Part
from apps.rollouts.leases import Lease
from apps.rollouts.models import Decision

HELD = "held"


@transaction.atomic
def answer(route: RouteView, asked: Sequence[Pressure], *, lease: Lease, now: datetime) -> list[str]:
    """The ids of the decisions that were made."""
    wanted = [one for one in asked if one.refused or one.do in ("fall_back", "block")]
    reasons = {reason for one in wanted for reason in (one.once, reason_of(one))}
    known = Decision.objects.filter(environment=route.environment, route=route.key, reason__in=reasons)
    made = {row.reason: row for row in known.defer("evidence", "before", "because")}
    wanted = [one for one in wanted if one.once not in made]
    repeat(route, [(made[reason_of(one)], one) for one in wanted if reason_of(one) in made], now)
    new = [one for one in wanted if reason_of(one) not in made]
    if not new:
        return []
    access.lock_environment(route.environment)
    if not lease.holds(now):
        return []
    return [act(flag_queries.route(route.environment, route.key), one, now).id for one in new]


def reason_of(pressure: Pressure) -> str:
    """While a crossing's act cannot help it has another name: a hold is not the act."""
    return f"{pressure.once}/{HELD}" if pressure.refused else pressure.once


def repeat(route: RouteView, holds: Sequence[tuple[Decision, Pressure]], now: datetime) -> None:
    """The same holds again, with the figures of now."""
    told_anew = []
    for row, pressure in holds:
        parts = sentences.tell_route("hold", route.key, "", [pressure])
        if row.tell_anew(sentences.text(parts), parts):
            told_anew.append(row)
    Decision.objects.repeat([row.pk for row, _ in holds], now)
    Decision.objects.bulk_update(told_anew, ["sentence", "parts"])


def act(route: RouteView, pressure: Pressure, now: datetime) -> Decision:
    done = route.is_off or (route.on_fallback and pressure.do == "fall_back")
    kind = "hold" if pressure.refused or done else pressure.do
    target = naming.names_of(route).get(route.fallback_variant, "")
    parts = sentences.tell_route(kind, route.key, target, [pressure])
    because = sentences.text(parts)
    version = None
    if kind == "fall_back":
        version = flags.switch_to_fallback(
            environment=route.environment, key=route.key, by=WORKER, because=because[:500], now=now
        ).version
    elif kind == "block":
        version = flags.switch_off(
            environment=route.environment, key=route.key, by=WORKER, because=because[:500], now=now
        ).version
    if kind != "hold":
        over = f"{route.key} moved on."
        telling.close(route.environment, route.key, "money", by=WORKER, sentence=over, now=now)
    row = write(route, kind=kind, code="money", by=WORKER, now=now, parts=parts, pressures=[pressure], version=version)
    telling.tell(row, route, by=WORKER, because=because, now=now)
    return row


def write(
    route: RouteView,
    *,
    kind: str,
    code: str,
    by: Actor,
    now: datetime,
    parts: list[Part],
    pressures: Sequence[Pressure] = (),
    version: int | None = None,
    reason: str = "",
) -> Decision:
    row = Decision.objects.create(
        at=now,
        last_at=now,
        environment=route.environment,
        route=route.key,
        kind=kind,
        code=code,
        reason=reason_of(pressures[0]) if pressures else f"{kind}:{code}",
        by=str(by),
        before={"weights": route.weights, "switch": route.switch, "default_variant": route.default_variant},
        because=[{"budget": one.budget, "metric": "spend", "verdict": one.state} for one in pressures],
        sentence=sentences.text(parts),
        parts=[list(part) for part in parts],
        evidence={"pressures": [kept.of_pressure(one) for one in pressures], "reason": reason},
        version=version,
    )
    return telling.counted(row)
