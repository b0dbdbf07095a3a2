"""What pages ask that no lower app answers alone. A query never changes anything."""

import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta

import redis
from django.conf import settings
from django.db.models import Max, Min

from apps.core import bell
from apps.rollouts.models import Rollout, Shard
from apps.telemetry.models import Freshness

QUEUE = "celery"


@dataclass(frozen=True, slots=True)
class Pulse:
    """Is the protection itself alive?"""

    evaluated_at: datetime | None  # of the shard that waits longest
    data_at: datetime | None
    queue: int | None  # None: the broker does not answer
    has_live: bool
    is_protected: bool


def pulse(environment: str, now: datetime) -> Pulse:
    evaluated_at = Shard.objects.aggregate(oldest=Min("last_tick_at"))["oldest"]
    data_at = Freshness.objects.filter(environment=environment).aggregate(newest=Max("newest_at"))["newest"]
    has_live = Rollout.objects.live().filter(environment=environment).exists()
    patience = timedelta(seconds=max(6 * settings.TICK_SECONDS, 30))
    fresh = evaluated_at is not None and now - evaluated_at <= patience
    queue = None
    with contextlib.suppress(redis.RedisError, OSError):
        queue = int(bell.ringer().llen(QUEUE))  # type: ignore[arg-type]  # a sync client answers a number
    return Pulse(evaluated_at, data_at, queue, has_live, fresh or not has_live)
