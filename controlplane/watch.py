"""Who watches the watcher: a thread of the web process that looks whether the worker still does its work.

It tells those on call when ticks fall silent, telemetry stops or is not written, tasks pile up, messages do not
leave or a provider is down; and as long as the worker does not deliver, it delivers. While all is well it calls the
outside watchman once a minute, who raises the alarm when that call does not come.
"""

import time
from datetime import datetime, timedelta

import redis
from django.conf import settings
from django.db.models import Min
from django.db.models.functions import Coalesce
from django.utils import timezone

from apps.access.models import Environment
from apps.alerts import queries as alerts
from apps.alerts import services, watching
from apps.alerts.domain import outages
from apps.alerts.watching import Sign
from apps.budgets import queries as budgets
from apps.budgets.faults import is_lasting
from apps.core import bell
from apps.core.refresh import Refresher
from apps.flags import queries as flags
from apps.flags.queries import RouteView
from apps.rollouts import queries as rollouts
from apps.rollouts.models import Rollout
from apps.telemetry import queries as telemetry
from apps.telemetry import serving as telemetry_doors

SILENT_TICKS = 3
LEAST_SILENCE = timedelta(seconds=10)  # however fast it ticks: a busy machine is not a dead worker
SETTLING = 6  # looks that a web process leaves out when it has just started: the others start too
UNWRITTEN = timedelta(seconds=30)
GIVEN_UP = timedelta(days=1)
LATELY = timedelta(minutes=1)
LONG_QUEUE = 200  # tasks
QUEUE = "celery"
PROVIDER_RUNBOOK = (
    "Look at the provider's status page. Alerts of its routes are muted until it answers again; guardrails and "
    "rollbacks go on by themselves, and a route may be sent to a fallback at another provider by hand."
)
BEAT_RUNBOOK = (
    "Look at the worker's and the beat's log and start them again. Rollouts do not advance and are not rolled back by "
    "themselves until then; pause, roll back and fall back by hand work."
)


def look(now: datetime | None = None) -> None:
    now = now or timezone.now()
    wrong = services.watch(signs(now), now)
    if any(sign.key == "beat" for sign in wrong) or watching.is_waiting(now):
        services.dispatch(now)
    watching.call_outside([sign for sign in wrong if sign.is_ours], now)


def signs(now: datetime) -> list[Sign]:
    live = live_environments()
    silent = silence_of_beat(now)
    unwritten = unwritten_telemetry(now)
    behind = long_queue()
    found = []
    for key in Environment.objects.filter(is_hidden=False).order_by("key").values_list("key", flat=True):
        found.append(Sign("beat", key, silent, "critical" if key in live else "warning", BEAT_RUNBOOK))
        found.append(Sign("writer", key, unwritten, "error"))
        if telemetry_there := sign_of_telemetry(key, live.get(key), now):
            found.append(telemetry_there)
        found.append(Sign("money", key, silence_of_money(key, now), "error", BEAT_RUNBOOK))
        found.append(Sign("deliveries", key, old_queue(key, now), "error"))
        if behind is not None:
            found.append(Sign("queue", key, behind, "error", BEAT_RUNBOOK))
        found += providers(key, now)
    return found


def live_environments() -> dict[str, datetime]:
    """Since when a rollout is live there."""
    rows = Rollout.objects.live().order_by("environment").values_list("environment")
    return dict(rows.annotate(since=Min(Coalesce("started_at", "created_at"))))


def silence_of_beat(now: datetime) -> str:
    """Nothing was looked at for three ticks: nothing would be rolled back either."""
    at = rollouts.last_tick_at()
    if at is None:  # the thread below has given everybody time to start
        return "Nothing has ever looked at the rollouts: the worker or the beat did not start."
    allowed = max(timedelta(seconds=SILENT_TICKS * settings.TICK_SECONDS), LEAST_SILENCE)
    if now - at <= allowed:
        return ""
    # No figure that grows: the sentence is the same at each look.
    return f"Nothing has looked at the rollouts since {at:%H:%M:%S} UTC: the worker or the beat is down."


def unwritten_telemetry(now: datetime) -> str:
    """Neither may last: commits that fail, and what is durable but lies in no window yet."""
    since = telemetry.gathered_since() or now
    if telemetry_doors.failing:
        first, last = telemetry_doors.failing
        since = min(since, first) if now - last <= UNWRITTEN else since  # who failed once may have gone
    return f"Telemetry is not written into its windows since {since:%H:%M:%S} UTC." if now - since > UNWRITTEN else ""


def sign_of_telemetry(environment: str, live_since: datetime | None, now: datetime) -> Sign | None:
    """It is missed under a live rollout, or where it came steadily until it stopped, for a day: then it may have been
    switched off. None: nobody can say. Only telemetry that comes ends what was told."""
    stale = timedelta(seconds=settings.TELEMETRY_STALE_SECONDS)
    at = telemetry.as_of(environment)
    if at is not None and now - at <= stale:
        return Sign("telemetry", environment)
    if live_since is not None:
        if now - live_since <= stale:
            return None
        came = f"has come from {environment} since {at:%H:%M:%S} UTC" if at else f"has ever come from {environment}"
        return Sign("telemetry", environment, f"No telemetry {came}, and a rollout is live there.", "error")
    if at is None or now - at > GIVEN_UP or not telemetry.came_steadily(environment, at):
        return None
    wrong = f"No telemetry has come from {environment} since {at:%H:%M:%S} UTC; until then it came steadily."
    return Sign("telemetry", environment, wrong, "warning")


def silence_of_money(environment: str, now: datetime) -> str:
    at = budgets.unjudged_since(environment)
    if not is_lasting(at, now):
        return ""
    return f"No budget of {environment} has been judged since {at:%H:%M:%S} UTC: no limit of money acts."


def old_queue(environment: str, now: datetime) -> str:
    age = watching.queue_age(now, environment)
    if age <= watching.OLD_QUEUE:
        return ""
    return f"Messages to the people on call have not left since {now - age:%H:%M:%S} UTC."


def long_queue() -> str | None:
    """Beat asks for more than the worker gets done. None: the broker does not say."""
    try:
        waiting = int(bell.ringer().llen(QUEUE))
    except (redis.RedisError, OSError):
        return None
    return "" if waiting < LONG_QUEUE else f"The worker does not keep up: {waiting} tasks wait for it."


def providers(environment: str, now: datetime) -> list[Sign]:
    """Which of them fail on several routes at once. Of one that is hardly called nothing is said: an alert stays."""
    rows = [row for row in telemetry.failures(environment, now - LATELY) if row.calls > 0]
    names = alerts.providers_down(environment)
    if not names and not any(2 * row.errors >= row.calls for row in rows):
        return []
    routes = {route.key: route for route in flags.routes(environment)}
    found = outages.standings(
        outages.Calls(provider_of(routes[row.route], row.variant), row.route, row.calls, row.errors)
        for row in rows
        if row.route in routes
    )
    signs = []
    for one in found:
        if one.is_down or one.provider in names:
            its = (key for key, route in routes.items() if one.provider in providers_of(route))
            wrong = one.sentence if one.is_down else ""
            signs.append(
                Sign("provider", environment, wrong, runbook=PROVIDER_RUNBOOK, provider=one.provider, routes=tuple(its))
            )
    return signs


def provider_of(route: RouteView, variant: str) -> str:
    return route.model(variant).partition("/")[0]


def providers_of(route: RouteView) -> set[str]:
    return {provider_of(route, variant) for variant in route.variants}


class Watchman(Refresher):
    """The thread. It looks the first time after everybody had time to start."""

    def __init__(self) -> None:
        super().__init__({"watch": look}, every=settings.WATCH_SECONDS)
        self.name = "watchman"

    def start(self) -> None:
        if self.every > 0:
            super().start()

    def run(self) -> None:
        ready_at = time.monotonic() + SETTLING * self.every
        while not self.stopping and (left := ready_at - time.monotonic()) > 0:
            self.wanted.wait(min(left, 1.0))
        super().run()
