"""What the tables say, as gauges for `/metrics`. A thread asks them now and then, so that no scrape ever does."""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Count, QuerySet
from django.utils import timezone
from prometheus_client import Metric
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from apps.access.models import Environment
from apps.alerts import watching
from apps.alerts.models import Alert, Delivery
from apps.budgets import queries as budgets
from apps.core import metrics
from apps.core.refresh import Refresher
from apps.flags import queries as flags
from apps.flags.serving.shelf import shelf
from apps.rollouts import queries as rollouts
from apps.rollouts.models import Rollout
from apps.telemetry import queries as telemetry
from apps.telemetry import serving as telemetry_doors
from controlplane import timing

NANO = 1e9
MONEY_EVERY = 6  # looks: the ledger is asked for each budget
UNASSIGNED = "unassigned"  # all routes that nobody made, together
Labels = tuple[str, ...]


def gauge(name: str, says: str, labels: Labels, rows: Iterable[tuple[Labels, float]]) -> Metric:
    family = GaugeMetricFamily(f"changeover_{name}", says, labels=labels)
    for of, value in rows:
        family.add_metric(of, float(value))
    return family


class Facts(Refresher, Collector):
    """The thread, and what it found last. Ages grow from one look to the next: they are told as moments."""

    def __init__(self) -> None:
        super().__init__({"facts": self.look, "money": self.look_at_money_if_due}, every=settings.METRICS_SECONDS)
        self.name = "facts"
        self.found: list[Metric] = []
        self.money: list[Metric] = []
        self.turns = 0

    def start(self) -> None:
        if self.every > 0:
            super().start()

    def look(self, now: datetime | None = None) -> None:
        tell_own()
        self.found = list(said(now or timezone.now()))

    def look_at_money_if_due(self) -> None:
        if self.turns % MONEY_EVERY == 0:
            self.look_at_money(timezone.now())
        self.turns += 1

    def look_at_money(self, now: datetime) -> None:
        self.money = list(money(environments(), now))

    def collect(self) -> Iterable[Metric]:
        return [*self.found, *self.money, *served()]


telling = threading.Lock()  # a scrape comes while the thread looks
reasons_told: Counter[Labels] = Counter()


def tell_own() -> None:
    """What this process has counted aside, on its event loop, into the metrics that others may read."""
    with telling:
        timing.tell()
        for environment, held in list(shelf.held.items()):
            for reason, n in list(held.reasons.items()):
                key = (environment, reason)
                metrics.evaluations.labels(*key).inc(max(n - reasons_told[key], 0))
                reasons_told[key] = n
    metrics.queue_bytes.set(telemetry_doors.commits.waiting_bytes)
    metrics.show_life()


def served() -> Iterator[Metric]:
    """From memory: what this process serves at this moment."""
    held = sorted(shelf.held.items())
    versions = [((key,), float(one.version)) for key, one in held]
    yield gauge("snapshot_version", "The snapshot that this process serves.", ("environment",), versions)
    published = [((key,), one.at) for key, one in held]
    yield gauge("snapshot_published_timestamp_seconds", "When it was published.", ("environment",), published)
    ages = [((key,), float(shelf.age(key))) for key, _ in held]
    says = "For how long the database has not confirmed that this is the newest; 0 while it does."
    yield gauge("snapshot_unconfirmed_seconds", says, ("environment",), ages)


def environments() -> list[str]:
    return list(Environment.objects.filter(is_hidden=False).order_by("key").values_list("key", flat=True))


def said(now: datetime) -> Iterator[Metric]:
    """Raises django.db.Error when the database is away: what was found before stays, with its age."""
    yield gauge("facts_timestamp_seconds", "When these facts were asked of the tables.", (), [((), now.timestamp())])
    if tick := rollouts.last_tick_at():
        says = "When the shard that waits longest was last judged: it stands still when beat or worker are down."
        yield gauge("last_tick_timestamp_seconds", says, (), [((), tick.timestamp())])
    yield counted("rollouts", "Rollouts by state.", Rollout.objects.all(), ("environment", "state"))
    open_alerts = Alert.objects.open()
    yield counted("alerts_open", "Alerts that are not over.", open_alerts, ("environment", "state", "severity"))
    yield from deliveries(now)
    heard = [((key,), at.timestamp()) for key in environments() if (at := telemetry.as_of(key))]
    yield gauge("telemetry_last_timestamp_seconds", "When telemetry was last committed.", ("environment",), heard)


def counted(name: str, says: str, rows: "QuerySet[Any]", labels: Labels) -> Metric:
    found = rows.order_by().values_list(*labels).annotate(Count("pk")).order_by(*labels)
    return gauge(name, says, labels, [(row[:-1], row[-1]) for row in found])


def deliveries(now: datetime) -> Iterator[Metric]:
    waiting, dead = (
        Delivery.objects.waiting().count(),
        Delivery.objects.filter(done_at=None, replaced_at=None, is_dead=True).count(),
    )
    says = "Messages to people on call: waiting, or dead (given up, until somebody sends them again)."
    yield gauge("deliveries", says, ("state",), [(("waiting",), waiting), (("dead",), dead)])
    age = watching.queue_age(now).total_seconds()
    yield gauge("deliveries_oldest_seconds", "For how long the oldest message has been due.", (), [((), age)])


def money(keys: Iterable[str], now: datetime) -> Iterator[Metric]:
    """Of this day in UTC, by route; and of each budget, in its own period."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    spend: dict[Labels, float] = {}
    unpriced, used, left = [], [], []
    for key in keys:
        made = {route.key for route in flags.routes(key)}
        calls = 0
        for row in telemetry.spend(key, today, now, by=("route",)):
            route = row.keys["route"] if row.keys["route"] in made else UNASSIGNED
            for kind, nano in (("confirmed", row.confirmed_nano), ("estimated", row.estimated_nano)):
                spend[key, route, kind] = spend.get((key, route, kind), 0.0) + nano / NANO
            calls += row.unpriced
        unpriced.append(((key,), float(calls)))
        for status in budgets.budget_status(key, now):
            of = (key, status.budget.id, str(status.budget))
            used.append((of, status.verdict.fraction))
            left.append((of, status.left_nano / NANO))
    yield gauge("spend_today_usd", "Spent since midnight UTC.", ("environment", "route", "kind"), sorted(spend.items()))
    yield gauge("unpriced_calls_today", "Calls since midnight UTC that have no price.", ("environment",), unpriced)
    of = ("environment", "budget", "name")
    yield gauge("budget_used_ratio", "How much of a budget's period is spent; 1 is its limit.", of, used)
    yield gauge("budget_left_usd", "What is left of a budget's period.", of, left)


facts = Facts()
