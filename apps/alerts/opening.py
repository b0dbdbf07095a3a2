"""New alerts by the hundred: what happens when a provider goes down under every route at once.

Most entries of a storm are plain: a condition that nobody knows, covered by no silence, muted by none. Those are
opened together, in a few statements; whatever is not plain goes its own way.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db.models import Max

from apps.alerts import telling
from apps.alerts.domain import escalation, life
from apps.alerts.domain.escalation import Step
from apps.alerts.models import Alert, Channel, Delivery, Silence
from apps.core.ids import new_id
from apps.journal.models import Entry


def new_alert(entry: Entry) -> Alert:
    return Alert(
        environment=entry.environment,
        condition=entry.condition,
        group=life.group_of(entry.route, entry.condition),
        severity=entry.severity,
        route=entry.route,
        owner=entry.owner,
        sentence=entry.sentence,
        link=entry.link,
        runbook=entry.runbook,
        mutes=mutes_of(entry),
        entry=entry.id,
        opened_at=entry.at,
        last_at=entry.at,
        firing_since=entry.at,
    )


def mutes_of(entry: Entry) -> list[str]:
    """Routes of which it tells people too: those of a provider that is down, all where a whole environment's budget is
    spent."""
    if entry.condition.startswith(life.BUDGET):
        return [life.EVERY_ROUTE] if "environment" in entry.about else []
    if entry.condition.startswith(life.PROVIDER):
        return list((entry.after or {}).get("routes", ()))
    return []


class Opening:
    """Reads once what all these entries need, collects what they bring, writes it at once."""

    def __init__(self, entries: Sequence[Entry], now: datetime) -> None:
        self.now = now
        self.environments = {entry.environment for entry in entries}
        conditions = {entry.condition for entry in entries}
        rows = Alert.objects.filter(environment__in=self.environments, condition__in=conditions)
        known = rows.open() | rows.just_resolved(now)
        self.known = set(known.values_list("environment", "condition"))
        silences = Silence.objects.filter(environment__in=self.environments, starts_at__lte=now, ends_at__gt=now)
        self.silenced = set(silences.values_list("environment", flat=True))
        groups = {life.group_of(entry.route, entry.condition) for entry in entries}
        told = Alert.objects.filter(environment__in=self.environments, group__in=groups).order_by()
        self.told_at = {
            (environment, group): at
            for environment, group, at in told.values("environment", "group")
            .annotate(at=Max("told_at"))
            .values_list("environment", "group", "at")
        }
        self.steps: dict[str, list[Step]] = {key: telling.policy(key) for key in self.environments}
        self.channels: dict[str, list[Channel]] = {key: list(Channel.objects.active(key)) for key in self.environments}
        self.look_for_sources()
        self.alerts: list[Alert] = []
        self.deliveries: list[Delivery] = []

    def takes(self, entry: Entry) -> bool:
        """Plain, and the first of its condition. From here on the condition is known."""
        key = (entry.environment, entry.condition)
        plain = (
            entry.effect == Entry.Effect.OPENS
            and key not in self.known
            and entry.environment not in self.silenced
            and not entry.condition.startswith(life.SOURCES)
            and not life.muted_by(entry.condition, entry.route, self.sources[entry.environment])
            and not entry.condition.startswith(telling.OF_CHANNELS)
        )
        self.known.add(key)
        return plain

    def look_for_sources(self) -> None:
        """Again after each entry that is not plain: it may be one that mutes those behind it."""
        self.sources = {key: telling.sources(key) for key in self.environments}

    def add(self, entry: Entry) -> None:
        alert = new_alert(entry)
        steps = self.steps[alert.environment]
        reached = escalation.reached(steps, since=entry.at, now=self.now)
        group = (alert.environment, alert.group)
        leaves_at = life.leaves_at(
            group_told_at=self.told_at.get(group), alert_told_at=None, severity=alert.severity, now=self.now
        )
        channels = telling.recipients(alert, steps, first=0, last=reached, active=self.channels[alert.environment])
        notice = telling.notice_of(alert, event=telling.FIRING, now=self.now).as_json()
        self.deliveries += [
            Delivery(
                id=new_id(),
                alert=alert,
                channel=channel,
                event=telling.FIRING,
                occasion=entry.id,
                notice=notice,
                next_try_at=leaves_at,
                created_at=self.now,
            )
            for channel in channels
        ]
        alert.told_at, alert.told, alert.escalated = leaves_at, 1, reached
        self.told_at[group] = max(self.told_at.get(group) or leaves_at, leaves_at)
        self.alerts.append(alert)

    def write(self) -> None:
        Alert.objects.bulk_create(self.alerts)
        Delivery.objects.bulk_create(self.deliveries, ignore_conflicts=True)
        self.alerts, self.deliveries = [], []
