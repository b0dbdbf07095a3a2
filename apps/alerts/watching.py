"""Who watches the watcher. The web process looks at the signs of life and tells what is wrong, since a worker that is
dead cannot: the signs come from above (ticks and telemetry are other apps' business), the alerts are made here."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Min

from apps.alerts import outgoing
from apps.alerts.domain.life import PROVIDER
from apps.alerts.models import Alert, Delivery, DeliveryQuerySet, SeenEntry, Watch
from apps.core.actors import Actor
from apps.journal import services as journal
from apps.journal.models import Entry

WATCHMAN = Actor("worker", "watch")
OLD_QUEUE = timedelta(minutes=5)
UNREAD = timedelta(seconds=15)  # after this the web process does the worker's work
CALL_EVERY = timedelta(minutes=1)
DEAD_MAN = "dead_man"
WATCH = "watch:"


@dataclass(frozen=True, slots=True)
class Sign:
    """One sign of life in one environment: fine, or a sentence about what is wrong."""

    key: str  # one of OVER
    environment: str
    wrong: str = ""
    severity: journal.Severity = "critical"
    runbook: str = ""
    provider: str = ""
    routes: tuple[str, ...] = ()  # of the provider: their alerts are muted

    @property
    def condition(self) -> str:
        return f"{PROVIDER}{self.provider}" if self.provider else f"{WATCH}{self.key}"

    @property
    def is_ours(self) -> bool:
        """About the protection itself, not about what it protects."""
        return not self.provider


def watch(signs: list[Sign], now: datetime) -> list[Sign]:
    """Opens and closes the conditions of the signs. Gives back what is wrong."""
    open_now = Alert.objects.open().filter(condition__in={sign.condition for sign in signs}, clearing_since=None)
    known = set(open_now.values_list("environment", "condition"))
    for sign in signs:
        if bool(sign.wrong) != ((sign.environment, sign.condition) in known) and not is_told(sign):
            tell(sign, now)
    return [sign for sign in signs if sign.wrong]


def is_told(sign: Sign) -> bool:
    """The journal says so already; the alert follows at the next dispatch."""
    newest = Entry.objects.of_environment(sign.environment).filter(condition=sign.condition).newest_first().first()
    if newest is None or SeenEntry.objects.filter(pk=newest.pk).exists():
        return False
    return (newest.effect == Entry.Effect.OPENS) == bool(sign.wrong)


@transaction.atomic
def tell(sign: Sign, now: datetime) -> None:
    sentence = sign.wrong or OVER[sign.key]
    journal.record(
        f"watch.{sign.key}_{'failed' if sign.wrong else 'recovered'}",
        environment=sign.environment,
        by=WATCHMAN,
        because=sentence,
        about={},
        now=now,
        after={"provider": sign.provider, "routes": list(sign.routes)} if sign.provider else None,
        condition=journal.Condition(
            key=sign.condition,
            effect="opens" if sign.wrong else "closes",
            severity=sign.severity,
            sentence=sentence,
            link="/alerts/",
            runbook=sign.runbook,
        ),
    )


OVER = {
    "beat": "Rollouts are looked at again.",
    "telemetry": "Telemetry comes in again.",
    "writer": "Telemetry is written again.",
    "deliveries": "Messages leave again.",
    "queue": "The worker keeps up again.",
    "provider": "The provider answers again.",
}


def due(now: datetime) -> DeliveryQuerySet:
    """What a living worker sends now: not to channels that are off or keep still."""
    return Delivery.objects.due(now).filter(channel__is_active=True).exclude(channel__quiet_until__gt=now)


def queue_age(now: datetime, environment: str | None = None) -> timedelta:
    """For how long the oldest message has been due. A broken channel does not count: it is an alert of its own."""
    waiting = due(now).filter(channel__broken_at=None)
    if environment is not None:
        waiting = waiting.filter(channel__environment=environment)
    oldest: datetime | None = waiting.aggregate(oldest=Min("next_try_at"))["oldest"]
    return now - oldest if oldest else timedelta(0)


def is_waiting(now: datetime) -> bool:
    """Work that a living worker would have done by now."""
    if due(now).filter(next_try_at__lt=now - UNREAD).exists():
        return True
    lately = Entry.objects.with_condition().filter(at__gt=now - timedelta(hours=1), at__lte=now - UNREAD)
    return lately.exclude(pk__in=SeenEntry.objects.values("entry")).exists()


def call_outside(wrong: list[Sign], now: datetime) -> str:
    """Once a minute while all is well, and once when it is not any more: silence raises the alarm outside.

    Says what was called: "", "ok" or "fail". One process of several does it.
    """
    if not settings.DEAD_MAN_URL:
        return ""
    row, _ = Watch.objects.get_or_create(name=DEAD_MAN)
    is_well = not wrong
    is_due = row.called_at is None or now - row.called_at >= CALL_EVERY
    if not (is_due if is_well and row.is_well else is_well != row.is_well):
        return ""
    if not row.claim(before=row.called_at, is_well=is_well, now=now):
        return ""
    body = "\n".join(sign.wrong for sign in wrong).encode()[:10_000]
    url = settings.DEAD_MAN_URL if is_well else failing_url(settings.DEAD_MAN_URL)
    try:
        answer = outgoing.post(url, body, {"content-type": "text/plain; charset=utf-8"}, private=True).words
    except (outgoing.Refusal, outgoing.NoAnswer) as fault:
        answer = str(fault)
    row.note(answer)
    return "ok" if is_well else "fail"


def failing_url(url: str) -> str:
    """`…/<id>/fail`, before a query if there is one."""
    path, mark, query = url.partition("?")
    return f"{path.rstrip('/')}/fail{mark}{query}"
