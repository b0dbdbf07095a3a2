"""What money asks of a route on which no rollout runs: fall back, block, or a hold that says why. Once a crossing."""

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


@transaction.atomic
def answer(route: RouteView, asked: Sequence[Pressure], *, lease: Lease, now: datetime) -> list[str]:
    """The ids of the decisions that were made."""
    wanted = [one for one in asked if one.refused or one.do in ("fall_back", "block")]
    known = Decision.objects.filter(environment=route.environment, route=route.key, reason__in=[o.once for o in wanted])
    done = set(known.values_list("reason", flat=True))
    new = [one for one in wanted if one.once not in done]
    if not new:
        return []
    access.lock_environment(route.environment)
    if not lease.holds(now):
        return []
    return [act(flag_queries.route(route.environment, route.key), one, now).id for one in new]


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
        reason=pressures[0].once if pressures else f"{kind}:{code}",
        by=str(by),
        before={"weights": route.weights, "switch": route.switch, "default_variant": route.default_variant},
        because=[{"budget": one.budget, "metric": "spend", "verdict": one.state} for one in pressures],
        sentence=sentences.text(parts),
        parts=[list(part) for part in parts],
        evidence={"pressures": [kept.of_pressure(one) for one in pressures], "reason": reason},
        version=version,
    )
    return telling.counted(row)
