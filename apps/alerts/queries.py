"""What pages and others ask about alerts. A query never changes anything."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Count, prefetch_related_objects

from apps.alerts.domain import life
from apps.alerts.domain.matching import Matcher
from apps.alerts.models import Alert, Channel, Delivery, DeliveryQuerySet, EscalationPolicy, SeenEntry, Silence
from apps.journal.models import Entry

WATCH = "watch:"


def open_alerts(environment: str) -> list[Alert]:
    """The worst first: what fires and speaks for itself, by severity; then the newest."""
    order = {Alert.State.FIRING: 0, Alert.State.ACKNOWLEDGED: 2, Alert.State.SILENCED: 3}
    alerts = Alert.objects.open().of_environment(environment).newest_first()

    def place(alert: Alert) -> tuple[int, int]:
        state = order[Alert.State(alert.state)]
        return (state or bool(alert.muted_by), -life.rank(alert.severity))

    return sorted(alerts, key=place)


def resolved_alerts(environment: str, *, since: datetime, most: int = 200) -> list[Alert]:
    """The newest first."""
    over = Alert.objects.of_environment(environment).filter(state=Alert.State.RESOLVED, resolved_at__gt=since)
    return list(over.newest_first()[:most])


def with_deliveries(alerts: list[Alert]) -> list[Alert]:
    """The same alerts: what was sent of them is read at once."""
    prefetch_related_objects(alerts, "deliveries__channel")
    return alerts


def last_opened_at(environment: str) -> datetime | None:
    return Alert.objects.of_environment(environment).newest_first().values_list("opened_at", flat=True).first()


def counts(environment: str) -> dict[str, int]:
    """{"firing": n, "acknowledged": n, "silenced": n}."""
    rows = Alert.objects.open().of_environment(environment).values_list("state").annotate(Count("id")).order_by("state")
    return dict.fromkeys(("firing", "acknowledged", "silenced"), 0) | dict(rows)


def unprotected(environment: str) -> list[Alert]:
    """What is wrong with the protection itself: silent ticks, no telemetry, messages that do not leave."""
    return list(Alert.objects.open().of_environment(environment).filter(condition__startswith=WATCH).newest_first())


def providers_down(environment: str) -> set[str]:
    """Those about which an alert is open."""
    rows = Alert.objects.open().of_environment(environment).filter(condition__startswith=life.PROVIDER)
    return {str(condition).removeprefix(life.PROVIDER) for condition in rows.values_list("condition", flat=True)}


def channels(environment: str) -> list[Channel]:
    return list(Channel.objects.filter(environment=environment).order_by("created_at", "id"))


def broken_channels(environment: str) -> list[Channel]:
    """For a banner: what is broken or was switched off by its receiver."""
    return [one for one in channels(environment) if one.state == "broken" or one.off_because]


def escalation(environment: str) -> EscalationPolicy | None:
    return EscalationPolicy.objects.filter(environment=environment).first()


def failing_deliveries(environment: str) -> list[Delivery]:
    """What was tried and not taken: pinned on top of the page."""
    stuck = Delivery.objects.failing().filter(channel__environment=environment)
    return list(stuck.select_related("alert", "channel").order_by("-created_at", "-id")[:50])


def deliveries(
    environment: str, *, channel: str | None = None, alert: str | None = None, state: str | None = None
) -> DeliveryQuerySet:
    """The newest first. `state`: waiting, failing, dead, taken, replaced."""
    rows = Delivery.objects.filter(channel__environment=environment)
    if channel:
        rows = rows.filter(channel=channel)
    if alert:
        rows = rows.filter(alert=alert)
    if state == "taken":
        rows = rows.filter(done_at__isnull=False)
    elif state == "replaced":
        rows = rows.filter(done_at=None, replaced_at__isnull=False)
    elif state == "dead":
        rows = rows.filter(done_at=None, replaced_at=None, is_dead=True)
    elif state:
        rows = rows.waiting()
        rows = rows.filter(attempts__gt=0) if state == "failing" else rows.filter(attempts=0)
    return rows.select_related("channel", "alert").order_by("-created_at", "-id")


@dataclass(frozen=True, slots=True)
class Told:
    """Who was told of one journal entry. `joins_at`: it leaves with its group's next message then."""

    alert: str
    took: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    quiet: str = ""  # why nobody was told: silenced, acknowledged, muted by another
    joins_at: datetime | None = None


def told(entry: Entry, now: datetime) -> Told | None:
    """None: the entry has not been read yet."""
    if not SeenEntry.objects.filter(pk=entry.pk).exists():
        return None
    alert = Alert.objects.filter(environment=entry.environment, condition=entry.condition).newest_first().first()
    if alert is None:
        return Told("", quiet="too old to alert anybody")
    newest: dict[str, Delivery] = {}
    since = alert.deliveries.filter(created_at__gte=entry.at).select_related("channel").order_by("created_at", "id")
    for one in since:
        if one.replaced_at is None or one.done_at or one.is_dead:
            newest[one.channel.name] = one
    took = [name for name, one in newest.items() if one.done_at]
    failed = [name for name, one in newest.items() if not one.done_at and one.is_dead]
    waiting = [name for name, one in newest.items() if not one.done_at and not one.is_dead]
    ahead = [one.next_try_at for one in newest.values() if not one.done_at and not one.attempts and not one.is_dead]
    joins_at = min(ahead) if ahead and len(ahead) == len(waiting) and min(ahead) > now else None
    return Told(alert.pk, took, waiting, failed, "" if newest else quiet_words(alert), joins_at)


def quiet_words(alert: Alert) -> str:
    if alert.state == Alert.State.SILENCED:
        return f"silenced by {alert.silenced_by}"
    if alert.state == Alert.State.ACKNOWLEDGED:
        return f"{alert.acknowledged_by} has it"
    return f"muted by {alert.muted_by}" if alert.muted_by else ""


# --- silences ----------------------------------------------------------------------------------------------------


def silences(environment: str, now: datetime, *, is_maintenance: bool = False, over: bool = False) -> list[Silence]:
    """Those that cover now or will; with `over` all, the newest first."""
    rows = Silence.objects.filter(environment=environment, is_maintenance=is_maintenance)
    if not over:
        rows = rows.filter(ends_at__gt=now)
    return list(rows.order_by("-created_at", "-id"))


@dataclass(frozen=True, slots=True)
class Preview:
    """What a matcher covers: what is open now, and how many alerts of the last days it would have covered."""

    open: list[Alert]
    lately: int
    of: int
    days: int
    words: str


def preview(environment: str, matcher: Matcher, now: datetime, *, days: int = 7) -> Preview:
    rows = Alert.objects.of_environment(environment)
    lately = [one for one in rows.filter(last_at__gt=now - timedelta(days=days)) if one.fits(matcher)]
    whole = rows.filter(last_at__gt=now - timedelta(days=days)).count()
    return Preview(
        [one for one in open_alerts(environment) if one.fits(matcher)], len(lately), whole, days, matcher.words
    )
